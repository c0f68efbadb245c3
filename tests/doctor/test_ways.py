"""What `doctor` says of names, certificates, clocks, credentials and nodes, and of what is no Tidewire at all."""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import keys
import trustme
from patient import Ill, beside, doctor
from stage import BINARY, free_port


@cache
def authority() -> tuple[trustme.CA, str]:
    """An authority of the tests' own, and the file with its certificate."""
    folder = tempfile.mkdtemp(prefix="tidewire-authority-")
    atexit.register(shutil.rmtree, folder)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(f"{folder}/ca.pem")
    return authority, f"{folder}/ca.pem"


def certified(name: str) -> Path:
    ca, file = authority()
    path = Path(file).with_name(f"{name}-{next(numbers)}.pem")
    ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(path)
    return path


numbers = count()


@beside
def test_nobody_there_is_75_and_what_cannot_be_meant_is_2(stage):
    nobody = doctor(f"http://127.0.0.1:{free_port()}", "--quick")
    assert (nobody.code, nobody.codes) == (75, ["unreachable"])
    for args in (["ftp://127.0.0.1"], ["http://127.0.0.1", "--origin", "app.example"], ["http://127.0.0.1", "--idle", "soon"], ["http://127.0.0.1", "--channel", "a,b"]):
        done = subprocess.run([BINARY, "doctor", *args], capture_output=True, text=True, timeout=10)
        assert done.returncode == 2, done.stderr


@beside
def test_a_port_where_something_else_answers_is_named_as_that(stage):
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: Apache/2.4\r\nConnection: close"
    other = doctor(stage.meddle(lambda _: page).url, "--quick")
    assert (other.code, other.codes) == (1, ["not_tidewire"])
    server = stage.serve()
    proxy = stage.behind(server, "nginx")
    server.process.kill()
    server.process.wait()
    away = doctor(proxy.url, "--quick")
    assert away.codes == ["no_node"]
    assert "tidewire serve" in away.lines("no_node", "nginx")


@beside
def test_an_address_that_redirects_is_followed_and_named(stage):
    server = stage.serve()
    there = f"HTTP/1.1 301 Moved Permanently\r\nLocation: {server.url}/c/x\r\nContent-Length: 0\r\nConnection: close"
    report = doctor(stage.meddle(lambda _: there.encode()).url, "--quick")
    assert report.codes == ["redirected"]
    assert server.url in report.finding("redirected")["seen"]


@beside
def test_what_does_no_harm_is_no_finding(stage):
    """A body that is read before it is passed on is no longer under way than one that is not, at the size of a publish."""
    ill = Ill("", "haproxy", at=["balance "])
    front = stage.front(stage.serve(), ill, "option http-buffer-request")
    report = doctor(front.url, "--quick")
    assert (report.codes, report.code) == ([], 0), report.said


@beside
def test_a_clock_that_is_off_in_front_is_told_from_that_of_the_node(stage):
    dated = stage.meddle(lambda head: head + b"\r\nDate: Thu, 01 Jan 1970 00:00:01 GMT")
    assert doctor(dated.url, "--quick").codes == ["clock_proxy"]


@beside
def test_a_handshake_that_something_else_answered_is_told_from_one_that_was_dropped(stage):
    altered = stage.meddle(lambda head: head.replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"))
    assert doctor(altered.url, "--quick").codes == ["accept_wrong"]
    lost = stage.meddle(lambda head: head.replace(b"\r\nSec-WebSocket-Protocol: tidewire.v1", b""))
    assert doctor(lost.url, "--quick").codes == ["subprotocol_lost"]


@beside
def test_a_certificate_of_another_name_is_found_and_one_of_its_own_is_not(stage):
    ca = ["--ca", authority()[1], "--quick"]
    other = doctor(stage.behind(stage.serve(), "nginx", certificate=certified("other.example")).url, *ca)
    assert other.codes == ["certificate_name"]
    assert "other.example" in other.finding("certificate_name")["seen"]
    assert "ssl_certificate" in other.lines("certificate_name", "nginx")
    right = doctor(stage.behind(stage.serve(), "nginx", certificate=certified("127.0.0.1")).url, *ca)
    assert (right.codes, right.code) == ([], 0), right.said
    assert right.words("HTTP/2").startswith("12 streams on one connection")


@beside
def test_a_certificate_that_nobody_vouches_for_is_told_from_one_without_its_chain(stage):
    alone = doctor(stage.behind(stage.serve(), "haproxy", certificate=certified("127.0.0.1")).url, "--quick")
    assert alone.codes == ["certificate_chain"], alone.said
    assert "fullchain" in alone.lines("certificate_chain", "nginx")
    itself = doctor(stage.serve("--tls-self-signed").url, "--quick")
    assert itself.codes == ["certificate_untrusted"], itself.said


@beside
def test_http2_that_was_not_offered_is_found(stage):
    pem = certified("127.0.0.1")
    ill = Ill("http2_missing", "haproxy", "http-request set-header X-Forwarded-Proto https", ["bind "])
    front = stage.front(stage.serve(), ill, ill.wrong, certificate=pem, alpn="http/1.1")
    report = doctor(front.url, "--quick", "--ca", authority()[1])
    assert report.codes == ["http2_missing"], report.said
    assert "alpn h2,http/1.1" in report.lines("http2_missing", "HAProxy")


@beside
def test_a_token_is_not_shown_to_whoever_has_the_wrong_certificate(stage):
    proxy = stage.behind(stage.serve(), "nginx", certificate=certified("other.example"))
    report = doctor(proxy.url, "--quick", "--ca", authority()[1], token="secret-token-of-mine")
    assert report.codes == ["certificate_name"]
    assert report.said["channel"] is None
    assert "secret-token" not in str(report.said)


@beside
def test_two_nodes_with_memories_of_their_own_are_found_and_a_broker_mends_it(stage):
    apart = doctor(stage.behind([stage.serve(), stage.serve()], "nginx").url, "--quick")
    assert apart.codes == ["nodes_apart"], apart.said
    assert "[broker]" in apart.lines("nodes_apart", "tidewire.toml")
    broker = f"redis://127.0.0.1:{stage.redis().port}"
    nodes = [stage.serve("--broker", broker) for _ in range(2)]
    together = doctor(stage.behind(nodes, "nginx").url, "--quick")
    assert (together.codes, together.code) == ([], 0), together.said
    assert "4 of 4 streams heard" in together.words("nodes")


@beside
def test_without_the_right_to_publish_the_rest_is_looked_at_and_what_is_missing_is_named(stage):
    server = stage.serve(access=keys.GUARDED)
    assert doctor(server.url, "--quick").codes == ["credentials_missing"]
    assert doctor(server.url, "--quick", token="tw_wrong").codes == ["credentials_refused"]
    reader = keys.token("alice", channels={"subscribe": ["prices"]})
    assert doctor(server.url, "--quick", token=reader).codes == ["grant_missing"]
    listens = doctor(server.url, "--quick", "--channel", "prices", token=reader)
    assert (listens.codes, listens.code) == ([], 0), listens.said
    assert "under `publish`" in listens.words("may publish")
    assert listens.words("events pass") == "takes the right to publish"
    own = doctor(server.url, "--quick", "--channel", "prices", token=keys.API_KEY)
    assert (own.codes, own.code) == ([], 0), own.said


@beside
def test_an_origin_that_is_not_let_in_is_named_with_what_to_write(stage):
    asked = ["--quick", "--origin", keys.ORIGIN]
    refused = doctor(stage.serve().url, *asked)
    assert refused.codes == ["origin_refused"]
    assert f'origins = ["{keys.ORIGIN}"]' in refused.lines("origin_refused", "tidewire.toml")
    allowed = doctor(stage.serve(access=keys.GUARDED).url, *asked, token=keys.API_KEY)
    assert (allowed.codes, allowed.code) == ([], 0), allowed.said


@beside
def test_streams_that_end_after_a_fixed_time_are_told_from_those_that_end_in_silence(stage):
    server = stage.serve(**{"limits.heartbeat": "250ms"})
    ill = Ill("", "caddy", at=["admin off"], in_global=True)
    front = stage.front(server, ill, "\tservers {\n\t\ttimeouts {\n\t\t\twrite 2s\n\t\t}\n\t}")
    report = doctor(front.url, "--idle", "4s")
    assert "stream_capped" in report.codes, report.said
    assert "timeouts { write" in report.lines("stream_capped", "Caddy")


@beside
def test_a_connection_that_the_server_itself_ends_is_no_finding(stage):
    server = stage.serve(**{"limits.connection_age_max": "2s", "limits.heartbeat": "250ms"})
    report = doctor(server.url, "--idle", "4s")
    assert report.codes == [], report.said
    assert "the server ended it" in report.words("quiet stream")

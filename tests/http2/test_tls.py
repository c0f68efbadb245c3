"""TLS as clients meet it: versions, protocols, certificates by name, and certificates that change while connections live."""

import json
import socket
import ssl
import time
import warnings

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from frames import Http2
from keys import GUARDED, ORIGIN, Visit, bearer, token
from stage import PATIENCE, Tidewire, client, eventually
from wire import BINARY, TEXT, Wire, frame, trusting_nobody

SELF_SIGNED = "--tls-self-signed"


@pytest.fixture
def server(plainly) -> Tidewire:
    """A server with a certificate that it made itself."""
    return plainly(SELF_SIGNED)


def certified(plainly, *pairs, **settings: object) -> Tidewire:
    """A server with certificates from files."""
    files = {"tls.cert": ",".join(str(pair.cert) for pair in pairs), "tls.key": ",".join(str(pair.key) for pair in pairs)}
    return plainly(**{**files, **settings})


def shaken(server: Tidewire, context: ssl.SSLContext, name: str | None = "localhost", **how: object) -> ssl.SSLSocket:
    """A connection after its handshake."""
    plain = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    try:
        return context.wrap_socket(plain, server_hostname=name, **how)
    except BaseException:
        plain.close()
        raise


def shown(server: Tidewire, name: str = "localhost") -> x509.Certificate:
    """The certificate that is shown to somebody who asks for a name."""
    with shaken(server, trusting_nobody(), name) as tls:
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))


def names(certificate: x509.Certificate) -> set[str]:
    """The names that a certificate is for."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


# Versions and protocols


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_tls_1_2_and_1_3_are_spoken_with_both_protocols(server: Tidewire, version: str, protocol: str) -> None:
    context = trusting_nobody(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with shaken(server, context) as tls:
        assert tls.version() == version.replace("_", ".")
        assert tls.selected_alpn_protocol() == protocol
    if protocol == "h2":
        with Http2(server, context=context) as http:
            http.listen("x")
            assert json.loads(http.ask("POST", "/c/x", body=b"hello").body)["receivers"]["sse"] == 1
    else:
        with Wire(server, context=context) as wire:
            wire.request("POST /c/x", body=b"hello")
            assert wire.response().status == 200


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_older_versions_are_refused(server: Tidewire, version: str) -> None:
    context = trusting_nobody()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    # OpenSSL itself would not even try.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|HANDSHAKE_FAILURE"):
        shaken(server, context)


def test_the_protocol_is_the_servers_choice_among_what_is_offered(server: Tidewire) -> None:
    for offered, chosen in (
        (("http/1.1", "h2"), "h2"),
        (("h2", "http/1.1"), "h2"),
        (("spdy/3", "http/1.1"), "http/1.1"),
        (("h2",), "h2"),
        ((), None),
    ):
        with shaken(server, trusting_nobody(*offered)) as tls:
            assert tls.selected_alpn_protocol() == chosen, offered


def test_a_client_that_offers_only_what_we_do_not_speak_is_told_so(server: Tidewire) -> None:
    """RFC 7301 section 3.2: a fatal alert, and not a protocol that it did not ask for."""
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        shaken(server, trusting_nobody("spdy/3", "h3"))


def test_a_client_that_offers_nothing_is_spoken_to_in_http_1(server: Tidewire) -> None:
    with Wire(server, context=trusting_nobody()) as wire:
        wire.request("GET /livez")
        assert wire.response().status == 200


PLAIN = {
    "a_request": b"GET /c/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a_stream": b"GET /c/x HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    "a_publish": b"POST /c/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_http_is_told_that_this_is_tls(server: Tidewire, name: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        plain.sendall(PLAIN[name])
        said = b""
        while piece := plain.recv(65_536):
            said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), said
    assert b"content-type: application/problem+json" in head.lower() and b"connection: close" in head.lower()
    problem = json.loads(body)
    assert problem["status"] == 400 and "TLS" in problem["detail"] + problem["hint"], problem
    assert server.texts("x") == []


@pytest.mark.parametrize("junk", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 3_000, b"\0" * 100, b"SSH-2.0-x\r\n"])
def test_what_is_neither_is_cut(server: Tidewire, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        plain.sendall(junk)
        try:
            while plain.recv(65_536):
                pass
        except ConnectionResetError:
            pass
    assert server.publish("x", "well")["id"]


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_that_comes_back_resumes_its_session(server: Tidewire, version: str) -> None:
    context = trusting_nobody("http/1.1")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with shaken(server, context) as tls:
        assert not tls.session_reused
        tls.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert tls.recv(65_536).startswith(b"HTTP/1.1 200 ")
        session = tls.session
    with shaken(server, context, session=session) as tls:
        assert tls.session_reused
        tls.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert tls.recv(65_536).startswith(b"HTTP/1.1 200 ")


# HTTP/1.1 over TLS


def test_every_transport_of_http_1_is_there(server: Tidewire) -> None:
    with Wire(server) as stream, Wire(server) as publisher, Wire(server) as socket_, Wire(server) as poll:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        assert socket_.upgrade("/c/x").status == 101
        poll.request("GET /c/x")
        cursor = json.loads(poll.response().body)["cursor"]
        poll.request(f"GET /c/x?wait=30&cursor={cursor}")
        publisher.request("POST /c/x", body=b"to all")
        assert json.loads(publisher.response().body)["receivers"]["ws"] == 1
        stream.until(b"data: to all\n")
        assert socket_.frame() == (TEXT, b"to all")
        assert [message["data"] for message in json.loads(poll.response().body)["messages"]] == ["to all"]
        socket_.send(frame(BINARY, b"\0" * 60_000))
        assert socket_.frame() == (BINARY, b"\0" * 60_000)
        stream.until(b"id: ")
        poll.request("GET /", "Accept: text/html")
        assert poll.response().status in (200, 404)


def test_requests_that_are_sent_ahead_are_answered_in_turn(server: Tidewire) -> None:
    with Wire(server) as wire:
        for n in range(20):
            wire.request("POST /c/x", body=str(n).encode())
        assert [json.loads(wire.response().body)["channel"] for _ in range(20)] == ["x"] * 20
    assert server.texts("x") == [str(n) for n in range(20)]


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("transport", ["stream", "socket", "http2"])
def test_a_client_that_goes_without_a_word_of_tls_is_gone_at_once(server: Tidewire, transport: str, how: str) -> None:
    """No close_notify: that is how processes die, and phones lose their network."""
    kind = "ws" if transport == "socket" else "sse"
    client = Http2(server) if transport == "http2" else Wire(server)
    if transport == "http2":
        client.listen("x")
    elif transport == "socket":
        assert client.upgrade("/c/x").status == 101
    else:
        client.request("GET /c/x", "Accept: text/event-stream")
        client.until(b"event: $ready\n")
    assert server.publish("x", "probe")["receivers"][kind] == 1
    client.reset() if how == "reset" and transport != "http2" else client.close()
    began = time.monotonic()
    eventually("it is gone", lambda: server.publish("x", "probe")["receivers"][kind] == 0)
    assert time.monotonic() - began < 2, "at once, and not when a write fails"


def test_a_client_that_says_goodbye_is_gone_too(server: Tidewire) -> None:
    tls = shaken(server, trusting_nobody("http/1.1"))
    tls.sendall(b"GET /c/x HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    while b"$ready" not in tls.recv(65_536):
        pass
    assert server.publish("x", "probe")["receivers"]["sse"] == 1
    tls.settimeout(1)
    try:
        tls.unwrap()
    except (ssl.SSLError, OSError):
        # It is answered by more of the stream, or by an end.
        pass
    eventually("it is gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)
    tls.close()


def test_a_drain_ends_streams_and_sockets_as_without_tls(plainly) -> None:
    server = plainly(SELF_SIGNED, drain_within="500ms")
    with Wire(server) as stream, Wire(server) as websocket:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        assert websocket.upgrade("/c/x").status == 101
        server.terminate()
        end = stream.rest()
        assert b"retry: " in end and end.endswith(b"0\r\n\r\n"), end
        assert websocket.close_frame()[0] == 1012
    assert server.process.wait(PATIENCE) == 0, server.said()


def test_s33_a_handshake_that_stalls_keeps_nobody_else_waiting(server: Tidewire) -> None:
    stalled = [socket.create_connection(("127.0.0.1", server.port), PATIENCE) for _ in range(50)]
    for each in stalled:
        each.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    began = time.monotonic()
    assert server.client.get("/livez").status_code == 200
    assert time.monotonic() - began < 1
    for each in stalled:
        each.close()


def test_the_cookie_of_a_ticket_is_secure(plainly) -> None:
    server = plainly(SELF_SIGNED, access=GUARDED)
    with Wire(Visit(server, bearer(token("alice", "x")))) as wire:
        wire.request("POST /v1/tickets", f"Origin: {ORIGIN}", body=b"{}")
        ticket = json.loads(wire.response().body)["ticket"]
    with Wire(Visit(server)) as wire:
        wire.request(f"GET /c/x?ticket={ticket}", f"Origin: {ORIGIN}", "Accept: text/event-stream")
        answer = wire.head()
        assert answer.status == 200
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Secure-") and "; Secure" in cookie and "; HttpOnly" in cookie, cookie
    again = f"Cookie: {cookie.partition(';')[0]}"
    with Wire(Visit(server)) as wire:
        wire.request(f"GET /c/x?ticket={ticket}", f"Origin: {ORIGIN}", "Accept: text/event-stream", again)
        assert wire.head().status == 200, "EventSource comes back with the same address, and its cookie"
    with Http2(Visit(server)) as http:
        fields = [("origin", ORIGIN), ("cookie", cookie.partition(";")[0])]
        http.listen(f"x?ticket={ticket}", *fields)


# Certificates


def test_a_certificate_of_its_own_making_is_for_this_machine(server: Tidewire) -> None:
    certificate = shown(server)
    assert names(certificate) >= {"localhost", "127.0.0.1", "::1"}
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(certificate.public_bytes(Encoding.DER)))
    for name in ("localhost", "127.0.0.1"):
        shaken(server, trusting, name).close()


def test_each_name_gets_its_certificate_and_who_names_none_the_first(plainly, authority) -> None:
    first, second = authority.issue("one.example", "127.0.0.1"), authority.issue("two.example", "*.two.example", key="rsa")
    server = certified(plainly, first, second)
    trusting = authority.context()
    for name in ("one.example", "two.example", "a.two.example"):
        with shaken(server, trusting, name) as tls:
            assert ("DNS", name.replace("a.", "*.")) in tls.getpeercert()["subjectAltName"]
    assert "one.example" in names(shown(server, "three.example"))
    with shaken(server, trusting, "127.0.0.1") as tls:
        assert ("DNS", "one.example") in tls.getpeercert()["subjectAltName"], "an address is no name, so none was said"


def test_the_chain_is_sent_as_it_stands_in_the_file(plainly, tmp_path) -> None:
    """A client that knows only the root needs what is in between."""
    root = trustme.CA()
    between = root.create_child_ca()
    leaf = between.issue_cert("localhost")
    cert, key = tmp_path / "chain.pem", tmp_path / "chain.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    server = plainly(**{"tls.cert": cert, "tls.key": key})
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    root.configure_trust(trusting)
    shaken(server, trusting).close()


def serial(server: Tidewire, name: str = "localhost") -> int:
    return shown(server, name).serial_number


def test_a_new_certificate_is_shown_within_a_second_and_old_connections_live_on(plainly, authority) -> None:
    server = certified(plainly, authority.issue("localhost"))
    with Wire(server) as stream, Http2(server) as http:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        heard = http.listen("x")
        for n in range(3):
            before = serial(server)
            authority.issue("localhost")
            began = time.monotonic()
            eventually("the new one is shown", lambda before=before: serial(server) != before, patience=5)
            took = time.monotonic() - began
            print(f"shown after {took:.2f} s")
            assert took < 1
            server.publish("x", f"still here {n}")
            stream.until(f"data: still here {n}\n".encode())
            http.until_body(heard, f"data: still here {n}\n".encode())


BROKEN = {
    "an_empty_certificate": ("cert", b""),
    "no_certificate": ("cert", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    "half_a_certificate": ("cert", None),
    "no_key": ("key", b"not a key"),
    "an_empty_key": ("key", b""),
}


def test_files_that_cannot_be_used_leave_the_old_certificate_in_force(plainly, authority) -> None:
    pair = authority.issue("localhost")
    server = certified(plainly, pair)
    for name, (which, junk) in BROKEN.items():
        before, said = serial(server), server.said()
        path = pair.cert if which == "cert" else pair.key
        path.write_bytes(junk if junk is not None else path.read_bytes()[:200])
        eventually(f"{name} is spoken of", lambda path=path, said=said: str(path) in server.said()[len(said) :], patience=5)
        assert serial(server) == before, name
        authority.issue("localhost")
        eventually("a good pair is taken again", lambda before=before: serial(server) != before, patience=5)


def test_a_key_that_does_not_belong_to_its_certificate_is_not_taken(plainly, authority) -> None:
    pair, other = authority.issue("localhost"), authority.issue("other.example")
    server = certified(plainly, pair)
    before = serial(server)
    pair.cert.write_bytes(other.cert.read_bytes())
    eventually("it is spoken of", lambda: str(pair.cert) in server.said(), patience=5)
    assert serial(server) == before
    pair.key.write_bytes(other.key.read_bytes())
    eventually("with its key it is", lambda: serial(server) != before, patience=5)


def test_files_that_vanish_leave_the_old_certificate_in_force(plainly, authority) -> None:
    pair = authority.issue("localhost")
    server = certified(plainly, pair)
    before = serial(server)
    pair.cert.unlink()
    pair.key.unlink()
    eventually("it is spoken of", lambda: str(pair.cert) in server.said(), patience=5)
    assert serial(server) == before
    authority.issue("localhost")
    eventually("they are back", lambda: serial(server) != before, patience=5)


def test_one_of_several_certificates_may_change_alone(plainly, authority) -> None:
    one, two = authority.issue("one.example"), authority.issue("two.example")
    server = certified(plainly, one, two)
    before = serial(server, "one.example"), serial(server, "two.example")
    authority.issue("two.example")
    eventually("the new one is shown", lambda: serial(server, "two.example") != before[1], patience=5)
    assert serial(server, "one.example") == before[0]


START = {
    "no_such_file": {"tls.cert": "nowhere.pem", "tls.key": "nowhere.key"},
    "a_certificate_without_a_key": {"tls.cert": "{cert}"},
    "a_key_without_a_certificate": {"tls.key": "{key}"},
    "two_certificates_and_one_key": {"tls.cert": "{cert},{cert}", "tls.key": "{key}"},
    "the_key_of_another": {"tls.cert": "{cert}", "tls.key": "{other}"},
    "the_certificate_as_its_key": {"tls.cert": "{cert}", "tls.key": "{cert}"},
}


@pytest.mark.parametrize("name", START)
def test_a_server_does_not_start_without_what_it_was_told_to_show(plainly, authority, name: str) -> None:
    pair, other = authority.issue("localhost"), authority.issue("other.example")
    values = {key: text.format(cert=pair.cert, key=pair.key, other=other.key) for key, text in START[name].items()}
    with pytest.raises(AssertionError, match="tidewire ended with") as ended:
        plainly(**values)
    assert "tls." in str(ended.value), "it names the setting"


def test_a_binary_without_acme_says_which_feature_to_build_with(plainly, tmp_path) -> None:
    with pytest.raises(AssertionError, match="tidewire ended with 78") as ended:
        plainly(**{"tls.acme": "live.example", "tls.acme_cache": tmp_path / "cache"})
    assert "`tls.acme`" in str(ended.value) and "--features acme" in str(ended.value)
    assert not (tmp_path / "cache").exists()


def test_a_key_is_shown_to_nobody(plainly, authority) -> None:
    """S49: neither by what it says nor by an answer."""
    pair = authority.issue("localhost")
    server = certified(plainly, pair)
    pair.cert.write_bytes(pair.key.read_bytes())
    eventually("it is spoken of", lambda: str(pair.cert) in server.said(), patience=5)
    secret = pair.key.read_text().splitlines()[1][:24]
    assert secret not in server.said()
    assert secret not in server.client.get("/metrics").text


def test_a_client_that_verifies_is_content(plainly, authority) -> None:
    server = certified(plainly, authority.issue("localhost", "127.0.0.1"))
    with client(server.url) as anybody:
        assert anybody.get("/livez").status_code == 200
    with Wire(server, context=authority.context("http/1.1")) as wire:
        wire.request("GET /livez")
        assert wire.response().status == 200

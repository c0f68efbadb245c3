"""Certificates that an ACME server signs: how they are had, shown, kept and renewed, and what becomes of what fails."""

import os
import re
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trustme
from authority import HERE, NOWHERE, REFUSED, Pebble
from certificates import Authority
from conftest import Ordering
from cryptography import x509
from frames import Http2
from stage import BINARY, PATIENCE, eventually
from wire import Wire, trusting_nobody

NAME = "live.example"

AGAIN_S = 5 + PATIENCE
"""How long an order may take whose first try failed: the pause after it is 5 s."""


def shaken(server: Ordering, context: ssl.SSLContext, name: str | None = NAME) -> ssl.SSLSocket:
    """A connection after its handshake."""
    plain = socket.create_connection((HERE, server.port), PATIENCE)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def shown(server: Ordering, name: str | None = NAME, *protocols: str) -> x509.Certificate | None:
    """The certificate that is shown to somebody who asks for a name; nothing where there is none."""
    try:
        with shaken(server, trusting_nobody(*protocols), name) as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
    except ssl.SSLError:
        return None


def serial(server: Ordering) -> int | None:
    certificate = shown(server)
    return certificate and certificate.serial_number


def has_certificate(server: Ordering, patience: float = PATIENCE) -> int:
    """Waits for a certificate, and returns its serial number."""
    eventually("there is a certificate", lambda: serial(server) is not None, patience)
    return serial(server)


def accounts(pebble: Pebble) -> int:
    """How many accounts there are."""
    counts = re.findall(r"There are now (\d+) accounts in memory", pebble.said())
    return int(counts[-1]) if counts else 0


def signed(pebble: Pebble) -> int:
    """How many certificates were signed."""
    return pebble.said().count("Issued certificate serial")


def plant(cache: Path, pebble: Pebble, *names: str) -> int:
    """Puts a certificate into the cache that is good for another ten days, and due. Returns its serial number."""
    now = datetime.now(UTC)
    life = {"not_before": now - timedelta(days=80), "not_after": now + timedelta(days=10)}
    signed = trustme.CA().issue_cert(*names, key_type=trustme.KeyType.ECDSA, **life)
    cache.mkdir(mode=0o700)
    chain = [blob.bytes() for blob in signed.cert_chain_pems]
    (cache / f"{pebble.stem}.certificate.pem").write_bytes(b"".join([signed.private_key_pem.bytes(), *chain]))
    return x509.load_pem_x509_certificate(chain[0]).serial_number


# A certificate


def test_a_certificate_is_had_and_shown_over_both_versions_of_http(order, pebble: Pebble) -> None:
    pebble.start()
    server = order()
    has_certificate(server)
    for version, context in (("HTTP/2", pebble.context("h2", "http/1.1")), ("HTTP/1.1", pebble.context("http/1.1"))):
        with httpx.Client(verify=context, http2=version == "HTTP/2", trust_env=False) as anybody:
            answer = anybody.get(f"{server.url}/c/x", extensions={"sni_hostname": NAME})
            assert (answer.status_code, answer.http_version) == (200, version)
    with Http2(server, context=trusting_nobody("h2")) as stream, Wire(server) as publisher:
        stream.listen("x")
        publisher.request("POST /c/x", body=b"hello")
        assert publisher.response().status == 200


def test_one_certificate_holds_all_names(order, pebble: Pebble) -> None:
    pebble.start()
    server = order(**{"tls.acme": "live.example,www.live.example"})
    has_certificate(server)
    for name in ("live.example", "www.live.example"):
        shaken(server, pebble.context(), name).close()
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(server, pebble.context(), "other.example")


def test_a_server_is_ready_and_shows_nothing_while_its_first_certificate_is_not_there(order) -> None:
    server = order()
    assert shown(server) is None
    assert httpx.get(f"{server.watched}/readyz", trust_env=False).status_code == 200


def test_nonces_that_are_not_taken_are_asked_for_again(order, pebble: Pebble) -> None:
    pebble.start(PEBBLE_WFE_NONCEREJECT=25)
    server = order()
    has_certificate(server)
    assert "no certificate" not in server.said()


# What is kept


def test_a_restart_shows_what_was_kept_and_asks_nobody(order, pebble: Pebble) -> None:
    pebble.start()
    server = order()
    before = has_certificate(server)
    eventually("it is kept", lambda: "is kept" in server.said())
    asked = pebble.said()
    server.restart()
    assert serial(server) == before, "with its first handshake"
    pebble.stop()
    server.restart()
    assert serial(server) == before, "also while the ACME server is away"
    assert pebble.said() == asked
    assert "no certificate" not in server.said()


def test_nobody_else_may_read_what_is_kept(order, pebble: Pebble, cache: Path) -> None:
    pebble.start()
    server = order()
    eventually("it is kept", lambda: "is kept" in server.said())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()}
    assert modes == {f"{pebble.stem}.account.key": 0o600, f"{pebble.stem}.certificate.pem": 0o600}
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_the_account_is_made_once(order, pebble: Pebble, cache: Path) -> None:
    pebble.start()
    server = order(**{"tls.acme_contact": "ops@live.example"})
    before = has_certificate(server)
    eventually("it is kept", lambda: "is kept" in server.said())
    (cache / f"{pebble.stem}.certificate.pem").unlink()
    server.restart()
    assert has_certificate(server) != before
    assert accounts(pebble) == 1


def test_another_list_of_names_is_another_order_and_the_old_certificate_is_shown_meanwhile(order, pebble: Pebble) -> None:
    pebble.start()
    server = order()
    before = has_certificate(server)
    eventually("it is kept", lambda: "is kept" in server.said())
    server.end()
    pebble.resolve_to(NOWHERE)
    server = order(**{"tls.acme": "live.example,www.live.example"})
    assert serial(server) == before
    eventually("it fails", lambda: "the one before stays in use" in server.said())
    assert serial(server) == before
    pebble.resolve_to(HERE)
    eventually("there is another", lambda: serial(server) != before, AGAIN_S)
    shaken(server, pebble.context(), "www.live.example").close()


def test_what_is_broken_in_the_cache_is_said_and_ordered_anew(order, pebble: Pebble, cache: Path) -> None:
    pebble.start()
    cache.mkdir(mode=0o700)
    broken = cache / f"{pebble.stem}.certificate.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    server = order()
    assert str(broken) in server.said()
    has_certificate(server)


def test_a_certificate_that_cannot_be_kept_is_shown_all_the_same(order, pebble: Pebble, cache: Path) -> None:
    pebble.start()
    cache.mkdir(mode=0o700)
    server_file = cache / f"{pebble.stem}.certificate.pem"
    (server_file / "in the way").mkdir(parents=True)
    server = order()
    has_certificate(server)
    eventually("it is said", lambda: "in use and not kept" in server.said())
    assert str(server_file) in server.said()


# Renewal


def test_a_certificate_is_renewed_before_it_ends_and_streams_go_on(order, pebble: Pebble) -> None:
    pebble.start(lives_s=9)
    server = order()
    before = has_certificate(server)
    with Http2(server, context=trusting_nobody("h2")) as stream:
        stream.listen("x")
        eventually("it is renewed", lambda: serial(server) != before)
        shaken(server, pebble.context()).close()
        assert server.publish("x", "hello")["receivers"]["sse"] == 1
    assert "no certificate" not in server.said()
    assert accounts(pebble) == 1


def test_a_certificate_that_is_due_is_shown_until_there_is_another(order, pebble: Pebble, cache: Path) -> None:
    before = plant(cache, pebble, NAME)
    server = order()
    assert serial(server) == before
    eventually("it is said", lambda: "the one before stays in use" in server.said())
    assert "asked for its directory" in server.said() and "Connection refused" in server.said()
    assert serial(server) == before
    pebble.start()
    eventually("there is another", lambda: serial(server) != before, AGAIN_S)


# Challenges


@pytest.fixture
def posed(order, pebble: Pebble, cache: Path, port: int) -> Iterator[Ordering]:
    """A server with a certificate of its own whose challenge waits for an ACME server that was led astray."""
    plant(cache, pebble, NAME)
    pebble.start()
    with closing(socket.create_server((NOWHERE, port))):
        pebble.resolve_to(NOWHERE)
        server = order()
        eventually("it is challenged", lambda: shown(server, NAME, "acme-tls/1") is not None)
        yield server


def test_a_challenge_is_answered_by_a_certificate_of_its_own(posed: Ordering) -> None:
    challenge = shown(posed, NAME, "acme-tls/1")
    proof = challenge.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert proof.critical
    names = challenge.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [NAME]
    assert challenge.serial_number != serial(posed)


@pytest.mark.parametrize("protocols", [(), ("h2",), ("http/1.1",), ("acme-tls/1", "h2"), ("acme-tls/1", "http/1.1")])
def test_nobody_else_is_shown_it(posed: Ordering, protocols: tuple[str, ...]) -> None:
    with shaken(posed, trusting_nobody(*protocols)) as tls:
        assert x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)).serial_number == serial(posed)
        assert tls.selected_alpn_protocol() == (protocols[-1] if protocols else None)


@pytest.mark.parametrize("name", ["other.example", None])
def test_a_challenge_for_another_name_is_not_answered(posed: Ordering, name: str | None) -> None:
    with pytest.raises(ssl.SSLError):
        shaken(posed, trusting_nobody("acme-tls/1"), name)


def test_after_a_challenge_nothing_is_said(posed: Ordering) -> None:
    """RFC 8737 section 3."""
    with shaken(posed, trusting_nobody("acme-tls/1")) as tls:
        assert tls.selected_alpn_protocol() == "acme-tls/1"
        try:
            tls.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert tls.recv(1) == b""
        except OSError:
            pass


def test_without_a_challenge_its_protocol_is_refused(order, pebble: Pebble) -> None:
    pebble.start()
    server = order()
    has_certificate(server)
    for protocols in (("acme-tls/1",), ("acme-tls/1", "spdy/3")):
        with pytest.raises(ssl.SSLError):
            shaken(server, trusting_nobody(*protocols))


# What fails


def test_a_name_that_is_elsewhere_is_said_and_tried_again(order, pebble: Pebble) -> None:
    pebble.start()
    pebble.resolve_to(NOWHERE)
    server = order()
    eventually("it is said", lambda: "no certificate" in server.said())
    assert "did not find this server at `live.example`, on port 443" in server.said(), server.said()
    assert "again_in=5s" in server.said()
    assert signed(pebble) == 0 and shown(server) is None
    pebble.resolve_to(HERE)
    has_certificate(server, AGAIN_S)
    assert accounts(pebble) == 1


def test_an_order_that_is_refused_is_said_in_the_words_of_the_acme_server(order, pebble: Pebble) -> None:
    pebble.start()
    server = order(**{"tls.acme": REFUSED})
    eventually("it is said", lambda: "no certificate" in server.said())
    assert "asked for a certificate, the ACME server refused: " in server.said(), server.said()
    assert "(rejectedIdentifier)" in server.said(), server.said()


def test_an_acme_server_that_is_not_trusted_is_named_as_such(order, pebble: Pebble, tmp_path: Path) -> None:
    pebble.start()
    other = tmp_path / "other"
    other.mkdir()
    server = order(**{"tls.acme_ca": Authority(other).write("other.pem")})
    eventually("it is said", lambda: "no certificate" in server.said())
    assert "is not trusted (UnknownIssuer); `tls.acme_ca` names whom to trust" in server.said(), server.said()
    assert accounts(pebble) == 0


def test_what_is_no_acme_server_is_named_as_such(order, pebble: Pebble) -> None:
    pebble.start()
    server = order(**{"tls.acme_directory": pebble.directory.replace("/dir", "/nothing")})
    eventually("it is said", lambda: "no certificate" in server.said())
    assert "asked for its directory, the ACME server answered with status 404" in server.said(), server.said()


START = {
    "a_certificate_as_well": ({"tls.cert": "{cert}", "tls.key": "{key}"}, "`tls.cert` names one: choose"),
    "a_made_up_certificate_as_well": ({"tls.self_signed": "true"}, "`tls.self_signed` makes one up: choose"),
    "no_cache": ({"tls.acme_cache": None}, "`tls.acme_cache`: it is not set"),
    "a_cache_that_is_a_file": ({"tls.acme_cache": "{cert}"}, "tidewire: `tls.acme_cache`: {cert}: "),
    "a_cache_of_others": ({"tls.acme_cache": "{open}"}, "others may write to it"),
    "an_address": ({"tls.acme": "127.0.0.1"}, "`127.0.0.1` is not a name in the DNS"),
    "a_wildcard": ({"tls.acme": "*.live.example"}, "write each name"),
    "no_such_authority": ({"tls.acme_ca": "/nowhere.pem"}, "`tls.acme_ca`: /nowhere.pem: "),
    "an_authority_that_is_a_key": ({"tls.acme_ca": "{key}"}, "there is no certificate in it"),
    "a_directory_without_tls": ({"tls.acme_directory": "http://localhost/dir"}, "ACME server cannot be used: it does not begin with https"),
    "a_contact_that_is_none": ({"tls.acme_contact": "ops"}, "`ops` is not a mail address"),
    "an_engine_without_tls": ({"engine.io": "epoll"}, "drive sockets without TLS"),
}


@pytest.mark.parametrize("name", START)
def test_a_server_does_not_start_with_what_it_cannot_do(order, trust: Authority, tmp_path: Path, name: str) -> None:
    pair = trust.issue(NAME)
    others = tmp_path / "open"
    others.mkdir()
    others.chmod(0o777)
    settings, words = START[name]
    files = {"cert": pair.cert, "key": pair.key, "open": others}
    settings = {key: value and value.format(**files) for key, value in settings.items()}
    with pytest.raises(AssertionError, match="tidewire ended with") as ended:
        order(**settings)
    assert words.format(**files) in str(ended.value)


def test_an_account_whose_key_is_none_is_named(order, pebble: Pebble, cache: Path) -> None:
    cache.mkdir(mode=0o700)
    key = cache / f"{pebble.stem}.account.key"
    key.write_text("nothing")
    with pytest.raises(AssertionError, match="holds no key; remove it to have a new account") as ended:
        order()
    assert str(key) in str(ended.value)


def test_what_is_without_effect_is_warned_of(tmp_path: Path) -> None:
    environment = {**os.environ, "TIDEWIRE_TLS__ACME_CACHE": str(tmp_path)}
    check = subprocess.run([BINARY, "check"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert "`tls.acme_cache` is without effect while there is no `tls.acme`" in check.stdout + check.stderr


def test_checking_a_configuration_changes_nothing(tmp_path: Path, cache: Path) -> None:
    environment = {**os.environ, "TIDEWIRE_TLS__ACME": NAME, "TIDEWIRE_TLS__ACME_CACHE": str(cache)}
    check = subprocess.run([BINARY, "check"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert check.returncode == 0, check.stdout + check.stderr
    assert not cache.exists()

"""S49: whatever is secret is sent in every field that could take it, right and wrong, and is then found nowhere."""

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from canaries import Canaries, exchange
from keys import GUARDED, ORIGIN, SECRET, api_key_line, bearer, part, token
from stage import BINARY, Access, Tidewire, eventually
from wire import TEXT, frame

KEY = base64.b64encode(os.urandom(16)).decode()
STREAM = "Accept: text/event-stream"
PAGE = "Accept: text/html"
SOCKET = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}"

PLACES = {
    # What is asked for, and its own header fields. Nothing is ever published to `quiet`, so nothing is delivered there.
    "poll": ("GET /c/quiet", ""),
    "long poll": ("GET /c/quiet?wait=1", ""),
    "stream": ("GET /c/quiet", STREAM),
    "socket": ("GET /c/quiet", SOCKET),
    "socket v1": ("GET /c/quiet", f"{SOCKET}\r\nSec-WebSocket-Protocol: tidewire.v1"),
    "page": ("GET /c/quiet", PAGE),
    "publish": ("POST /c/loud", "Content-Length: 0"),
    "batch": ("POST /v1/publish", "Content-Length: 0"),
    "tickets": ("POST /v1/tickets", "Content-Length: 20000"),
    "revoke": ("POST /v1/revoke", "Content-Length: 2\r\n\r\n{}"),
    "channels": ("GET /v1/channels", ""),
    "history": ("GET /v1/channels/quiet/history", ""),
    "metrics": ("GET /metrics", ""),
    "readyz": ("GET /readyz", ""),
    "nowhere": ("GET /nowhere", ""),
    "nowhere in the api": ("GET /v1/nowhere", ""),
    "no channel": ("GET /c/", STREAM),
    "a bad channel": ("GET /c/b%20d", STREAM),
    "a bad cursor": ("GET /c/quiet?tail=x", STREAM),
    "another method": ("PUT /v1/publish", "Content-Length: 0"),
    "another method on a channel": ("DELETE /c/quiet", ""),
    "preflight": ("OPTIONS /c/quiet", "Access-Control-Request-Method: GET"),
    "of evil": ("GET /c/quiet", f"{STREAM}\r\nOrigin: https://evil.example"),
    "of the app": ("GET /c/quiet", f"{STREAM}\r\nOrigin: {ORIGIN}"),
}


def in_query(name: str) -> Callable[[str], tuple[str, str]]:
    return lambda secret: (f"{name}={secret}", "")


def in_field(text: str) -> Callable[[str], tuple[str, str]]:
    return lambda secret: ("", text.format(secret))


CARRIERS = {
    # What a secret is added as: to the query, or to the header.
    "bearer": in_field("Authorization: Bearer {}"),
    "bearer, and more": in_field("Authorization: bearer  {} more"),
    "bearer in quotes": in_field('Authorization: Bearer "{}"'),
    "another scheme": in_field("Authorization: Basic {}"),
    "no scheme": in_field("Authorization: {}"),
    "bearer, twice": in_field("Authorization: Bearer {0}\r\nAuthorization: Bearer x{0}"),
    "bearer, not ASCII": in_field("Authorization: Bearer {}é"),
    "for a proxy": in_field("Proxy-Authorization: Bearer {}"),
    "cookie": in_field("Cookie: session={}; theme=dark"),
    "cookie, twice": in_field("Cookie: session={0}; session=x{0}"),
    "cookie, unreadable": in_field('Cookie: session="{};;=,'),
    "cookie of a ticket": in_field("Cookie: tidewire_ticket={}"),
    "cookie of others": in_field("Cookie: other={}"),
    "subprotocol": in_field("Sec-WebSocket-Protocol: tidewire.v1, bearer.{}"),
    "subprotocol, unreadable": in_field("Sec-WebSocket-Protocol: bearer.{},, bearer.=,"),
    "?ticket": in_query("ticket"),
    "?token": in_query("token"),
    "?access_token": in_query("access_token"),
    "?jwt": in_query("jwt"),
    "?ticket, not escaped right": lambda secret: (f"ticket=%zz{secret}%", ""),
    "?ticket, and a cookie": lambda secret: (f"ticket={secret}", f"Cookie: session={secret}x"),
    "?ticket, and a bearer": lambda secret: (f"ticket={secret}", f"Authorization: Bearer {secret}"),
    "?access_token, and a cookie": lambda secret: (f"access_token={secret}", f"Cookie: session={secret}x"),
    "referrer": lambda secret: ("", f"Referer: {ORIGIN}/?ticket={secret}"),
}

BROKEN_HEADS = [
    # Each is refused by whoever reads the head, before anybody knows what is secret in it.
    "GET /c/quiet?ticket={} HTTP/9.9\r\nHost: a\r\n\r\n",
    "GET /c/quiet?ticket={}\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /c/quiet?ticket={} x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://user:{}@a/c/quiet HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT {}:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "{} /c/quiet HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer {}\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n {}\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\x00\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\n\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nBearer {}\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nCookie: session={}\r\nContent-Length: x\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {}\r\n\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a b {}\r\n\r\n",
    "GET /c/quiet?ticket={0}&{0} HTTP/1.1\r\n\r\n",
    "POST /c/loud HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
    "POST /c/loud HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n",
    "GET /c/quiet HTTP/1.1\r\nHost: a\r\nCookie: {0}\r\nX: " + "x" * 20_000 + "\r\n\r\n",
    "GET /c/quiet?ticket={0}&x=" + "x" * 9_000 + " HTTP/1.1\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}",
    "\x16\x03\x01{}",
    "{}",
]


def request(place: str, query: str = "", field: str = "") -> bytes:
    """A request to a place of `PLACES`, with a secret somewhere."""
    start, own = PLACES[place]
    joined = f"{start}{'&' if '?' in start else '?'}{query}" if query else start
    fields, end, body = own.partition("\r\n\r\n")
    lines = [f"{joined} HTTP/1.1", "Host: 127.0.0.1", *filter(None, (fields, field))]
    if "upgrade" not in fields.lower():
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", body]).encode("utf-8") + (b"" if end else b"\r\n")


def wrong_tokens(canary: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """Tokens that are refused, each for another reason."""
    right = token("alice", "quiet", note=canary())
    head, claims, signature = right.split(".")
    yield "a token with another signature", f"{head}.{claims}.{signature[::-1]}"
    yield "a token with more behind it", f"{right}.more"
    yield "a token that is signed by nobody", f"{part({'alg': 'none'})}.{part({'sub': 'a', 'note': canary()})}."
    yield "a token of another secret", token("alice", "quiet", secret="x" * 40, note=canary())
    yield "a token that is over", token("alice", "quiet", lasts_s=-600, note=canary())
    yield "a token with an end that is a text", token("alice", "quiet", exp=canary())
    yield "a token with rights that are a text", token("alice", "quiet", channels=canary())
    yield "a token of an unknown key", token("alice", "quiet", header={"kid": "nobody"}, note=canary())
    yield "a token with a crit", token("alice", "quiet", header={"crit": ["b64"]}, note=canary())
    yield "a token whose claims are no JSON", f"{head}.{base64.urlsafe_b64encode(canary().encode()).decode()}.{signature}"
    yield "a token of one part", canary()


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.mark.parametrize("engine", ["epoll", "tokio"])
def test_s49_no_secret_is_in_a_log_an_answer_or_a_metric(serve, canaries, engine):
    def canary() -> str:
        return secrets.token_hex(16)

    canaries.keep("the secret", SECRET)
    api_key = canaries.keep("an API key", f"tw_{secrets.token_urlsafe(32)}")
    server = serve(
        **{
            "log": "trace",
            "engine.io": engine,
            "auth.api_keys": api_key_line(api_key),
            "auth.query_token": "true",
            "limits.tickets_per_second_max": 0,
            "limits.tickets_outstanding_max": 0,
            "limits.poll_wait_max": "100ms",
            "drain_within": "100ms",
        },
        access=replace(GUARDED, credentials=bearer(api_key)),
    )
    credentials = {
        "an API key": api_key,
        "an unknown API key": canaries.keep("an unknown API key", f"tw_{secrets.token_urlsafe(32)}"),
        "half an API key": canaries.keep("half an API key", f"tw_{secrets.token_urlsafe(16)}"),
        "a token": canaries.keep_token("a token", token("alice", "quiet", note=canaries.keep("a claim", canary()))),
        "no ticket": canaries.keep("no ticket", secrets.token_urlsafe(32)),
    }
    for what, wrong in wrong_tokens(canary):
        credentials[what] = canaries.keep_token(what, wrong) if wrong.count(".") == 2 else canaries.keep(what, wrong)

    requests = []
    for what, secret in credentials.items():
        # One of each kind in every field of every place, and the others where they are looked at.
        everywhere = what in ("a token", "an API key", "no ticket")
        carriers = CARRIERS if everywhere else {"bearer": CARRIERS["bearer"]}
        places = PLACES if everywhere else ["poll", "socket", "stream", "tickets"]
        requests += [request(place, *carry(secret)) for place in places for carry in carriers.values()]
        requests += [head.replace("{}", secret).replace("{0}", secret).encode("latin-1") for head in BROKEN_HEADS]
    for way in ("poll", "stream", "socket"):
        ticket = canaries.keep(f"a ticket for a {way}", server.client.post("/v1/tickets").json()["ticket"])
        requests += [request(way, f"ticket={ticket}")] * 2
    requests += list(payloads(server, canaries, canary))
    answers = [answer for at in range(0, len(requests), 700) for answer in exchange(server, requests[at : at + 700])]

    assert server.process.poll() is None
    assert not canaries.found_in_any(answers)
    statuses = {answer[9:12] for answer in answers if answer.startswith(b"HTTP/1.1 ")}
    assert statuses >= {b"101", b"200", b"204", b"400", b"401", b"403", b"404", b"405", b"413", b"414", b"431"}, statuses
    for path in ("/metrics", "/readyz", "/livez", "/v1/channels"):
        assert not canaries.found(server.client.get(path).content), path
    server.terminate()
    eventually("the server has left", lambda: server.process.poll() is not None)
    log = server.said().encode()
    assert log.count(b"DEBUG") > 500, "it was asked to say everything"
    assert b"panicked" not in log
    assert not canaries.found_in_any(log.splitlines())


def payloads(server: Tidewire, canaries: Canaries, canary: Callable[[], str]) -> Iterator[bytes]:
    """What is published, and what is said on a WebSocket, in right and in wrong words."""
    authorization = f"Authorization: {server.credentials['Authorization']}"

    def payload(what: str) -> str:
        return canaries.keep(f"the payload of {what}", canary())

    def posted(path: str, body: str, *fields: str) -> bytes:
        fields = (authorization, *fields, f"Content-Length: {len(body)}", "Connection: close")
        return "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", *fields, "", body]).encode("latin-1")

    yield posted("/c/loud", payload("a publish"))
    yield posted("/c/loud", payload("a publish in JSON") + "{", "Content-Type: application/json")
    yield posted("/c/loud", payload("a publish that is not UTF-8") + "\xff")
    yield posted("/c/loud,loud", payload("a publish to two"))
    yield posted("/c/loud", payload("a publish that is too large") * 4_000)
    yield posted("/c/loud", payload("a publish of a bad event"), "Tidewire-Event: $no")
    yield posted("/c/loud", payload("a repeated publish"), "Idempotency-Key: one")
    yield posted("/c/loud", payload("another publish of that key"), "Idempotency-Key: one")
    wrong = [
        '{"messages":[{"channel":"loud","data":"%s"}]}',
        '{"messages":[{"channel":"loud","data":["%s"]}]}',
        '{"messages":[{"channel":"loud","data":{"a":"%s"}}]}',
        '{"messages":[{"channel":"loud","base64":"%s!"}]}',
        '{"messages":[{"channel":"loud","data":"a","data":"%s"}]}',
        '{"messages":[{"channel":"loud","data":"%s}',
        "%s",
    ]
    for at, body in enumerate(wrong):
        yield posted("/v1/publish", body % payload(f"batch {at}"))
    for path in ("/v1/tickets", "/v1/revoke"):
        for body in ('{"ticket":"%s"}', '{"token":["%s"]}', '{"ttl":30,"ttl":"%s', "%s"):
            yield posted(path, body % payload(f"{path} {body}"))

    renewed = canaries.keep_token("a token to refresh", token("alice", "quiet"))
    stranger = canaries.keep_token("a token of another", token("bob", "quiet"))
    forged = canaries.keep_token("a forged token to refresh", token("alice", "quiet", secret="y" * 40))
    frames = [
        {"type": "refresh", "token": renewed},
        {"type": "refresh", "token": stranger},
        {"type": "refresh", "token": forged},
        {"type": "refresh", "token": [payload("a token in a list")]},
        {"type": "refresh", "token": payload("a token that is none")},
        {"type": "publish", "channel": "loud", "data": payload("a frame")},
        {"type": "publish", "channel": "quiet", "data": [payload("a frame with a list")]},
        {"type": "publish", "channel": "quiet", "base64": payload("a frame that is not base64") + "!"},
        {"type": "publish", "channel": "l d", "data": payload("a frame to nowhere")},
        {"type": payload("a frame of no type")},
        [payload("a frame that is a list")],
        payload("a frame that is a text"),
    ]
    texts = [json.dumps(frame) for frame in frames]
    texts += [texts[0][:-4], texts[5][:-4], payload("a frame that is no JSON")]
    texts += ['{"type":"publish","data":"%s' % payload("half a frame")]
    alice = canaries.keep_token("the token of a socket", token("alice", "quiet"))
    for text in texts:
        yield request("socket v1", field=f"Authorization: Bearer {alice}") + frame(TEXT, text.encode())
    for text, broken in ((payload("raw"), {"mask": False}), (payload("raw and reserved"), {"rsv": 4})):
        yield request("socket", field=f"Authorization: Bearer {alice}") + frame(TEXT, text.encode(), **broken)
    yield request("socket", field=f"Authorization: Bearer {alice}") + frame(TEXT, payload("raw bytes").encode() + b"\xff")


CONFIGURATIONS = {
    # As `tidewire.toml`, with a secret where it says %s. Right and wrong, so that what is wrong is spoken of.
    "a secret": '[auth]\nhs256_secret = "%s"',
    "a short secret": '[auth]\nhs256_secret = "%.14s"',
    "a secret that does not end": '[auth]\nhs256_secret = "%s',
    "a secret without quotes": "[auth]\nhs256_secret = %s",
    "a list of secrets": '[auth]\nhs256_secret = ["%s"]',
    "a table of secrets": '[auth]\nhs256_secret = { secret = "%s" }',
    "two secrets": '[auth]\nhs256_secret = "%s"\nhs256_secret = "another"',
    "a secret with more behind it": '[auth]\nhs256_secret = "%s" more',
    "a secret with an escape": '[auth]\nhs256_secret = "%s\\q"',
    "a key that is misspelt": '[auth]\nhs256_secrett = "%s"',
    "a key in the wrong table": 'hs256_secret = "%s"',
    "an API key": '[auth]\napi_keys = ["tw_%s"]',
    "an API key in place of its hash": '[auth]\napi_keys = ["a:publish:tw_%s"]',
    "an API key with half a hash": '[auth]\napi_keys = ["a:publish:%s"]',
    "an API key with no such scope": '[auth]\napi_keys = ["a:nothing:%s"]',
    "a list of API keys that is a text": '[auth]\napi_keys = "%s"',
    "a URL with a password": '[auth]\njwks_url = "https://user:%s@idp.example/jwks"',
    "a URL with a password and no TLS": '[auth]\njwks_url = "http://user:%s@idp.example/jwks"',
    "a URL with a user": '[auth]\njwks_url = "https://%s@idp.example/jwks"',
    "a table that is a text": 'auth = "%s"',
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_s49_no_command_repeats_what_is_secret_in_the_configuration(tmp_path, canaries, name):
    secret = canaries.keep(name, secrets.token_hex(32))
    (tmp_path / "tidewire.toml").write_text(CONFIGURATIONS[name] % secret)
    commands = [["check"], ["check", "--prod"], ["check", "--json"], ["config", "show"], ["config", "show", "--origin"]]
    with socket.socket() as taken:
        # A server that finds its port taken has read all of its configuration, and ends.
        taken.bind(("127.0.0.1", 0))
        serve = ["serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--admin-listen", "same", "--log", "trace"]
        for command in [*commands, ["config", "show", "--json"], serve]:
            said = subprocess.run([BINARY, *command], cwd=tmp_path, env={}, capture_output=True, timeout=15)
            assert not canaries.found(said.stdout + said.stderr), command
            assert said.stdout + said.stderr, command


def test_s49_a_reload_does_not_say_what_a_secret_was_or_is(serve, canaries, tmp_path):
    path = tmp_path / "tidewire.toml"

    def configure(which: str, **more: str) -> str:
        secret = canaries.keep(f"the {which} secret", secrets.token_urlsafe(32))
        line = api_key_line(f"tw_{secrets.token_urlsafe(32)}")
        canaries.keep(f"the {which} API key's hash", line.rpartition(":")[2])
        text = f'[auth]\nhs256_secret = "{secret}"\napi_keys = ["{line}"]\n'
        path.write_text(text + "".join(f'{key} = "{value}"\n' for key, value in more.items()))
        return secret

    old = configure("old")
    flags = ("--admin-listen", "same", "--config", str(path), "--log", "trace")
    server = serve(access=Access(flags=flags))
    assert server.client.get("/c/x", headers=bearer(token("alice", "x", secret=old))).status_code == 200
    # Each changes what can be changed, and the last two are refused.
    for which, more in {"new": {}, "other": {"keyz": "x"}, "another": {"hs256_secret": "twice"}}.items():
        before = len(server.said())
        secret = configure(which, **more)
        server.process.send_signal(signal.SIGHUP)
        wants = "stays in force" if more else "reloaded"
        eventually("it was read", lambda: wants in server.said()[before:])
        status = server.client.get("/c/x", headers=bearer(token("alice", "x", secret=secret))).status_code
        assert status == (401 if more else 200)
    assert "auth.hs256_secret" in server.said() and "auth.api_keys" in server.said(), "that they changed is no secret"
    assert not canaries.found_in_any(server.said().encode().splitlines())


def test_s49_no_command_repeats_a_credential_that_it_was_given(server, canaries, tmp_path):
    key = canaries.keep("an API key", f"tw_{secrets.token_urlsafe(32)}")
    wrong = canaries.keep_token("a token", token("alice", "x", secret="z" * 40))
    canaries.keep("the secret", SECRET)
    commands = [["pub", "x", "hello"], ["sub", "x", "-n", "1"], ["sub", "x", "--transport", "ws", "-n", "1"]]
    commands += [["sub", "x", "--transport", "poll", "-n", "1"], ["history", "x"]]
    for credential in (key, wrong):
        for command in commands:
            environment = {"TIDEWIRE_URL": server.url, "TIDEWIRE_TOKEN": credential, "RUST_LOG": "trace"}
            said = subprocess.run([BINARY, *command], cwd=tmp_path, env=environment, capture_output=True, timeout=15)
            assert said.returncode != 0, command
            assert not canaries.found(said.stdout + said.stderr), command
    environment = {"TIDEWIRE_AUTH__HS256_SECRET": SECRET}
    said = subprocess.run([BINARY, "token", "verify", wrong], cwd=tmp_path, env=environment, capture_output=True, timeout=15)
    assert said.returncode != 0
    assert not canaries.found(said.stdout + said.stderr)


BODIES = {
    "/v1/publish": ['{"messages":"%s"}', '{"messages":["%s"]}', '{"messages":[],"%s":1}', '"%s"', "%s"],
    "/v1/tickets": ['{"channels":"%s"}', '{"ttl":"%s"}', '{"%s":1}', '"%s"', "%s"],
    "/v1/revoke": ['{"ttl":"%s"}', '{"%s":1}', '"%s"', "%s"],
}


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in BODIES.items() for body in bodies])
def test_s49_s52_an_error_repeats_nothing_of_a_body_and_names_no_type(server, canaries, path, body):
    answer = server.client.post(path, content=body % canaries.keep("the body", secrets.token_hex(16)))
    assert answer.status_code == 400
    assert not canaries.found(answer.content)
    assert not re.search(r"struct|u64|usize", answer.text), answer.text
    assert "line 1 column" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/c/x", "application/json", 401),
        ("/c/x", "text/event-stream", 401),
        ("/c/b%20d", "text/event-stream", 400),
        ("/v1/channels", "*/*", 401),
        ("/nowhere", "*/*", 404),
    ],
)
def test_s52_the_trace_id_of_a_refusal_is_found_in_the_log(serve, path, accept, status):
    server = serve(log="debug")
    answer = server.client.get(path, headers={"Authorization": "Bearer x", "Accept": accept})
    assert answer.status_code == status
    eventually("it is logged", lambda: answer.json()["trace_id"] in server.said())

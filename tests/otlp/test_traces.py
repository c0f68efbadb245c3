"""Traces: a publish is a span of its publisher's trace, and a collector that is away costs no publish anything."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme
from collector import Collector
from stage import ACCESSES, BINARY, Tidewire, eventually, free_port

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def test_a_publish_is_a_span_of_its_publishers_trace(serve: Callable[..., Tidewire], collector: Collector) -> None:
    server = serve()
    receipt = server.publish("canary-channel", "canary-payload", traceparent=TRACEPARENT)
    eventually("its span has come", lambda: collector.named("publish") != [])
    (span,) = collector.named("publish")
    assert (span.trace, span.parent) == (TRACE, PARENT) and span.id not in ("", PARENT)
    assert 0 <= span.took_ns < 10**10 and not span.failed
    assert span.attributes == {
        "messaging.system": "tidewire",
        "messaging.operation.name": "publish",
        "messaging.message.body.size": 14,
        "messaging.message.id": receipt["id"],
    }
    assert set(collector.paths) == {"/v1/traces"}
    assert collector.headers[0]["content-type"] == "application/x-protobuf"
    assert b"canary" not in collector.bytes, "neither channel nor payload leaves the server"
    message = server.poll("canary-channel", cursor="earliest")["messages"][0]
    assert message["traceparent"] == TRACEPARENT, "who deals with the message goes on where its publisher was"


def test_a_batch_and_a_publish_without_a_trace_are_spans_as_well(serve: Callable[..., Tidewire], collector: Collector) -> None:
    server = serve()
    server.publish("x", "alone")
    messages = [{"channel": "x", "data": "1"}, {"channel": "x", "data": "2"}]
    answer = server.client.post("/v1/publish", json={"messages": messages}, headers={"traceparent": TRACEPARENT})
    assert answer.status_code == 200
    eventually("all have come", lambda: len(collector.named("publish")) == 3)
    spans = collector.named("publish")
    assert [span.trace == TRACE for span in spans] == [False, True, True]
    assert spans[0].parent == "" and len({span.id for span in spans}) == 3


def test_a_refusal_is_a_span_with_its_code(serve: Callable[..., Tidewire], collector: Collector) -> None:
    server = serve(access=ACCESSES["key"])
    wrong = {"Authorization": "Bearer canary", "traceparent": TRACEPARENT}
    refused = server.client.post("/c/x?ticket=canary", content="no", headers=wrong)
    assert refused.status_code == 401
    assert server.client.get("/c/$canary").status_code == 400
    eventually("both have come", lambda: len(collector.named("refused")) == 2)
    posted, asked = collector.named("refused")
    assert (posted.trace, posted.parent, posted.attributes["error.type"]) == (TRACE, PARENT, refused.json()["code"])
    assert posted.attributes["tidewire.trace_id"] == refused.json()["trace_id"]
    assert asked.attributes["error.type"] == "channel_invalid" and not asked.failed
    assert b"canary" not in collector.bytes


def test_the_environment_says_who_exports_what_and_with_which_fields(
    serve: Callable[..., Tidewire], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    server = serve(log="debug")
    server.publish("x", "not sampled")
    server.publish("x", "sampled by its publisher", traceparent=TRACEPARENT)
    eventually("the sampled one has come", lambda: collector.named("publish") != [])
    (span,) = collector.spans
    assert span.trace == TRACE
    assert (span.resource["service.name"], span.resource["deployment.environment.name"]) == ("ours", "test")
    assert len(span.resource["service.instance.id"]) == 16 and "service.version" in span.resource
    assert collector.headers[0]["x-key"] == "canary"
    assert "canary" not in server.said()


def test_what_waits_is_exported_at_the_end(
    serve: Callable[..., Tidewire], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    server = serve()
    for number in range(20):
        server.publish("x", str(number))
    assert collector.spans == []
    server.terminate()
    assert server.process.wait(15) == 0
    assert len(collector.named("publish")) == 20
    assert collector.named("publish")[0].resource["service.name"] == "tidewire"


def test_what_waits_is_exported_when_the_input_ends_that_it_lives_by(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    port = free_port()
    arguments = [BINARY, "serve", "--dev", "--listen", f"127.0.0.1:{port}", "--until-stdin-ends"]
    with subprocess.Popen(arguments, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert "┌" in process.stdout.readline(), "it is ready"
        assert httpx.post(f"http://127.0.0.1:{port}/c/x", content="hello").status_code == 200
        assert collector.spans == []
        process.stdin.close()
        assert process.wait(15) == 0
    assert len(collector.named("publish")) == 1


def test_a_collector_that_hangs_costs_no_publish_anything(
    serve: Callable[..., Tidewire], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    collector.may_answer.clear()
    server = serve()
    server.publish("x", "the first")
    assert collector.asked.wait(15), "somebody waits for the collector now"
    began = time.monotonic()
    for number in range(200):
        server.publish("x", str(number))
    assert time.monotonic() - began < 5, "an export may take ten seconds, and nobody waited for one"
    assert collector.paths == [], "nothing was answered all the while"
    assert "\ntidewire_spans_dropped_total 185\ntidewire_spans" in without_comments(server.client.get("/metrics").text)
    server.terminate()
    began = time.monotonic()
    assert server.process.wait(15) == 0
    assert time.monotonic() - began < 6, "the end waits two seconds for it"
    (lost,) = [line for line in server.said().splitlines() if "spans were not exported" in line]
    assert "dropped=185" in lost and "failed=16" in lost, lost


def without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def test_a_collector_that_is_away_or_refuses_is_told_once_a_minute(
    serve: Callable[..., Tidewire], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.answers = 400
    refused = serve()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:canary@127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    away = serve()
    for server in (refused, away):
        told = lambda: server.said().count("spans were not exported")  # noqa: B023, E731
        server.publish("x", "1")
        eventually("it is said", lambda: told() == 1)
        for number in range(5):
            server.publish("x", str(number))
        server.terminate()
        assert server.process.wait(15) == 0
        assert told() == 2, "once more at the end, with what was lost since"
        assert "canary" not in server.said()
    assert "status code: 400" in refused.said() and "network error" in away.said()


def test_over_tls_only_a_collector_that_this_machine_trusts_is_told(
    serve: Callable[..., Tidewire], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "authorities.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    trusted, forged = (Collector(authority.issue_cert("127.0.0.1")) for authority in (ours, others))
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", trusted.url)
        serve().publish("x", "1")
        eventually("its span has come", lambda: trusted.named("publish") != [])
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", forged.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
        doubting = serve()
        doubting.publish("x", "1")
        eventually("it is said", lambda: "spans were not exported" in doubting.said())
        assert not forged.asked.is_set()
    finally:
        trusted.end()
        forged.end()


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}])
def test_nothing_is_exported_where_it_is_switched_off(
    serve: Callable[..., Tidewire], collector: Collector, monkeypatch: pytest.MonkeyPatch, off: dict[str, str]
) -> None:
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    server = serve()
    server.publish("x", "1", traceparent=TRACEPARENT)
    server.terminate()
    assert server.process.wait(15) == 0
    assert not collector.asked.is_set() and "traces" not in server.said()


def test_an_address_that_is_none_ends_the_start_and_is_not_shown() -> None:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "me:canary@collector:4318"}
    arguments = [BINARY, "serve", "--dev", "--listen", f"127.0.0.1:{free_port()}"]
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=15)
    assert ended.returncode == 78 and "canary" not in ended.stderr
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is no address of a collector; write an http or https URL" in ended.stderr


def test_what_is_set_and_not_understood_is_said(
    serve: Callable[..., Tidewire], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "10%")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    server = serve()
    for says in ("takes a number from 0 to 1", "as http/protobuf all the same", "uncompressed all the same", "by OTLP all the same"):
        eventually(f"it is said: {says}", lambda: says in server.said())  # noqa: B023

"""A collector as far as OTLP over HTTP goes: it takes `POST /v1/traces` in protobuf, and keeps what it reads in it."""

import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


@dataclass(frozen=True)
class Span:
    """What a span says, in hexadecimal and Python's own types."""

    name: str
    trace: str
    parent: str
    id: str
    took_ns: int
    failed: bool
    attributes: dict[str, str | int]
    resource: dict[str, str | int]


class Collector:
    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[Span] = []
        self.bytes = b""
        """Everything that was ever sent here."""
        self.answers = 200
        """The status of the next answers."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Event()
        """Set once somebody has sent something."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def end(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        self.asked.set()
        self.may_answer.wait()
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bytes += body
        if self.answers == 200:
            self.spans += read(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        try:
            request.send_response(self.answers)
            request.send_header("Content-Type", "application/x-protobuf")
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
        except OSError:
            pass  # Whoever asked has gone.


def read(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Span(
            name=span.name,
            trace=span.trace_id.hex(),
            parent=span.parent_span_id.hex(),
            id=span.span_id.hex(),
            took_ns=span.end_time_unix_nano - span.start_time_unix_nano,
            failed=span.status.code == 2,
            attributes=values(span.attributes),
            resource=values(of_resource.resource.attributes),
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def values(attributes: object) -> dict[str, str | int]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}

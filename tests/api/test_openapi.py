"""`docs/openapi.yaml` is what the server does: every answer to whatever schemathesis thinks of is documented.

It asks what the document allows, what it only just does not, and what it does not mention at all. None of that is a 5xx,
and status, type, header fields and body of every answer are those of the document.
"""

import re

import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from stage import PATIENCE, REPOSITORY, Tidewire

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    allow_header_conformance,
]

DOCUMENT = REPOSITORY / "docs/openapi.yaml"
OPEN = ["/client.js", "/livez", "/readyz", "/metrics"]
"""What is answered to everybody."""

schema = schemathesis.openapi.from_path(str(DOCUMENT))
# For each way to come in.
thorough = settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@schema.parametrize()
@thorough
def test_every_answer_is_documented(
    way: str, server: Tidewire, session: requests.Session, case: schemathesis.Case
) -> None:
    answer = case.call_and_validate(base_url=server.url, session=session, checks=CHECKS, timeout=PATIENCE)
    is_open = case.operation.path in OPEN or answer.request.method == "OPTIONS"
    assert way != "stranger" or is_open or answer.status_code >= 400, "a stranger was let in"


@schema.include(operation_id="subscribe").parametrize()
@thorough
def test_every_beginning_of_a_stream_is_documented(
    server: Tidewire, session: requests.Session, case: schemathesis.Case
) -> None:
    """A stream has no end of its own: its head is looked at. What is in it, the streams' own tests read."""
    asked = case.as_transport_kwargs(base_url=server.url, headers={"Accept": "text/event-stream"})
    with session.request(**asked, stream=True, timeout=PATIENCE) as answer:
        answer._content = next(answer.iter_content(4_096), b"")
        of_heads = [check for check in CHECKS if check is not response_schema_conformance]
        case.validate_response(answer, checks=of_heads)


def test_no_two_addresses_are_one() -> None:
    """In OpenAPI, templates that differ in the names of their parameters alone stand for the same address."""
    addresses = re.findall(r"^  (/[^:]*):$", DOCUMENT.read_text(), re.MULTILINE)
    assert len({re.sub(r"{[^}]*}", "{}", address) for address in addresses}) == len(addresses) >= 9

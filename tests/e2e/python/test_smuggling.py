"""S42, S43: what two parsers could read in two ways is refused, answered once, and the connection ends."""

import json
import re

import pytest
from wire import Wire

POST = "POST /c/smuggled HTTP/1.1\r\nHost: {host}\r\n"
GET = "GET /c/smuggled HTTP/1.1\r\nHost: {host}\r\n"

VECTORS = {
    "content_length_beside_transfer_encoding": POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer_encoding_beside_content_length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two_lengths_that_differ": POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "two_lengths_that_agree": POST + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a_list_of_lengths": POST + "Content-Length: 5, 5\r\n\r\nhello",
    "a_length_with_a_plus": POST + "Content-Length: +5\r\n\r\nhello",
    "a_negative_length": POST + "Content-Length: -5\r\n\r\nhello",
    "a_hexadecimal_length": POST + "Content-Length: 0x5\r\n\r\nhello",
    "an_empty_length": POST + "Content-Length: \r\n\r\nhello",
    "a_length_past_64_bits": POST + "Content-Length: 18446744073709551621\r\n\r\nhello",
    "chunked_that_is_not_final": POST + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "an_encoding_we_do_not_know": POST + "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "an_encoding_that_looks_like_chunked": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked_twice": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a_bare_lf_ends_the_start_line": "POST /c/smuggled HTTP/1.1\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello",
    "a_bare_lf_ends_a_header": POST + "X: 1\nContent-Length: 5\r\n\r\nhello",
    "a_bare_lf_ends_the_head": POST + "Content-Length: 5\r\n\nhello",
    "a_bare_cr_in_a_value": POST + "X: a\rContent-Length: 5\r\n\r\nhello",
    "a_folded_header": POST + "X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "a_header_folded_with_a_tab": POST + "X: a\r\n\tb\r\nContent-Length: 5\r\n\r\nhello",
    "a_space_before_the_colon": POST + "Content-Length : 5\r\n\r\nhello",
    "a_tab_before_the_colon": POST + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a_nul_in_a_value": POST + "X: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "a_control_byte_in_a_value": POST + "X: a\x01b\r\nContent-Length: 5\r\n\r\nhello",
    "a_control_byte_in_a_name": POST + "X\x01: a\r\nContent-Length: 5\r\n\r\nhello",
    "a_header_without_a_name": POST + ": a\r\nContent-Length: 5\r\n\r\nhello",
    "a_header_without_a_colon": POST + "nonsense\r\nContent-Length: 5\r\n\r\nhello",
    "no_host": "POST /c/smuggled HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "two_hosts": POST + "Host: {host}\r\nContent-Length: 5\r\n\r\nhello",
    "two_spaces_in_the_start_line": "POST  /c/smuggled HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello",
    "a_control_byte_in_the_target": "POST /c/smug\x01gled HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello",
    "a_body_on_a_subscription": GET + "Accept: text/event-stream\r\nContent-Length: 5\r\n\r\nhello",
    "a_chunked_body_on_a_subscription": GET + "Accept: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a_chunk_size_past_64_bits": POST + "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a_chunk_size_that_is_no_number": POST + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a_bare_lf_ends_a_chunk_size": POST + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "a_chunk_longer_than_it_says": POST + "Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
}

PATHS = ["/c/../livez", "/c/./smuggled", "/c/%2e%2e/livez", "/c/%2E%2E%2flivez", "/c/a%2fb", "/c/a%5cb", "/c/a\\b", "/c/%"]


@pytest.mark.parametrize("place", ["first", "second"])
@pytest.mark.parametrize("name", VECTORS)
def test_s42_is_refused(server, name, place):
    """On a fresh connection, and after a request that was fine: the two are read by different code."""
    with Wire(server) as wire:
        if place == "second":
            wire.request("POST /c/fine", body=b"fine")
            assert wire.response().status == 200
        attack = VECTORS[name].replace("{host}", wire.host).encode("latin-1")
        wire.send(attack + f"POST /c/smuggled HTTP/1.1\r\nHost: {wire.host}\r\nContent-Length: 1\r\n\r\n!".encode())
        answer = wire.head()
        assert answer.status in (400, 501), answer
        assert not re.search(rb"HTTP/1\.\d \d{3} ", wire.rest()), "what followed was answered too"
    assert server.texts("smuggled") == []


def test_s42_the_refusal_is_a_problem_and_says_that_the_connection_ends(server):
    with Wire(server) as wire:
        wire.request("POST /c/x", "Content-Length: 1", "Content-Length: 2")
        answer = wire.response()
        assert answer.status == 400
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.headers["connection"].lower() == "close"
        assert json.loads(answer.body)["code"] == "malformed_request"
        assert wire.rest() == b""


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 64, b"hello\r\n\r\n", b"GET /c/x\r\n\r\n"])
def test_s42_what_is_not_http_at_all_is_not_waited_for(server, junk):
    with Wire(server) as wire:
        wire.send(junk)
        answer = wire.rest()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", PATHS)
def test_s43_a_path_with_two_readings_is_refused(server, path, method):
    with Wire(server) as wire:
        wire.request(f"{method} {path}", body=b"x" if method == "POST" else b"")
        assert wire.response().status in (400, 404)


def test_a_well_formed_request_is_not_mistaken_for_an_attack(server):
    with Wire(server) as wire:
        wire.request("POST /c/fine", "Transfer-Encoding: chunked", body=b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
        assert wire.response().status == 200
        wire.request("POST /c/fine", "X-Empty:", "X-Tab: a\tb", "X-Latin: \xe9", body=b"again")
        assert wire.response().status == 200
    assert server.texts("fine") == ["hello", "again"]

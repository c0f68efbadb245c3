"""S42, S43: requests that two readers could cut in two places, and what we must make of each by ourselves.

Each vector is sent by an attacker and hides a second request, `POST /c/<stolen>`, where somebody might find it: in what
is a body to one reader, or behind an end that only one of them sees. Three advisories of hyper are among them:
CVE-2021-21299 (several Transfer-Encoding fields), CVE-2021-32714 (a chunk size past 64 bits) and CVE-2021-32715 (a plus
sign before a length); so is the overflow of bytes, RUSTSEC-2026-0007, as far as a length can reach it.
"""

from collections.abc import Callable
from dataclasses import dataclass

REFUSED = (400, 501)
"""The framing is in doubt: nothing that was sent means anything."""

TOLD = (200,)
"""The framing is beyond doubt; all of it belongs to one request."""


@dataclass(frozen=True)
class Target:
    """Whom an attack is aimed at, and the names of the channels in it."""

    host: str
    decoy: str = "decoy"
    stolen: str = "stolen"
    credentials: str = ""
    """Header lines, each with its line end: a request that is let in is the one worth hiding another in."""

    @property
    def smuggled(self) -> str:
        """The request that must never be answered."""
        return f"{self.start('POST /c/' + self.stolen)}Content-Length: 6\r\n\r\nstolen"

    def start(self, line: str, version: str = "HTTP/1.1") -> str:
        """The beginning of a head, up to its own fields."""
        return f"{line} {version}\r\nHost: {self.host}\r\n{self.credentials}"

    def head(self, *fields: str, start: str = "", version: str = "HTTP/1.1") -> str:
        """A whole head, of a publish to the decoy unless `start` is another request."""
        return self.start(start or f"POST /c/{self.decoy}", version) + "".join(f"{field}\r\n" for field in fields) + "\r\n"


@dataclass(frozen=True)
class Vector:
    """An attack, and the statuses that we may answer it with. Whatever they are, there is one answer."""

    make: Callable[[Target], str]
    statuses: tuple[int, ...] = REFUSED
    lawful: bool = False
    """Whether the hidden request is one of its own by anybody's reading, so that without a proxy it is answered."""

    def bytes(self, target: Target) -> bytes:
        return self.make(target).encode("latin-1")


def chunk(text: str, size: str = "", end: str = "\r\n") -> str:
    return f"{size or f'{len(text):x}'}\r\n{text}{end}"


LAST = "0\r\n\r\n"


def hidden_by_the_length(coding: str) -> Callable[[Target], str]:
    """CL.TE: all of it by its length, nothing of it by its chunks."""

    def make(target: Target) -> str:
        body = LAST + target.smuggled
        return target.head(f"Content-Length: {len(body)}", coding) + body

    return make


def hidden_by_the_chunks(coding: str) -> Callable[[Target], str]:
    """TE.CL: all of it by its chunks, four bytes by its length."""

    def make(target: Target) -> str:
        body = chunk(target.smuggled)
        return target.head(coding, f"Content-Length: {body.index(target.smuggled)}") + body + LAST

    return make


def length(field: str) -> Callable[[Target], str]:
    """A length that one reader takes for the whole body and another for none. `{n}` is what it would be."""
    return lambda target: target.head(field.replace("{n}", str(len(target.smuggled)))) + target.smuggled


def chunks(body: str) -> Callable[[Target], str]:
    """A head that is beyond doubt, and chunks that are not. `{smuggled}` and `{size}` are the request and its length."""

    def make(target: Target) -> str:
        text = body.replace("{size}", f"{len(target.smuggled):x}").replace("{smuggled}", target.smuggled)
        return target.head("Transfer-Encoding: chunked") + text

    return make


CODINGS = {
    "chunked": "Transfer-Encoding: chunked",
    "chunked_in_capitals": "TRANSFER-ENCODING: CHUNKED",
    "xchunked": "Transfer-Encoding: xchunked",
    "chunk": "Transfer-Encoding: chunk",
    "chunked_and_a_space": "Transfer-Encoding: chunked ",
    "chunked_and_a_tab": "Transfer-Encoding: chunked\t",
    "two_spaces_and_chunked": "Transfer-Encoding:  chunked",
    "a_tab_and_chunked": "Transfer-Encoding:\tchunked",
    "no_space_and_chunked": "Transfer-Encoding:chunked",
    "a_vertical_tab_and_chunked": "Transfer-Encoding:\x0bchunked",
    "a_form_feed_and_chunked": "Transfer-Encoding:\x0cchunked",
    "a_no_break_space_and_chunked": "Transfer-Encoding:\xa0chunked",
    "chunked_and_a_nul": "Transfer-Encoding: chunked\0",
    "chunked_in_quotes": 'Transfer-Encoding: "chunked"',
    "chunked_with_a_parameter": "Transfer-Encoding: chunked;q=1",
    "chunked_and_a_comma": "Transfer-Encoding: chunked,",
    "chunked_and_identity": "Transfer-Encoding: chunked, identity",
    "identity_and_chunked": "Transfer-Encoding: identity, chunked",
    "gzip_and_chunked": "Transfer-Encoding: gzip, chunked",
    "chunked_and_chunked": "Transfer-Encoding: chunked, chunked",
    "chunked_twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked_then_identity": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "identity_then_chunked": "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "chunked_then_a_typing_error": "Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
    "an_empty_coding": "Transfer-Encoding: ",
    "chunked_on_a_folded_line": "Transfer-Encoding:\r\n chunked",
    "chunked_on_a_line_folded_by_a_tab": "Transfer-Encoding:\r\n\tchunked",
    "chunked_after_a_bare_lf": "Transfer-Encoding:\nchunked",
    "a_space_before_the_colon": "Transfer-Encoding : chunked",
    "a_tab_before_the_colon": "Transfer-Encoding\t: chunked",
    "a_nul_before_the_colon": "Transfer-Encoding\0: chunked",
    "a_control_byte_in_the_name": "Transfer-\x01Encoding: chunked",
    "a_space_before_the_name": " Transfer-Encoding: chunked",
    "a_coding_behind_a_bare_lf": "X: x\nTransfer-Encoding: chunked",
    "a_coding_behind_a_bare_cr": "X: x\rTransfer-Encoding: chunked",
    "a_coding_behind_a_folded_value": "X: x\r\n Transfer-Encoding: chunked",
}

LENGTHS = {
    "two_lengths_the_longer_first": "Content-Length: {n}\r\nContent-Length: 0",
    "two_lengths_the_shorter_first": "Content-Length: 0\r\nContent-Length: {n}",
    "two_lengths_that_agree": "Content-Length: {n}\r\nContent-Length: {n}",
    "a_list_of_lengths": "Content-Length: 0, {n}",
    "a_list_of_lengths_that_agree": "Content-Length: {n}, {n}",
    "a_length_with_a_plus": "Content-Length: +{n}",
    "a_negative_length": "Content-Length: -{n}",
    "a_length_with_a_space_inside": "Content-Length: 0 {n}",
    "a_length_with_an_underscore": "Content-Length: 1_0",
    "a_length_in_quotes": 'Content-Length: "{n}"',
    "a_hexadecimal_length": "Content-Length: 0x{n}",
    "a_length_with_a_fraction": "Content-Length: {n}.0",
    "a_length_with_an_exponent": "Content-Length: {n}e0",
    "a_length_with_a_letter": "Content-Length: {n}a",
    "a_length_with_a_semicolon": "Content-Length: {n};",
    "an_empty_length": "Content-Length: ",
    "a_length_past_64_bits": "Content-Length: 18446744073709551616",
    "a_length_that_wraps_around_64_bits": "Content-Length: 1844674407370955161600000000",
    "a_length_and_a_nul": "Content-Length: {n}\0",
    "a_length_behind_a_vertical_tab": "Content-Length:\x0b{n}",
    "a_length_on_a_folded_line": "Content-Length:\r\n {n}",
    "a_length_with_a_space_before_the_colon": "Content-Length : {n}",
    "a_length_with_a_control_byte_in_its_name": "Content-\x01Length: {n}",
    "a_length_behind_a_bare_lf": "X: x\nContent-Length: {n}",
    "a_length_behind_a_bare_cr": "X: x\rContent-Length: {n}",
    "a_length_behind_a_folded_value": "X: x\r\n Content-Length: {n}",
    "a_length_behind_a_nul": "X: x\0y\r\nContent-Length: {n}",
    "a_length_behind_a_control_byte": "X: x\x01y\r\nContent-Length: {n}",
    "a_length_behind_a_delete": "X: x\x7fy\r\nContent-Length: {n}",
    "a_length_behind_a_field_without_a_name": ": x\r\nContent-Length: {n}",
    "a_length_behind_a_field_without_a_colon": "x\r\nContent-Length: {n}",
    "a_length_behind_a_space_alone": " \r\nContent-Length: {n}",
}

LENGTHS_BEYOND_DOUBT = {
    "a_length_with_zeros_before": "Content-Length: 000{n}",
    "a_length_with_a_space_behind": "Content-Length: {n} \t",
    "a_length_that_is_named_hop_by_hop": "Connection: Content-Length\r\nContent-Length: {n}",
    "a_coding_with_an_underscore_beside_a_length": "Transfer_Encoding: chunked\r\nContent-Length: {n}",
    "an_expectation_beside_a_length": "Expect: 100-continue\r\nContent-Length: {n}",
}

ENDS = {
    "a_bare_lf_ends_the_start_line": lambda t: t.head(f"Content-Length: {len(t.smuggled)}").replace("\r\n", "\n", 1)
    + t.smuggled,
    "a_bare_lf_ends_the_head": lambda t: t.head("Content-Length: 0")[:-2] + "\n" + t.smuggled,
    "bare_lfs_end_every_line": lambda t: t.head(f"Content-Length: {len(t.smuggled)}").replace("\r\n", "\n") + t.smuggled,
    "a_bare_cr_ends_a_line": lambda t: t.head(f"Content-Length: {len(t.smuggled)}").replace("\r\n", "\r", 1) + t.smuggled,
    "a_second_cr_ends_a_line": lambda t: t.head("X: x\r", f"Content-Length: {len(t.smuggled)}") + t.smuggled,
    "a_second_cr_ends_the_head": lambda t: t.head("Content-Length: 0")[:-2] + "\r\r\n" + t.smuggled,
    "an_empty_line_of_a_bare_lf_first": lambda t: "\n" + t.head(f"Content-Length: {len(t.smuggled)}") + t.smuggled,
    "a_nul_ends_the_head": lambda t: t.head("Content-Length: 0")[:-2] + "\0\r\n" + t.smuggled,
}

STARTS = {
    "two_spaces_in_the_start_line": "POST  /c/{decoy} HTTP/1.1",
    "a_tab_in_the_start_line": "POST\t/c/{decoy} HTTP/1.1",
    "a_space_in_the_target": "POST /c/{decoy} x HTTP/1.1",
    "a_space_before_the_method": " POST /c/{decoy} HTTP/1.1",
    "a_space_behind_the_version": "POST /c/{decoy} HTTP/1.1 ",
    "no_version": "POST /c/{decoy}",
    "a_version_of_two_digits": "POST /c/{decoy} HTTP/1.10",
    "a_version_with_a_zero_before": "POST /c/{decoy} HTTP/01.1",
    "version_1_2": "POST /c/{decoy} HTTP/1.2",
    "version_2_0": "POST /c/{decoy} HTTP/2.0",
    "a_version_in_small_letters": "POST /c/{decoy} http/1.1",
    "a_method_with_a_colon": "POST: /c/{decoy} HTTP/1.1",
    "a_method_in_parentheses": "(POST) /c/{decoy} HTTP/1.1",
    "a_control_byte_in_the_target": "POST /c/{decoy}\x01 HTTP/1.1",
    "a_latin_1_byte_in_the_target": "POST /c/{decoy}\xe9 HTTP/1.1",
    "a_fragment_in_the_target": "POST /c/{decoy}#x HTTP/1.1",
    "an_absolute_target_of_another_host": "POST http://stolen.example/c/{decoy} HTTP/1.1",
    "an_absolute_target_with_a_user": "POST http://stolen.example@{host}/c/{decoy} HTTP/1.1",
    "an_absolute_target_without_a_host": "POST http:///c/{decoy} HTTP/1.1",
    "an_absolute_target_of_another_scheme": "POST ftp://{host}/c/{decoy} HTTP/1.1",
    "a_target_that_is_no_path": "POST c/{decoy} HTTP/1.1",
    "a_path_with_a_dot_segment": "POST /c/x/../../c/{decoy} HTTP/1.1",
    "a_path_with_an_encoded_dot_segment": "POST /c/%2e%2e/c/{decoy} HTTP/1.1",
    "a_path_with_an_encoded_slash": "POST /c%2f{decoy} HTTP/1.1",
    "a_path_with_an_encoded_line_end": "POST /c/{decoy}%0d%0aX:%20x HTTP/1.1",
}

HOSTS = {
    "no_host": "",
    "two_hosts": "Host: {host}\r\nHost: stolen.example\r\n",
    "two_hosts_that_agree": "Host: {host}\r\nHost: {host}\r\n",
    "a_list_of_hosts": "Host: {host}, stolen.example\r\n",
    "a_host_with_a_path": "Host: {host}/c/x\r\n",
    "a_host_with_a_user": "Host: stolen.example@{host}\r\n",
    "a_host_with_a_space_inside": "Host: {host} stolen.example\r\n",
    "a_host_on_a_folded_line": "Host:\r\n {host}\r\n",
    "a_host_with_a_space_before_the_colon": "Host : {host}\r\n",
}

CHUNKS = {
    "a_chunk_size_past_64_bits": "10000000000000005\r\nhello\r\n" + LAST + "{smuggled}",
    "a_chunk_size_with_too_many_zeros": "00000000000000000000{size}\r\n{smuggled}\r\n" + LAST,
    "a_negative_chunk_size": "-1\r\n{smuggled}\r\n" + LAST,
    "a_chunk_size_with_a_plus": "+{size}\r\n{smuggled}\r\n" + LAST,
    "a_chunk_size_with_0x": "0x{size}\r\n{smuggled}\r\n" + LAST,
    "a_chunk_size_with_an_underscore": "1_0\r\n{smuggled}\r\n" + LAST,
    "a_chunk_size_with_a_space_before": " {size}\r\n{smuggled}\r\n" + LAST,
    "a_chunk_size_with_a_space_behind": "{size} \r\n{smuggled}\r\n" + LAST,
    "a_chunk_size_with_a_comma": "{size},0\r\n{smuggled}\r\n" + LAST,
    "no_chunk_size": "\r\n{smuggled}\r\n" + LAST,
    "a_chunk_size_that_is_no_number": "size\r\n{smuggled}\r\n" + LAST,
    "a_bare_lf_ends_a_chunk_size": "{size}\n{smuggled}\r\n" + LAST,
    "a_bare_cr_ends_a_chunk_size": "{size}\r{smuggled}\r\n" + LAST,
    "a_bare_lf_in_an_extension": "2;\nxx\r\n{size}\r\n{smuggled}\r\n" + LAST,
    "a_bare_cr_in_an_extension": "2;\rxx\r\n{size}\r\n{smuggled}\r\n" + LAST,
    "a_control_byte_in_an_extension": "2;\0\r\nxx\r\n" + LAST + "{smuggled}",
    "an_extension_that_is_too_long": "2;" + "x" * 300 + "\r\nxx\r\n" + LAST + "{smuggled}",
    "a_chunk_longer_than_it_says": "4\r\nhello\r\n" + LAST + "{smuggled}",
    "a_chunk_shorter_than_it_says": "6\r\nhello\r\n" + LAST + "{smuggled}",
    "two_bytes_that_are_no_line_end_behind_a_chunk": "5\r\nhelloxx{size}\r\n{smuggled}\r\n" + LAST,
    "a_bare_lf_behind_a_chunk": "5\r\nhello\n" + LAST + "{smuggled}",
    "a_bare_cr_behind_a_chunk": "5\r\nhello\r" + LAST + "{smuggled}",
    "a_bare_lf_behind_the_last_chunk": "5\r\nhello\r\n0\r\n\n{smuggled}",
    "a_bare_lf_ends_the_last_chunk": "5\r\nhello\r\n0\n\r\n{smuggled}",
    "a_trailer": "5\r\nhello\r\n0\r\nX: x\r\n\r\n{smuggled}",
    "a_trailer_with_a_length": "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n{smuggled}",
    "a_trailer_that_is_a_request": "5\r\nhello\r\n0\r\n{smuggled}",
}


def websocket(target: Target, *fields: str, version: str = "13") -> str:
    handshake = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Version: {version}")
    key = "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw=="
    return target.head(*handshake, key, *fields, start=f"GET /c/{target.decoy}")


def with_a_body(start: str, *fields: str) -> Callable[[Target], str]:
    """A request whose body nobody asked for."""

    def make(target: Target) -> str:
        line = start.replace("{decoy}", target.decoy)
        return target.head(f"Content-Length: {len(target.smuggled)}", *fields, start=line) + target.smuggled

    return make


OTHERS = {
    # An end that only HTTP/1.1 knows, in a version that does not.
    "chunked_in_http_1_0": Vector(lambda t: t.head("Transfer-Encoding: chunked", version="HTTP/1.0") + LAST + t.smuggled),
    "chunked_beside_a_length_in_a_kept_http_1_0": Vector(
        lambda t: t.head(
            "Connection: keep-alive", "Transfer-Encoding: chunked", f"Content-Length: {len(LAST + t.smuggled)}", version="HTTP/1.0"
        )
        + LAST
        + t.smuggled
    ),
    # Sizes that are beyond doubt, and beyond every body. Nobody need believe them; nobody may add to them.
    "a_chunk_size_of_64_bits": Vector(chunks("ffffffffffffffff\r\n{smuggled}"), (408, 413)),
    "a_chunk_size_of_63_bits_behind_a_chunk": Vector(chunks(chunk("x") + "7fffffffffffffff\r\n{smuggled}"), (408, 413)),
    "a_length_of_64_bits": Vector(length("Content-Length: 18446744073709551615"), (400, 413, 431)),
    "a_length_of_63_bits": Vector(length("Content-Length: 9223372036854775807"), (400, 413)),
    # Bodies where there should be none. What nobody reads must not be taken for the next request.
    "a_stream_with_a_body": Vector(with_a_body("GET /c/{decoy}", "Accept: text/event-stream")),
    "a_poll_with_a_body": Vector(with_a_body("GET /c/{decoy}")),
    "a_long_poll_with_a_body": Vector(with_a_body("GET /c/{decoy}?wait=1")),
    "a_poll_with_chunks": Vector(lambda t: t.head("Transfer-Encoding: chunked", start=f"GET /c/{t.decoy}") + LAST + t.smuggled),
    "a_websocket_with_a_body": Vector(lambda t: websocket(t, f"Content-Length: {len(t.smuggled)}") + t.smuggled),
    "a_health_check_with_a_body": Vector(with_a_body("GET /livez"), TOLD),
    "an_unknown_address_with_a_body": Vector(with_a_body("POST /nothing"), (404,)),
    "an_unknown_method_with_a_body": Vector(with_a_body("PUT /c/{decoy}"), (405,)),
    "a_preflight_with_a_body": Vector(with_a_body("OPTIONS /c/{decoy}", "Origin: http://localhost"), (204, 403)),
    "a_connect_with_a_body": Vector(with_a_body("CONNECT {decoy}:80"), (400, 405)),
    # Refusals that come before the body is read.
    "a_foreign_origin_with_a_body": Vector(with_a_body("POST /c/{decoy}", "Origin: http://stolen.example"), (403,)),
    "a_bad_name_with_a_body": Vector(with_a_body("POST /c/*"), (400,)),
    "a_bad_event_with_a_body": Vector(with_a_body("POST /c/{decoy}", "Tidewire-Event: $x"), (400,)),
    "a_body_that_is_announced_as_too_large": Vector(lambda t: t.head("Content-Length: 99999999") + t.smuggled, (413,)),
    "an_expectation_that_we_do_not_know": Vector(
        lambda t: t.head("Expect: 200-ok", f"Content-Length: {len(t.smuggled)}") + t.smuggled, (200, 417)
    ),
    # Upgrades that do not happen: what follows is HTTP for us, and might be a tunnel for a proxy.
    "a_websocket_of_another_version": Vector(lambda t: websocket(t, version="1777") + t.smuggled, (426,)),
    "a_websocket_without_a_key": Vector(
        lambda t: t.head(
            "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", start=f"GET /c/{t.decoy}"
        )
        + t.smuggled
    ),
    "a_websocket_for_a_publish": Vector(
        lambda t: t.head("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 2") + "{}" + t.smuggled, TOLD
    ),
    "an_upgrade_to_http_2": Vector(
        lambda t: t.head("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Content-Length: 2")
        + "{}"
        + t.smuggled,
        TOLD,
    ),
    "the_preface_of_http_2": Vector(lambda t: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + t.smuggled),
    # Requests that may follow each other, of which only a proxy may stop the second.
    "a_second_request_behind_a_length": Vector(lambda t: t.head("Content-Length: 2") + "{}" + t.smuggled, TOLD, lawful=True),
    "a_second_request_behind_chunks": Vector(chunks(chunk("{}") + LAST + "{smuggled}"), TOLD, lawful=True),
    "a_second_request_behind_an_extension": Vector(chunks("2;a=1;b\r\n{}\r\n0;c\r\n\r\n{smuggled}"), TOLD, lawful=True),
    "a_second_request_behind_a_poll": Vector(lambda t: t.head(start=f"GET /c/{t.decoy}") + t.smuggled, TOLD, lawful=True),
    # A request as the payload of another.
    "a_request_in_a_body": Vector(length("Content-Length: {n}"), TOLD),
    "a_request_in_a_chunk": Vector(chunks("{size}\r\n{smuggled}\r\n" + LAST), TOLD),
}


def start_of(line: str) -> Callable[[Target], str]:
    def make(target: Target) -> str:
        first = line.replace("{decoy}", target.decoy).replace("{host}", target.host)
        rest = target.head(f"Content-Length: {len(target.smuggled)}").split("\r\n", 1)[1]
        return f"{first}\r\n{rest}{target.smuggled}"

    return make


def host_of(fields: str) -> Callable[[Target], str]:
    def make(target: Target) -> str:
        head = f"POST /c/{target.decoy} HTTP/1.1\r\n{fields.replace('{host}', target.host)}{target.credentials}"
        return f"{head}Content-Length: {len(target.smuggled)}\r\n\r\n{target.smuggled}"

    return make


CORPUS: dict[str, Vector] = {
    **{f"length_hides__{name}": Vector(hidden_by_the_length(coding)) for name, coding in CODINGS.items()},
    **{f"chunks_hide__{name}": Vector(hidden_by_the_chunks(coding)) for name, coding in CODINGS.items()},
    **{name: Vector(length(field)) for name, field in LENGTHS.items()},
    **{name: Vector(length(field), TOLD) for name, field in LENGTHS_BEYOND_DOUBT.items()},
    **{name: Vector(make) for name, make in ENDS.items()},
    **{name: Vector(start_of(line)) for name, line in STARTS.items()},
    **{name: Vector(host_of(fields)) for name, fields in HOSTS.items()},
    **{name: Vector(chunks(body)) for name, body in CHUNKS.items()},
    **OTHERS,
}

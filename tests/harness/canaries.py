"""Secrets that are looked for afterwards, wherever they should not have ended up (security rule S49)."""

import selectors
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from stage import PATIENCE, Tidewire

WINDOW = 12
"""So many characters of a secret in a row are a leak, wherever in it they stand."""


@dataclass
class Canaries:
    """Secrets, in pieces, by what they are."""

    kept: dict[str, set[bytes]] = field(default_factory=dict)

    def keep(self, what: str, secret: str) -> str:
        """Has `secret` looked for, and gives it back."""
        assert len(secret) >= WINDOW, what
        self.kept[what] = pieces(secret)
        return secret

    def keep_token(self, what: str, token: str) -> str:
        """Has the claims and the signature of a token looked for; its header says the same for all of them."""
        _, claims, signature = token.split(".")
        for part, secret in (("claims", claims), ("signature", signature)):
            if len(secret) >= WINDOW:
                self.keep(f"{part} of {what}", secret)
        return token

    def found(self, sink: bytes) -> set[str]:
        """What of the secrets stands in `sink`, be it a piece."""
        return {what for what, secret in self.kept.items() if any(piece in sink for piece in secret)}

    def found_in_any(self, sinks: Iterable[bytes]) -> dict[bytes, set[str]]:
        """What stands in which of `sinks`. As good as never there is anything, so that all are asked at once first."""
        sinks = list(sinks)
        if not self.found(b"\0".join(sinks)):
            return {}
        return {sink: found for sink in sinks if (found := self.found(sink))}


def pieces(secret: str) -> set[bytes]:
    """Windows of the secret, half of one apart: whoever shows three halves shows one of them whole."""
    at = range(0, max(1, len(secret) - WINDOW + 1), WINDOW // 2)
    return {secret[start : start + WINDOW].encode() for start in at} | {secret[-WINDOW:].encode()}


def exchange(server: Tidewire, requests: list[bytes], quiet_s: float = 0.5) -> list[bytes]:
    """Sends each of `requests` on a connection of its own, all at once, and gives all that was answered to each.

    Streams do not end, so that it ends when nothing has come from any of them for `quiet_s` seconds.
    """
    answers = [b""] * len(requests)
    with selectors.DefaultSelector() as waiting:
        for at, request in enumerate(requests):
            connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            connection.sendall(request)
            waiting.register(connection, selectors.EVENT_READ, at)
        deadline = time.monotonic() + PATIENCE
        while waiting.get_map() and (ready := waiting.select(quiet_s)) and time.monotonic() < deadline:
            for key, _ in ready:
                try:
                    piece = key.fileobj.recv(65536)
                except ConnectionResetError:
                    piece = b""
                answers[key.data] += piece
                if not piece:
                    waiting.unregister(key.fileobj)
                    key.fileobj.close()
        for key in list(waiting.get_map().values()):
            key.fileobj.close()
    return answers

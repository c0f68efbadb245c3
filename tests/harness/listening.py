"""A port of a test's own, and whoever connects to it."""

import contextlib
import socket
from collections.abc import Iterator


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Everybody who connects, until it is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        yield client


def close(listener: socket.socket) -> None:
    # Closing alone would not wake who accepts, and the kernel would take one more in.
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()

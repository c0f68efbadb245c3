"""`tidewire healthcheck`, which containers ask: it finds the server by the configuration that the server has."""

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

from httpx_sse import connect_sse
from stage import BINARY, PATIENCE, Tidewire, client, dispatched, eventually, free_port


def asked(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")}
    command = [BINARY, "healthcheck", *arguments]
    return subprocess.run(command, env={**ours, **environment}, capture_output=True, text=True, timeout=PATIENCE)


class Apart(Tidewire):
    """A server that answers machines that watch it at an address of its own."""

    def __init__(self, *flags: str) -> None:
        self.admin = f"127.0.0.1:{free_port()}"
        super().__init__({}, ("--admin-listen", self.admin, *flags))

    def _ready(self) -> bool:
        return asked(TIDEWIRE_ADMIN_LISTEN=self.admin).returncode == 0


def test_a_server_that_serves_is_well_and_one_that_drains_is_alive_and_not_ready() -> None:
    server = Apart("--drain-within", "30s")
    try:
        ready = asked(TIDEWIRE_ADMIN_LISTEN=server.admin)
        assert (ready.returncode, ready.stdout, ready.stderr) == (0, "ready\n", "")
        with ExitStack() as streams:
            # Each is told to leave at a moment of its own within the drain, and the server ends with the last. Whoever lets go of
            # the events closes the connection.
            held = []
            for _ in range(8):
                listener = streams.enter_context(client(server.url))
                held.append(dispatched(streams.enter_context(connect_sse(listener, "GET", "/c/a"))))
                assert next(held[-1]).event == "$ready"
            server.terminate()
            eventually("it is not ready", lambda: asked(TIDEWIRE_ADMIN_LISTEN=server.admin).returncode == 1)
            drains = asked(TIDEWIRE_ADMIN_LISTEN=server.admin)
            assert drains.stderr == "tidewire: /readyz: the server is draining\n"
            alive = asked("--live", TIDEWIRE_ADMIN_LISTEN=server.admin)
            assert (alive.returncode, alive.stdout) == (0, "alive\n")
    finally:
        server.end()


def test_it_asks_where_machines_that_watch_are_answered_also_over_tls(serve: Callable[..., Tidewire]) -> None:
    admin = f"127.0.0.1:{free_port()}"
    server = serve("--tls-self-signed", "--admin-listen", "same")
    assert asked("--tls-self-signed", "--listen", f"127.0.0.1:{server.port}").stdout == "ready\n"
    nobody = asked(TIDEWIRE_ADMIN_LISTEN=admin)
    assert nobody.returncode == 1
    assert nobody.stderr.startswith(f"tidewire: cannot reach {admin}: ") and nobody.stderr.count("\n") == 1


def test_a_container_that_was_told_dev_public_by_a_flag_is_well(serve: Callable[..., Tidewire]) -> None:
    # `docker run … tidewire serve --dev-public`, as docs/install.md has it: the image says where to listen, and HEALTHCHECK sees no flag.
    server = serve()
    container = asked(TIDEWIRE_LISTEN=f"0.0.0.0:{server.port}")
    assert (container.returncode, container.stdout, container.stderr) == (0, "ready\n", "")


def test_what_a_configuration_has_wrong_is_told_in_its_own_words() -> None:
    wrong = asked(TIDEWIRE_LIMITS__NO_SUCH_KEY="1")
    assert wrong.returncode == 1 and "no_such_key" in wrong.stderr.lower()

"""An ACME server of a test's own: Debian's `pebble`, with a DNS whose answers the test may change."""

import atexit
import json
import os
import ssl
import subprocess
import tempfile
from pathlib import Path

import httpx
from certificates import Authority
from stage import PATIENCE, eventually, free_port

HERE = "127.0.0.1"
"""Where the server under test is."""

NOWHERE = "127.0.0.77"
"""Where nobody is."""

REFUSED = "refused.example"
"""A name that nothing is signed for."""


class Pebble:
    """A server that signs for whoever proves a name to it, by TLS on `port` of where the DNS says that the name is."""

    def __init__(self, trust: Authority, port: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-acme-")
        self._own, self._managed, self._dns, self._dns_managed = (free_port() for _ in range(4))
        self._trust = trust
        self._port = port
        self._running: list[subprocess.Popen] = []
        self.directory = f"https://localhost:{self._own}/dir"
        self.stem = f"localhost_{self._own}_dir"
        """What the files of a cache begin with that are of this server."""

    def start(self, lives_s: int = 90 * 86_400, **environment: object) -> "Pebble":
        """Certificates are good for `lives_s` seconds; `environment` is as Pebble's manual has it. It forgets all it knew."""
        pair = self._trust.issue("localhost", file="pebble")
        config = {
            "listenAddress": f"{HERE}:{self._own}",
            "managementListenAddress": f"{HERE}:{self._managed}",
            "certificate": str(pair.cert),
            "privateKey": str(pair.key),
            "httpPort": free_port(),
            "tlsPort": self._port,
            "certificateValidityPeriod": lives_s,
            "domainBlocklist": [REFUSED],
        }
        Path(self._folder.name, "config.json").write_text(json.dumps({"pebble": config}))
        # At its usual pace, and with its usual moods, it would be another server each time.
        usual = {"PEBBLE_VA_NOSLEEP": 1, "PEBBLE_WFE_NONCEREJECT": 0, "PEBBLE_AUTHZREUSE": 0}
        environment = {name: str(value) for name, value in {**usual, **environment}.items()}
        dns = ["-dns01", f"{HERE}:{self._dns}", "-management", f"{HERE}:{self._dns_managed}", "-defaultIPv6", ""]
        unused = [part for kind in ("http01", "https01", "tlsalpn01") for part in (f"-{kind}", "")]
        self._run(["pebble-challtestsrv", *dns, *unused], {})
        config_file = ["-config", str(Path(self._folder.name, "config.json"))]
        self._run(["pebble", "-strict", *config_file, "-dnsserver", f"{HERE}:{self._dns}"], environment)
        eventually("Pebble and its DNS answer", self._ready)
        return self

    def resolve_to(self, address: str) -> None:
        """From now on every name is there."""
        httpx.post(f"http://{HERE}:{self._dns_managed}/set-default-ipv4", json={"ip": address}, trust_env=False).raise_for_status()

    def context(self, *protocols: str) -> ssl.SSLContext:
        """A client that trusts what this server signs, and nothing else."""
        context = ssl.create_default_context(cadata=self._ask(f"https://localhost:{self._managed}/roots/0").text)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def said(self) -> str:
        return self._log().read_text(errors="replace")

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
            atexit.unregister(process.kill)
        self._running.clear()

    def end(self) -> None:
        self.stop()
        self._folder.cleanup()

    def _run(self, command: list[str], environment: dict[str, str]) -> None:
        with self._log().open("ab") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        atexit.register(process.kill)
        self._running.append(process)

    def _log(self) -> Path:
        return Path(self._folder.name, "said")

    def _ready(self) -> bool:
        assert all(process.poll() is None for process in self._running), self.said()
        try:
            self.resolve_to(HERE)
            return self._ask(self.directory).status_code == 200
        except httpx.TransportError:
            return False

    def _ask(self, url: str) -> httpx.Response:
        return httpx.get(url, verify=self._trust.context(), trust_env=False, timeout=PATIENCE)

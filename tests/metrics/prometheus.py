"""A Prometheus of a test's own: Debian's, on a free port, in an empty folder, and gone when the test ends."""

import atexit
import json
import subprocess
import tempfile
from pathlib import Path

import httpx
from stage import REPOSITORY, Tidewire, client, eventually, free_port

OPS = REPOSITORY / "ops"


class Prometheus:
    """It looks four times a second."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="tidewire-prometheus-")
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process: subprocess.Popen | None = None
        self.client = client(self.url)

    def watch(self, *servers: Tidewire) -> None:
        """Begins to look at these, with the alerts of `ops`, and waits until it has seen each twice."""
        scrapes = [
            {
                "job_name": f"tidewire-{number}",
                "scheme": "https" if server.secure else "http",
                "tls_config": {"insecure_skip_verify": True},
                "authorization": {"credentials": server.credentials.get("Authorization", "Bearer none").split()[1]},
                "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}],
                "relabel_configs": [{"target_label": "job", "replacement": "tidewire"}],
            }
            for number, server in enumerate(servers)
        ]
        often = {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"}
        rules = [str(OPS / "prometheus/alerts.yml")]
        # JSON is YAML.
        written = Path(self.folder.name, "prometheus.yml")
        written.write_text(json.dumps({"global": often, "rule_files": rules, "scrape_configs": scrapes}))
        command = [
            "prometheus",
            f"--config.file={written}",
            f"--storage.tsdb.path={self.folder.name}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=error",
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        eventually("Prometheus has seen every server twice", lambda: self._has_seen(len(servers)), patience=30)

    def ask(self, expression: str) -> list[dict]:
        """What an expression is now."""
        answer = self.client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        return answer["data"]["result"]

    def rules(self) -> list[dict]:
        groups = self.client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def end(self) -> None:
        self.client.close()
        if self.process:
            self.process.kill()
            self.process.wait()
            atexit.unregister(self.process.kill)
        self.folder.cleanup()

    def _has_seen(self, count: int) -> bool:
        try:
            return len(self.ask("count_over_time(up[1m]) > 1 and up == 1")) == count
        except (httpx.TransportError, ValueError):
            return False

"""The examples that publish, each as a user runs it: four arguments, and where and as whom from the environment."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stage import PATIENCE, REPOSITORY

EXAMPLES = REPOSITORY / "examples"
BUILT = REPOSITORY / "target/examples"

BACKEND_KEY = f"tw_{secrets.token_urlsafe(32)}"
"""The key of a backend that may publish and nothing else."""

RUN_S = 60
"""How long an example may take: above the 35 s after which the last attempt of each has ended."""

BUILD_S = 600
"""How long a compiler may take that has to fetch and build what it needs. That is once; afterwards it takes a moment."""


@dataclass(frozen=True)
class Program:
    """An example that publishes one message."""

    name: str
    """Its folder."""
    tool: str
    """What has to be on the machine."""
    command: Sequence[str]
    """How it is started, in its folder."""
    compile: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    probe: Sequence[str] = ()
    """What else shows, by ending well, that the machine has what is needed."""
    may_be_missing: bool = True
    """Whether a machine that tests Tidewire may do without its language."""

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.name

    def missing(self) -> str:
        """What this machine lacks for it; empty if nothing."""
        if shutil.which(self.tool) is None:
            return f"{self.tool} is not on this machine, so examples/{self.name} was not run"
        if self.probe and subprocess.run(self.probe, capture_output=True, timeout=PATIENCE).returncode != 0:
            return f"`{' '.join(self.probe)}` fails on this machine, so examples/{self.name} was not run"
        return ""

    def build(self) -> None:
        if self.compile:
            done = self.start(self.compile, {}, BUILD_S)
            assert done.returncode == 0, done.stderr

    def publish(
        self, url: str, channel: str, event: str, data: str, key: str, api_key: str = BACKEND_KEY
    ) -> subprocess.CompletedProcess[str]:
        to = {"TIDEWIRE_URL": url, "TIDEWIRE_API_KEY": api_key}
        return self.start([*self.command, channel, event, data, key], to)

    def start(
        self, command: Sequence[str], environment: dict[str, str], patience: float = RUN_S
    ) -> subprocess.CompletedProcess[str]:
        """Runs `command` to its end in the folder of the example."""
        environment = {**foreign(), **self.environment, **environment}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=patience)


def foreign() -> dict[str, str]:
    """The environment of the tests, but for what they tell each other about Tidewire."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")}


PROGRAMS = [
    Program("shell", "curl", ["./publish.sh"], may_be_missing=False),
    Program("node", "node", ["node", "publish.mjs"], may_be_missing=False),
    Program("python", "python3", ["python3", "publish.py"], may_be_missing=False),
    Program("php", "php", ["php", "publish.php"], probe=["php", "-r", "exit(extension_loaded('curl') ? 0 : 1);"]),
    Program("ruby", "ruby", ["ruby", "publish.rb"]),
    Program(
        "go",
        "go",
        [str(BUILT / "go/publish")],
        compile=["go", "build", "-o", str(BUILT / "go/publish"), "publish.go"],
        environment={"GOCACHE": str(BUILT / "go/cache")},
    ),
    Program(
        "rust",
        "cargo",
        [str(BUILT / "rust/debug/publish")],
        compile=["cargo", "build", "--quiet", "--locked", "--target-dir", str(BUILT / "rust")],
        may_be_missing=False,
    ),
]

"""compose.yaml and what it mounts: the same Redis, nodes and nginx, as processes of this machine. There is no Docker in it."""

import re
import secrets
import shutil
import string
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from fronts import program
from httpx_sse import connect_sse
from stage import BINARY, PATIENCE, REPOSITORY, dispatched, eventually, free_port

COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
OPS = REPOSITORY / "ops/compose"
NODES = ["node-1", "node-2"]


@dataclass
class Cluster:
    """What compose.yaml starts, with ports of this machine in place of names."""

    url: str
    admins: list[str]
    secrets: Path
    nodes: list[subprocess.Popen]

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    ports = {name: free_port() for name in [*NODES, *(f"{node} admin" for node in NODES), "redis", "nginx"]}
    shutil.copy(OPS / "secrets.sh", tmp_path)
    subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    folder, running = tmp_path / "secrets", []
    redis_url = folder / "redis_url"
    redis_url.write_text(redis_url.read_text().replace("redis:6379", f"127.0.0.1:{ports['redis']}"))

    def start(name: str, command: list[str], **environment: str) -> subprocess.Popen:
        own = tmp_path / name
        own.mkdir()
        with (own / "said").open("wb") as said:
            running.append(subprocess.Popen(command, cwd=own, env={"PATH": "/usr/bin:/bin", **environment}, stdout=said, stderr=said))
        return running[-1]

    def ready(node: str) -> bool:
        checked = subprocess.run([BINARY, "healthcheck"], env={"TIDEWIRE_CONFIG": str(tmp_path / f"{node}.toml")}, capture_output=True)
        return checked.returncode == 0

    try:
        redis = [word.replace("/run/secrets", str(folder)) for word in COMPOSE["services"]["redis"]["command"]]
        start("redis", [*redis, "--bind", "127.0.0.1", "--port", str(ports["redis"])])
        nodes = []
        named = {name: value.replace("/run/secrets", str(folder)) for name, value in COMPOSE["services"]["node-1"]["environment"].items()}
        for node in NODES:
            text = (OPS / "tidewire.toml").read_text().replace("/run/secrets", str(folder))
            for here, there in {
                "0.0.0.0:8080": f"127.0.0.1:{ports[node]}",
                "0.0.0.0:9090": f"127.0.0.1:{ports[f'{node} admin']}",
                address("nginx"): "127.0.0.1",
            }.items():
                assert here in text
                text = text.replace(here, there)
            (tmp_path / f"{node}.toml").write_text(text)
            nodes.append(start(node, [BINARY, "serve"], **{**named, "TIDEWIRE_CONFIG": str(tmp_path / f"{node}.toml")}))
        for node in NODES:
            eventually(f"{node} is healthy", lambda node=node: ready(node))
        ours = re.sub(r"listen 80;", f"listen 127.0.0.1:{ports['nginx']};", (OPS / "nginx.conf").read_text())
        for node in NODES:
            assert f"{node}:8080" in ours
            ours = ours.replace(f"{node}:8080", f"127.0.0.1:{ports[node]}")
        (tmp_path / "tidewire.conf").write_text(ours)
        frame = string.Template((REPOSITORY / "tests/proxies/nginx/frame.conf").read_text()).substitute(folder=tmp_path)
        (tmp_path / "nginx.conf").write_text(frame)
        start("nginx", [program("nginx"), "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")])
        url = f"http://127.0.0.1:{ports['nginx']}"
        eventually("nginx answers", lambda: answers(url))
        yield Cluster(url, [f"http://127.0.0.1:{ports[f'{node} admin']}" for node in NODES], folder, nodes)
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def address(service: str) -> str:
    return COMPOSE["services"][service]["networks"]["inside"]["ipv4_address"]


def answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=1)
        return True
    except httpx.TransportError:
        return False


def test_messages_pass_between_the_nodes_and_only_for_those_who_may(cluster: Cluster) -> None:
    key = {"Authorization": f"Bearer {cluster.secret('api_key')}"}
    with httpx.Client(base_url=cluster.url, timeout=PATIENCE) as http:
        assert http.post("/c/prices", content="nobody").status_code == 401
        minted = [BINARY, "token", "new", "--key", f"HS256:{cluster.secrets / 'hs256'}", "--sub", "alice", "--subscribe", "prices"]
        token = subprocess.run(minted, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()
        page = {"Authorization": f"Bearer {token}", "Origin": "http://localhost:8080"}
        with connect_sse(http, "GET", "/c/prices", headers=page) as stream:
            events = dispatched(stream)
            assert next(events).event == "$ready"
            # nginx takes turns: so many pass through both nodes.
            for number in range(4):
                assert http.post("/c/prices", content=f"{number}", headers=key).status_code == 200
            assert [next(events).data for _ in range(4)] == ["0", "1", "2", "3"]
    scraped = [httpx.get(f"{admin}/metrics").text for admin in cluster.admins]
    assert len(scraped) == 2


def test_a_node_is_stopped_within_the_time_that_docker_gives_it(cluster: Cluster) -> None:
    cluster.nodes[0].terminate()
    assert cluster.nodes[0].wait(PATIENCE) == 0
    key = {"Authorization": f"Bearer {cluster.secret('api_key')}"}
    assert httpx.post(f"{cluster.url}/c/prices", content="on the other", headers=key).status_code == 200


def test_the_proxy_is_told_what_proxy_config_prints() -> None:
    upstreams = [part for node in NODES for part in ("--upstream", f"{node}:8080")]
    printed = subprocess.run([BINARY, "proxy-config", "nginx", *upstreams], check=True, capture_output=True, text=True).stdout
    assert (OPS / "nginx.conf").read_text() == printed, "tidewire proxy-config nginx … > ops/compose/nginx.conf"


def test_every_file_and_secret_that_is_mounted_is_there_or_is_made() -> None:
    made = (OPS / "secrets.sh").read_text()
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./ops/compose/secrets/{name}"} and f"/{name}" in made or f"keep {name}" in made
    for service in COMPOSE["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in COMPOSE["volumes"] or (REPOSITORY / source).is_file(), mount
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_nodes_may_take_longer_to_end_than_they_take_to_drain() -> None:
    shown = subprocess.run([BINARY, "config", "show", "--json"], env={"TIDEWIRE_AUTH__HS256_SECRET": secrets.token_urlsafe(32)}, check=True, capture_output=True, text=True).stdout
    drain = re.search(r'"drain_within":\s*"(\d+)s"', shown)
    assert drain, shown
    for node in NODES:
        assert int(COMPOSE["services"][node]["stop_grace_period"].rstrip("s")) >= int(drain[1]) + 5


def test_secrets_that_are_there_are_kept(tmp_path: Path) -> None:
    shutil.copy(OPS / "secrets.sh", tmp_path)
    contents = []
    for _ in range(2):
        subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        contents.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    assert contents[0] == contents[1] and set(contents[0]) == {*COMPOSE["secrets"], "api_key"}
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0

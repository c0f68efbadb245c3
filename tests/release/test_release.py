"""What is in a release: sums that hold, a binary that needs nothing, papers that name everything, and packages that say what they are."""

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import one
from httpx_sse import connect_sse
from redis_server import Redis
from stage import PATIENCE, REPOSITORY, dispatched, eventually, free_port


def said(*command: str | Path, **how: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=60, **how).stdout


def test_every_file_has_a_sum_that_holds(release: Path) -> None:
    said("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release)
    summed = {line.split()[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert summed == {path.name for path in release.iterdir()} - {"SHA256SUMS"}
    assert {Path(name).suffix for name in summed} == {".gz", ".deb", ".json", ".debug"}


def test_the_binary_says_the_version_that_the_release_has(release: Path, unpacked: Path) -> None:
    version = said(unpacked / "bin/tidewire", "--version").split()[1]
    assert release.name == f"release-{version}" and unpacked.name.startswith(f"tidewire-{version}-")


def test_the_binary_needs_no_library_and_holds_no_path_of_the_machine_that_built_it(unpacked: Path) -> None:
    binary = unpacked / "bin/tidewire"
    headers = said("readelf", "--program-headers", "--dynamic", "--wide", binary)
    assert "INTERP" not in headers and "NEEDED" not in headers
    held = binary.read_bytes()
    for folder in {str(REPOSITORY), os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))}:
        assert folder.encode() not in held, folder


@pytest.fixture
def empty_root(unpacked: Path, tmp_path: Path) -> Iterator[list[str]]:
    """A root with nothing in it but the binary and where names are looked up, no device either; what a command begins with to run
    there. Roots are root's to make."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a root of its own")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    shutil.copy(unpacked / "bin/tidewire", root / "tidewire")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/hosts").write_text("127.0.0.1 redis.test\n")
    yield ["chroot", str(root), "/tidewire"]


@pytest.mark.parametrize("io", ["auto", "epoll", "tokio"])
def test_in_an_empty_root_it_serves_publishes_subscribes_and_finds_redis_by_name(empty_root: list[str], io: str) -> None:
    redis, port = Redis(), free_port()
    serve = [*empty_root, "serve", "--dev", "--listen", f"127.0.0.1:{port}", "--set", f"engine.io={io}", "--broker", f"redis://redis.test:{redis.port}"]
    process = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        check = [*empty_root, "healthcheck", "--listen", f"127.0.0.1:{port}"]
        eventually("it is ready", lambda: process.poll() is None and subprocess.run(check, capture_output=True).returncode == 0)
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=PATIENCE) as http, connect_sse(http, "GET", "/c/a") as stream:
            events = dispatched(stream)
            assert next(events).event == "$ready"
            said(*empty_root, "pub", "a", "hello", "--url", url)
            assert next(events).data == "hello"
        assert said(*empty_root, "sub", "a", "--cursor", "earliest", "-n", "1", "--url", url) == "hello\n"
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, process.stderr.read()
        redis.end()


def test_in_an_empty_root_it_speaks_tls_and_signs(empty_root: list[str]) -> None:
    port = free_port()
    process = subprocess.Popen([*empty_root, "serve", "--dev", "--tls-self-signed", "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
    try:
        check = [*empty_root, "healthcheck", "--tls-self-signed", "--listen", f"127.0.0.1:{port}"]
        eventually("it is ready", lambda: subprocess.run(check, capture_output=True).returncode == 0)
        said(*empty_root, "pub", "a", "hello", "--insecure", "--url", f"https://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert len(said(*empty_root, "keygen").strip()) >= 43


def test_the_bill_of_materials_and_the_licences_name_every_crate(release: Path, unpacked: Path) -> None:
    host = unpacked.name.split("-", 2)[2]
    tree = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", "tidewire-cli", "--target", host]
    lines = said("cargo", *tree, cwd=REPOSITORY).splitlines()
    crates = {tuple(line.split(" ")[:2]) for line in lines if line}
    others = {(name, version.lstrip("v")) for name, version in crates if not name.startswith("tidewire")}
    assert len(others) > 100
    bill = json.loads(one(release, "*.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert str(REPOSITORY) not in json.dumps(bill)
    listed = {(part["name"], part["version"]) for part in bill["components"]}
    assert others <= listed, others - listed
    licences = (unpacked / "THIRD-PARTY").read_text()
    for name, version in others:
        assert re.search(rf"^{re.escape(name)} {re.escape(version)}: \S", licences, re.MULTILINE), name


def test_the_tarball_holds_everything_and_all_of_it_is_roots(release: Path, unpacked: Path) -> None:
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    wanted = {
        "bin/tidewire", "man/tidewire.1.gz", "man/tidewire-serve.1.gz", "completions/_tidewire", "completions/tidewire.bash",
        "systemd/tidewire.service", "systemd/tidewire.socket", "systemd/tidewire.sysusers", "tidewire.toml", "THIRD-PARTY",
        "LICENSE-APACHE", "LICENSE-MIT", "README.md", "CHANGELOG.md",
    }  # fmt: skip
    assert wanted <= there, wanted - there
    with tarfile.open(one(release, "*.tar.gz")) as archive:
        members = archive.getmembers()
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, members[0].mtime)}


def test_what_is_installed_does_not_run_in_dev_mode_by_itself(unpacked: Path) -> None:
    ended = subprocess.run([unpacked / "bin/tidewire", "serve", "--config", unpacked / "tidewire.toml"], capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 78
    assert "nothing can verify credentials" in ended.stderr


def test_the_debian_package_says_what_it_is_and_where_its_files_go(release: Path) -> None:
    package = one(release, "*.deb")
    fields = dict(line.split(": ", 1) for line in said("dpkg-deb", "--field", package).splitlines() if re.match(r"\S+: ", line))
    assert fields["Package"] == "tidewire" and fields["Section"] == "net"
    assert fields["Depends"] == "systemd | systemd-standalone-sysusers", "no library: the binary is static"
    listed = {line.split()[5].removeprefix(".") for line in said("dpkg-deb", "--contents", package).splitlines()}
    wanted = {
        "/usr/bin/tidewire", "/etc/tidewire/tidewire.toml", "/usr/share/man/man1/tidewire.1.gz",
        "/usr/share/bash-completion/completions/tidewire", "/usr/share/zsh/vendor-completions/_tidewire",
        "/usr/share/fish/vendor_completions.d/tidewire.fish", "/usr/lib/sysusers.d/tidewire.conf",
        "/usr/share/doc/tidewire/copyright", "/usr/share/doc/tidewire/THIRD-PARTY",
        "/usr/share/doc/tidewire/changelog.gz", "/usr/share/doc/tidewire/changelog.Debian.gz",
    }  # fmt: skip
    assert wanted <= listed, wanted - listed
    for unit in ["tidewire.service", "tidewire.socket"]:
        assert {f"/lib/systemd/system/{unit}", f"/usr/lib/systemd/system/{unit}"} & listed, unit


def test_the_debian_package_keeps_the_configuration_and_starts_nothing(release: Path, tmp_path: Path) -> None:
    said("dpkg-deb", "--control", one(release, "*.deb"), tmp_path)
    assert (tmp_path / "conffiles").read_text() == "/etc/tidewire/tidewire.toml\n"
    scripts = {name: (tmp_path / name).read_text() for name in ["postinst", "postrm"]}
    for name, script in scripts.items():
        assert "#DEBHELPER#" not in script, name
        said("sh", "-n", tmp_path / name)
    # A package that is new to this machine has no old version, which is the second argument.
    assert re.search(r"systemd-sysusers .*tidewire\.conf", scripts["postinst"]), "its user is made"
    assert "chmod 0640 /etc/tidewire/tidewire.toml" in scripts["postinst"], "secrets may be in it"
    assert not re.search(r"invoke (start|restart)|systemctl (start|enable)", scripts["postinst"].replace(HINT, ""))


HINT = "then: systemctl enable --now tidewire"
"""What whoever installs it is told, and not done for them."""


def test_line_tables_are_beside_the_binary_and_belong_to_it(release: Path, unpacked: Path) -> None:
    def build_id(path: Path) -> str:
        return re.search(r"Build ID: (\w+)", said("readelf", "--notes", path))[1]

    assert build_id(unpacked / "bin/tidewire") == build_id(one(release, "*.debug"))

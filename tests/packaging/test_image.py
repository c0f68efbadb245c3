"""The Dockerfile, as far as it can be looked at without a Docker: what it copies is there, and what it starts says what to do."""

import re
import subprocess

from stage import BINARY, PATIENCE, REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


def test_what_docker_run_says_without_credentials_leads_to_a_server_that_runs() -> None:
    listen = re.search(r"TIDEWIRE_LISTEN=(\S+)", DOCKERFILE)[1]
    refused = subprocess.run([BINARY, "serve", "--config", "/dev/null"], env={"TIDEWIRE_LISTEN": listen}, capture_output=True, text=True, timeout=PATIENCE)
    assert refused.returncode == 78
    for step in ["tidewire init", "docker run -p 127.0.0.1:8080:8080", "--dev-public"]:
        assert step in refused.stderr, step


def test_its_binary_is_built_as_that_of_a_release() -> None:
    built = re.search(r"RUSTFLAGS='([^']+)'", DOCKERFILE)[1]
    release = re.search(r'const STATIC: &str = "(.+)";', (REPOSITORY / "xtask/src/release.rs").read_text())[1]
    assert built == release.replace('\\"', '"')


def test_it_holds_the_licences_of_what_it_is_made_of() -> None:
    made = re.search(r"cargo run --quiet --locked --package xtask -- (\S+) > /image/etc/tidewire/THIRD-PARTY", DOCKERFILE)
    verb = ["cargo", "run", "--quiet", "--locked", "--package", "xtask", "--", made[1]]
    licences = subprocess.run(verb, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert licences.returncode == 0, licences.stderr
    assert re.search(r"^tokio \d+\.\d+\.\d+: MIT$", licences.stdout, re.MULTILINE) and "Permission is hereby granted" in licences.stdout


def test_the_last_stage_runs_the_binary_as_nobody_in_particular_and_asks_it_how_it_is() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert last.startswith("scratch\n")
    user = re.search(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert user and int(user[1]) > 0 and int(user[2]) > 0, "a number, which is known without /etc/passwd"
    assert re.search(r'^HEALTHCHECK .* CMD \["/usr/bin/tidewire", "healthcheck"\]$', last, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in last and 'ENTRYPOINT ["/usr/bin/tidewire"]' in last


def test_files_that_the_build_reads_are_sent_to_it_and_secrets_are_not() -> None:
    ignored = {line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")}
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.splitlines()
    # A pattern without `**/` is for the top folder alone.
    patterns = [re.compile(re.escape(line).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*") + "(/|$)") for line in ignored]

    def stays(path: str) -> bool:
        return any(pattern.match(path) for pattern in patterns)

    assert not [path for path in tracked if stays(path)], "what is committed is read"
    for secret in ["ops/compose/secrets/hs256", "tidewire.secret", "deploy/here/tidewire.secret", "deploy/.env"]:
        assert stays(secret), secret

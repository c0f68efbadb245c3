"""A release as somebody meets it who downloads it: `cargo xtask release` names its folder in TIDEWIRE_RELEASE."""

import os
import tarfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def release() -> Path:
    return Path(os.environ["TIDEWIRE_RELEASE"])


@pytest.fixture(scope="session")
def unpacked(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in the tarball."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(one(release, "*.tar.gz")) as archive:
        archive.extractall(folder, filter="data")
    return one(folder, "*")


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found

"""The stage is that of the other Python tests; here it is stormed. `--full` asks for sieges of full size."""

import pytest
from sieges import scale
from stage import serve, server

__all__ = ["scale", "serve", "server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="sieges with the default limits, which take minutes")

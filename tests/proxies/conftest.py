"""The stage is that of the other Python tests; here it has nginx in front."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e/python"))

from nginx import behind  # noqa: E402
from stage import serve, server  # noqa: E402

__all__ = ["behind", "serve", "server"]

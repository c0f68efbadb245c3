"""The stage is that of the other Python tests; here it has a proxy in front."""

from fronts import behind
from stage import serve, server

__all__ = ["behind", "serve", "server"]

"""The stage is that of the other Python tests."""

from stage import serve, server

__all__ = ["serve", "server"]

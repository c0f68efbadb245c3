"""The stage is that of the other Python tests; here a service manager watches from the side."""

from stage import serve, server

__all__ = ["serve", "server"]

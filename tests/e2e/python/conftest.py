"""Every test may ask for `server`, a fresh Tidewire, or for `serve`, which starts one with settings of its own."""

from stage import serve, server

__all__ = ["serve", "server"]

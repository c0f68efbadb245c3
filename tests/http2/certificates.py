"""Certificates of an authority of the tests' own, as the files that `tls.cert` and `tls.key` name."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key, in files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates, and is trusted by whoever asks for a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()

    def issue(self, *names: str, file: str = "", key: str = "ecdsa") -> Pair:
        """A certificate for `names`, in files called `file` or like its first name; written over, as a renewal is."""
        now = datetime.now(UTC)
        life = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=89)}
        signed = self._authority.issue_cert(*names, key_type=trustme.KeyType[key.upper()], **life)
        stem = file or names[0]
        pair = Pair(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        self._replace(pair.key, signed.private_key_pem.bytes())
        self._replace(pair.cert, b"".join(blob.bytes() for blob in signed.cert_chain_pems))
        return pair

    def context(self, *protocols: str) -> ssl.SSLContext:
        """A client that trusts this authority and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def write(self, file: str) -> Path:
        """The authority's own certificate, for clients that are told of it by a file."""
        path = self._folder / file
        self._authority.cert_pem.write_to_path(str(path))
        return path

    def _replace(self, path: Path, content: bytes) -> None:
        """At one moment, as tools that renew certificates do it: nobody sees half a file."""
        written = path.with_name(f"{path.name}.new")
        written.write_bytes(content)
        written.rename(path)

"""What opens a server that asks who comes: a secret that signs tokens, and a backend's API key."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stage import Access, Tidewire

SECRET = secrets.token_urlsafe(32)
API_KEY = f"tw_{secrets.token_urlsafe(32)}"

ORIGIN = "https://app.example"
"""A page that may come in."""

OTHER_ORIGIN = "https://other.example"
"""Another one that may."""


def api_key_line(key: str, scopes: str = "publish+subscribe+admin", name: str = "tests") -> str:
    """An entry of `auth.api_keys`, which holds no more of the key than its hash."""
    return f"{name}:{scopes}:{hashlib.sha256(key.encode()).hexdigest()}"


GUARDED = Access(
    flags=(
        # Where the tests ask whether it is ready.
        "--admin-listen", "same",
        "--set", f"auth.origins={ORIGIN},{OTHER_ORIGIN}",
        "--set", f"auth.api_keys={api_key_line(API_KEY)}",
        "--set", "auth.cookie=session",
        # All of a test comes from one address, in a hurry.
        "--set", "limits.address_connections_max=0",
        "--set", "limits.address_arrivals_per_second_max=0",
        "--set", "limits.address_failures_per_minute_max=0",
    ),
    environment={"TIDEWIRE_AUTH__HS256_SECRET": SECRET},
    credentials={"Authorization": f"Bearer {API_KEY}"},
)  # fmt: skip
"""A server that lets in pages of two origins, by token, ticket, API key or the cookie `session`."""


def token(
    sub: str,
    *channels: str,
    lasts_s: float = 600,
    secret: str = SECRET,
    header: Mapping[str, object] | None = None,
    history: Iterable[str] | None = None,
    **claims: object,
) -> str:
    """A token of `sub` that may do everything on `channels`; `history` narrows what it may read of the past."""
    now = int(time.time())
    rights = {"subscribe": channels, "publish": channels, "history": channels if history is None else list(history)}
    said = {"sub": sub, "iat": now, "exp": int(time.time() + lasts_s), "channels": rights, **claims}
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', **(header or {})})}.{part(said)}"
    signature = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def part(value: object) -> str:
    """A part of a token, as RFC 7515 writes it."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


@dataclass(frozen=True)
class Visit:
    """A server as somebody meets it who shows what is said here, and nothing else: what `Wire` and the like connect to."""

    server: Tidewire
    credentials: Mapping[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def secure(self) -> bool:
        return self.server.secure

"""Signed reader tokens: minted and checked here, stored nowhere. It knows nothing of HTTP."""

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRET_BYTES = 32
_SHAPE = re.compile(r"(?P<reader>[0-9a-f]{32})\.(?P<expires>[0-9]{1,12})\.(?P<signature>[0-9a-f]{64})")


def new_reader() -> str:
    """Name a new reader: 128 random bits, so that nobody guesses another's name."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Mint:
    """Makes and checks tokens with one secret.

    A token is `<reader>.<expiry, seconds since 1970>.<HMAC-SHA256 of both>`: who shows it is that reader until then.
    """

    secret: bytes
    lifetime_s: int = 7 * 24 * 3600
    clock: Callable[[], float] = time.time

    def mint(self, reader: str) -> str:
        """Make a token for a reader, valid from now for `lifetime_s`."""
        expires = str(int(self.clock()) + self.lifetime_s)
        return f"{reader}.{expires}.{self._sign(reader, expires)}"

    def reader(self, token: str) -> str | None:
        """Name the reader to whom a token belongs; None if it is forged, damaged or expired."""
        parts = _SHAPE.fullmatch(token)
        if parts is None or not hmac.compare_digest(parts["signature"], self._sign(parts["reader"], parts["expires"])):
            return None
        return parts["reader"] if int(parts["expires"]) > self.clock() else None

    def _sign(self, reader: str, expires: str) -> str:
        return hmac.new(self.secret, f"{reader}.{expires}".encode(), hashlib.sha256).hexdigest()


def load_secret(path: Path) -> bytes:
    """Read the signing secret, or create it readable by its owner only; tokens outlive a restart of the service."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        secret = path.read_bytes()
        if len(secret) == SECRET_BYTES:
            return secret
        # A torn write: nobody can hold a token that this file signed.
        path.unlink()
        return load_secret(path)
    with os.fdopen(descriptor, "wb") as file:
        secret = secrets.token_bytes(SECRET_BYTES)
        file.write(secret)
    return secret

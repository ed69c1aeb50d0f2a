"""What replicas put into the store so that they know it comes from one of them: HMAC-SHA-256 under a key that is not
there. What carries no good seal is not read any further."""

from __future__ import annotations

import hmac

_MAC_DIGITS = 64


class BadSeal(Exception):
    """It was not sealed with our key, or was changed since."""


class Sealing:
    """Seals and opens under one key, which messages call `named`. Its repr says nothing of the key. `use` is what a
    seal is for, so that none can be used for the other."""

    def __init__(self, key: bytes, named: str) -> None:
        self._key, self._named = key, named

    def close(self, use: bytes, body: bytes) -> bytes:
        return self._mac(use, body) + body

    def open(self, use: bytes, sealed: bytes) -> bytes:
        """Raises BadSeal."""
        mac, body = sealed[:_MAC_DIGITS], sealed[_MAC_DIGITS:]
        if not hmac.compare_digest(mac, self._mac(use, body)):
            raise BadSeal(f"not sealed with our {self._named}")
        return body

    def _mac(self, use: bytes, body: bytes) -> bytes:
        return hmac.digest(self._key, use + b"\0" + body, "sha256").hex().encode()

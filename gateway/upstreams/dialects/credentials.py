"""How a request shows whose account it is for."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Upstream

_BEARER = (b"authorization", b"Bearer ")
_HEADERS: Mapping[str, tuple[bytes, bytes]] = {"anthropic": (b"x-api-key", b""), "azure": (b"api-key", b"")}
"""Dialect -> the header, and what stands before the key; all others have OpenAI's."""


def credential(upstream: Upstream) -> list[tuple[bytes, bytes]]:
    """Empty where it takes no key, or has a service account instead, which is never sent."""
    if upstream.key is None or upstream.key.startswith("{"):
        return []
    name, before = _HEADERS.get(upstream.dialect, _BEARER)
    return [(name, before + upstream.key.encode())]

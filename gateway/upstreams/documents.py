"""Small public documents of others, such as the keys of an issuer of tokens: GET, no proxy, no redirect, no
compression, bounded. Their addresses are the operator's own, and may lie in a network of ours."""

from __future__ import annotations

from gateway.errors import BadAnswer, ConnectFailed, UpstreamFault
from gateway.upstreams import fetch

SECONDS = 5.0
MOST_BYTES = 256 << 10


async def document(url: str) -> bytes:
    """TLS is verified against the system's authorities (`SSL_CERT_FILE` names others). Raises UpstreamFault, whose
    message names neither host nor content."""
    try:
        found = await fetch.fetch(url, hosts=None, most=MOST_BYTES, seconds=SECONDS, allow_private=True)
    except BadAnswer:
        raise
    except UpstreamFault as fault:
        raise ConnectFailed(f"it does not answer ({type(fault).__name__})") from None
    return found.data

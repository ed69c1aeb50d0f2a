"""The bodies of admin calls."""

from __future__ import annotations

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.errors import InvalidRequest, RequestTooLarge


async def body(request: Request, most: int) -> bytes:
    """Raises RequestTooLarge past `most` bytes."""
    whole = bytearray()
    try:
        async for piece in request.stream():
            whole += piece
            if len(whole) > most:
                raise RequestTooLarge(f"a body of more than {most} bytes")
    except ClientDisconnect:
        raise InvalidRequest("the body ended early") from None
    return bytes(whole)

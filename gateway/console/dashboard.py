"""`GET /dashboard`: the page for operators, as files of this package. It is public and holds no data: that comes from
`/admin/v1`, with the operator's access."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter, Request, Response

from gateway.errors import NotFound

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served at all: a file of another kind in the folder is not there."""
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}
"""No script of a page's text, no other host, no form that is sent (a prompt would stand in the address), no frame."""
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
"""`no-cache`: kept, and asked for again by its ETag, so that an upgraded gateway is seen at once."""
_GZIP_LEVEL = 9
_TAG_BYTES = 8


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page, as it is sent."""

    media_type: str
    plain: bytes
    packed: bytes
    tag: str

    @classmethod
    def read(cls, path: Path) -> File:
        plain = path.read_bytes()
        tag = blake2b(plain, digest_size=_TAG_BYTES).hexdigest()
        return cls(TYPES[path.suffix], plain, gzip.compress(plain, _GZIP_LEVEL, mtime=0), tag)


@cache
def files() -> Mapping[str, File]:
    """All of the page, by name; read and compressed when somebody first asks for one."""
    return {path.name: File.read(path) for path in FOLDER.iterdir() if path.suffix in TYPES}


def dashboard_routes() -> APIRouter:
    api = APIRouter(include_in_schema=False)

    @api.api_route("/dashboard", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return answer(request, INDEX)

    @api.api_route("/dashboard/{name}", methods=["GET", "HEAD"])
    async def part(request: Request, name: str) -> Response:
        return answer(request, name)

    return api


def answer(request: Request, name: str) -> Response:
    """Raises NotFound."""
    file = files().get(name)
    if file is None:
        raise NotFound("the dashboard has no file of that name; it begins at /dashboard")
    packed = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{file.tag}-gz"' if packed else f'"{file.tag}"'  # of the bytes that are sent, as RFC 9110 wants it
    headers = {**HEADERS, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if packed else file.plain, headers=headers, media_type=file.media_type)

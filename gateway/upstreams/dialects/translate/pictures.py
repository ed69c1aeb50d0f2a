"""Pictures and documents: data URLs of chat/completions, sources of Anthropic's Messages."""

from __future__ import annotations

import re
from typing import Any

from gateway.upstreams.dialects.translate.shapes import Block, File, Source, cannot

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,", re.ASCII)
_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""What Anthropic takes."""
_ALSO_CALLED = {"image/jpg": "image/jpeg"}
_PDF = "application/pdf"


def picture_block(url: str) -> dict[str, Any]:
    """A block for an `image_url`. Nothing is fetched here. Raises InvalidRequest."""
    if url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, data = _opened(url)
    kind = _ALSO_CALLED.get(kind, kind)
    if kind not in _PICTURES:
        raise cannot("messages", f"a picture must be a URL or base64 of {', '.join(sorted(_PICTURES))}")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def document_block(file: File) -> dict[str, Any]:
    """A block for a `file`. Raises InvalidRequest."""
    kind, data = _opened(file.file_data or "")
    if kind != _PDF:
        raise cannot("messages", "a file must be a PDF, as a base64 data URL in `file_data`")
    made: dict[str, Any] = {"type": "document", "source": {"type": "base64", "media_type": _PDF, "data": data}}
    return made if file.filename is None else {**made, "title": file.filename}


def part(block: Block) -> dict[str, Any]:
    """A content part for a picture or a document. Raises InvalidRequest."""
    source = block.source
    if source is None:
        raise cannot("messages", f"a block of type {block.type} needs a `source`")
    if block.type == "image":
        return {"type": "image_url", "image_url": {"url": _url(source)}}
    if source.type == "text" and source.data is not None:
        return {"type": "text", "text": source.data}
    if source.type != "base64" or source.media_type != _PDF or source.data is None:
        raise cannot("messages", f"a document by {source.type} has no counterpart in chat/completions")
    name = block.title or "document.pdf"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{_PDF};base64,{source.data}"}}


def _url(source: Source) -> str:
    if source.type == "url" and source.url is not None:
        return source.url
    if source.type == "base64" and source.data is not None:
        return f"data:{source.media_type};base64,{source.data}"
    raise cannot("messages", f"a picture by {source.type} has no counterpart in chat/completions")


def _opened(url: str) -> tuple[str, str]:
    """Media type in lower case, and base64, of a data URL; empty for anything else."""
    found = _DATA_URL.match(url)
    return ("", "") if found is None else (found[1].lower(), url[found.end() :])

"""What an upstream answers, whichever API it is: by the path that it is asked at, and from the request alone.

The nonce of a request stands in what its caller says: in the prompt, in a form's field and in its file. Tickets and
results of orders carry it on, so that every later call, and every file that is kept, tells whose it is.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1
from itertools import count
from typing import Any, NamedTuple

NONCE = re.compile(rb"nonce-([a-z0-9]+(?:-[0-9]+)*)-end")
JSON, EVENTS = b"application/json", b"text/event-stream"
_USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
_CLAUDE = {"input_tokens": 5, "output_tokens": 2}
_IMAGES = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
_WORDS = count()
"""No two frames say the same: who goes on with a stream does not begin it anew."""
_STREAM = re.compile(rb'"stream": ?true|name="stream"\r\n\r\ntrue|"stream_format": ?"sse"')
_KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Reply(NamedTuple):
    """Of a 200."""

    kind: bytes
    body: bytes


def mark(name: str) -> str:
    """As it stands in what a caller says."""
    return f"nonce-{name}-end"


def nonce_of(request: bytes) -> bytes | None:
    found = NONCE.search(request)
    return None if found is None else found[1]


def whole(part: bytes) -> bool:
    """Whether a request is here to its end."""
    head, found, body = part.partition(b"\r\n\r\n")
    if not found:
        return False
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return body.endswith(b"0\r\n\r\n")
    at = lower.find(b"content-length:")
    return at < 0 or len(body) >= int(lower[at + 15 :].split(b"\r", 1)[0])


def reply(request: bytes, host: str) -> Reply:
    """Of one that went well. `host`: where its results may be had, as it stands in an address."""
    path = request.split(b" ", 2)[1].partition(b"?")[0].decode()
    stream, name = _STREAM.search(request) is not None, (nonce_of(request) or b"x").decode()
    for ending, answer in _ANSWERS.items():
        if path.endswith(ending):
            return answer(name, stream)
    if path.endswith(("/content", ".bin")):
        return Reply(b"video/mp4" if path.endswith("/content") else b"image/png", result(name))
    return _order(path, request.startswith(b"GET"), name, f"http://{host}")


def result(name: str) -> bytes:
    """What was made for the request of this nonce."""
    return f"made for {mark(name)}".encode()


def switching(request: bytes) -> bytes | None:
    """The whole answer to a WebSocket handshake, after which the far side says goodbye; None: it is none."""
    found = _KEY.search(request)
    if found is None:
        return None
    accept = b64encode(sha1(found[1] + _WEBSOCKET, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    return head + b"sec-websocket-accept: " + accept + b"\r\n\r\n\x88\x02\x03\xe8"


def _json(body: Any) -> Reply:
    return Reply(JSON, json.dumps(body).encode())


def _events(*events: Any, done: bool = True, named: bool = False) -> Reply:
    told = [
        (b"event: %b\n" % one["type"].encode() if named else b"") + b"data: %b\n\n" % json.dumps(one).encode()
        for one in events
    ]
    return Reply(EVENTS, b"".join((*told, *([b"data: [DONE]\n\n"] if done else []))))


def _chat(_: str, stream: bool) -> Reply:
    if not stream:
        said = {"role": "assistant", "content": "x"}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return _json({"id": "x", "object": "chat.completion", "choices": [choice], "usage": _USAGE})
    head = {"id": "x", "object": "chat.completion.chunk"}
    return _events(*[{**head, "choices": [{"index": 0, "delta": {"content": str(next(_WORDS))}}]} for _ in range(2)])


def _completion(_: str, stream: bool) -> Reply:
    if not stream:
        return _json({"id": "x", "object": "text_completion", "choices": [{"index": 0, "text": "x"}], "usage": _USAGE})
    head = {"id": "x", "object": "text_completion"}
    return _events(*[{**head, "choices": [{"index": 0, "text": str(next(_WORDS))}]} for _ in range(2)])


def _claude(_: str, stream: bool) -> Reply:
    head = {"id": "x", "type": "message", "role": "assistant", "model": "m", "usage": _CLAUDE}
    if not stream:
        return _json({**head, "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"})
    said = {"type": "text_delta", "text": str(next(_WORDS))}
    return _events(
        {"type": "message_start", "message": {**head, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": said},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
        done=False,
        named=True,
    )


def _embedding(_: str, stream: bool) -> Reply:
    return _json({"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": _USAGE})


def _pictures(name: str, stream: bool) -> Reply:
    picture = b64encode(result(name)).decode()
    if not stream:
        return _json({"created": 1, "data": [{"b64_json": picture}], "usage": _IMAGES})
    partial = {"type": "image_generation.partial_image", "b64_json": picture}
    return _events(
        partial, {"type": "image_generation.completed", "b64_json": picture, "usage": _IMAGES}, done=False, named=True
    )


def _speech(name: str, stream: bool) -> Reply:
    if not stream:
        return Reply(b"audio/mpeg", result(name))
    audio = b64encode(result(name)).decode()
    return _events(
        {"type": "speech.audio.delta", "audio": audio}, {"type": "speech.audio.done", "usage": _CLAUDE}, done=False
    )


def _heard(_: str, stream: bool) -> Reply:
    if stream:
        return _events({"type": "transcript.text.delta", "delta": "x"}, {"type": "transcript.text.done", "text": "x"})
    return _json({"text": "x"})


_ANSWERS: dict[str, Callable[[str, bool], Reply]] = {
    "/chat/completions": _chat,
    "/completions": _completion,
    "/messages": _claude,
    "/embeddings": _embedding,
    "/images/generations": _pictures,
    "/images/edits": _pictures,
    "/audio/speech": _speech,
    "/audio/transcriptions": _heard,
}


def _order(path: str, look: bool, name: str, at: str) -> Reply:
    """A worker's videos, DashScope's tasks, GMI's requests, fal's queue."""
    ticket, file = mark(name), f"{at}/files/{mark(name)}.bin"
    if "/videos" in path:
        return _json({"id": ticket, "object": "video", "status": "completed" if look else "queued"})
    if "multimodal-generation" in path:
        return _json({"output": {"choices": [{"message": {"content": [{"image": file}]}}]}})
    if "/tasks/" in path or "video-synthesis" in path:
        done = {"task_status": "SUCCEEDED", "video_url": file} if look else {"task_status": "PENDING"}
        return _json({"output": {"task_id": ticket, **done}})
    if "/requests" in path and (path.endswith("/requests") or "fal" not in path):
        filled: dict[str, Any] = {"status": "success", "outcome": {"media_urls": [{"url": file}]}}
        return _json({"request_id": ticket, **(filled if look else {"status": "queued"})})
    if not look:
        root = f"{at}{path}/requests/{ticket}"
        urls = {"status_url": f"{root}/status", "response_url": root, "cancel_url": f"{root}/cancel"}
        return _json({"request_id": ticket, "status": "IN_QUEUE", **urls})
    if path.endswith("/status"):
        return _json({"status": "COMPLETED"})
    key = "video" if "video" in path else "audio" if "tts" in path else "image"
    return _json({key: {"url": file}})

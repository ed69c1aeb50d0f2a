"""The bytes of the bench: requests, canned answers, and how to tell that an answer is whole."""

from __future__ import annotations

import json

MODEL = "bench"
EVENTS = 66
"""Events of one stream, the closing `[DONE]` included."""
GAP_SECONDS = 0.01
KEY = "bench-key"
_PAD = "lorem ipsum dolor sit amet "
_USAGE = {"prompt_tokens": 500, "completion_tokens": EVENTS - 3, "total_tokens": 500 + EVENTS - 3}
METRICS = b'vllm:num_requests_running{model_name="m"} 1\nvllm:num_requests_waiting{model_name="m"} 0\n'
STREAM_MARK = b'"stream":true'
GAP_MARK = b'"user":"gap"'
LAST_CHUNK = b"0\r\n\r\n"


def request(size: int, *, stream: bool = False, gap: bool = False) -> bytes:
    """A whole HTTP request with a chat body of `size` bytes. Its marks survive any proxy that keeps the body."""
    head = {"model": MODEL, "max_tokens": 64, "user": "gap" if gap else "bench"}
    if stream:
        head |= {"stream": True, "stream_options": {"include_usage": True}}
    frame = len(_dump(head | {"messages": [{"role": "user", "content": ""}]}))
    text = (_PAD * (size // len(_PAD) + 1))[: max(0, size - frame)]
    body = _dump(head | {"messages": [{"role": "user", "content": text}]})
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def answer() -> bytes:
    """A whole, plain answer with usage."""
    message = {"role": "assistant", "content": _PAD * 8}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return plain(_dump(_completion("chat.completion") | {"choices": [choice], "usage": _USAGE}))


def plain(body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def stream_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def events() -> list[bytes]:
    """The EVENTS of one stream, each as one HTTP chunk: text, then the usage, then `[DONE]`."""
    chunk = _completion("chat.completion.chunk")
    text = _dump(chunk | {"choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}]})
    last = _dump(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = _dump(chunk | {"choices": [], "usage": _USAGE})
    return [_chunk(b"data: " + data + b"\n\n") for data in [text] * (EVENTS - 3) + [last, usage, b"[DONE]"]]


def whole(buffer: bytes | bytearray) -> bool:
    """Whether `buffer` holds one whole answer. Good for the canned ones, whose bodies hold no LAST_CHUNK."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(buffer[:end]).lower()
    if b"transfer-encoding: chunked" in head:
        return buffer.endswith(LAST_CHUNK)
    return len(buffer) >= end + 4 + length(head)


def length(head: bytes) -> int:
    """Content-Length of a lower-case head; 0 without one."""
    _, found, rest = head.partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _completion(kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-bench", "object": kind, "created": 1, "model": MODEL}


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)

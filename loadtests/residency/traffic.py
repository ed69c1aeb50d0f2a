"""Random callers: what each sends, as the oracle reads it and as an ASGI server hands it over."""

from __future__ import annotations

import json
from random import Random
from typing import Any, NamedTuple

from gateway.model import EndpointName
from loadtests.residency.oracle import Ask
from loadtests.residency.wires import mark
from loadtests.residency.worlds import ENDPOINTS, KEYS, MEDIA, TENANTS, TEXTS, some_words

ODD = ("", "mars", "local,", "local;eu", "eu de", "*", "lokal", "LOCAL\xff", "-eu", ",", "e" * 80, "local," * 20)
_PRIORITY = ("interactive", "standard", "batch")
ALL: tuple[EndpointName, ...] = (*ENDPOINTS, *MEDIA, "videos")
WEIGHTS = (160, 20, 20, 10, 10, 5, 9, 9, 3, 3)
"""How many there are of each; a job costs as much as a hundred chats."""
MODELS = {
    **dict.fromkeys(("images/generations", "images/edits"), "painter"),
    **dict.fromkeys(("audio/speech", "audio/transcriptions", "realtime"), "voice"),
    "videos": "studio",
}
BACKGROUND = 0.1
"""Of the pictures: they are jobs too."""
WAIT = "2"
"""Seconds that a job's answer is held: it is over before, by its own deadline."""
DEADLINES = (400, 800, 1500)
PIECE = 200
"""Bytes of an upload that come at once."""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
)
BOUNDARY = "of-a-form"
_CONNECTION = ((b"connection", b"Upgrade"), (b"sec-websocket-version", b"13"))
_HANDSHAKE = (*_CONNECTION, (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="))
Headers = list[tuple[bytes, bytes]]


class Sent(NamedTuple):
    """`pieces` of the body, in which it comes; `settled`: the last of them that has a say in where it goes."""

    ask: Ask
    headers: Headers
    path: str
    body: bytes
    query: str = ""
    method: str = "POST"
    settled: int = 0
    job: bool = False
    streamed: bool = False
    """It comes in pieces."""

    @property
    def pieces(self) -> list[bytes]:
        if not self.streamed:
            return [self.body]
        return [self.body[at : at + PIECE] for at in range(0, len(self.body), PIECE)]


def make_request(rng: Random, nonce: str, films: float = 1.0) -> Sent:
    """`nonce` stands in what it says, by which it is known again wherever it arrives. `films`: times as many jobs."""
    *usual, jobs = WEIGHTS
    endpoint = rng.choices(ALL, (*usual, jobs * films))[0]
    said = mark(nonce)
    texts, headers = [_text(rng) for _ in range(rng.choices((0, 1, 2), (50, 42, 8))[0])], _headers(rng)
    tenant, priority = rng.choice(TENANTS), rng.choices(_PRIORITY, (1, 6, 3))[0]
    headers.append((b"authorization", b"Bearer " + KEYS[tenant].encode()))
    headers += [(b"x-data-residency", text.encode("latin-1")) for text in texts]
    if priority != "standard" or rng.random() < 0.3:
        headers.append((b"x-gateway-priority", priority.encode()))
    model = MODELS.get(endpoint) or rng.choice(TEXTS)
    stream = endpoint not in ("embeddings", "videos") and rng.random() < 0.4
    ask = Ask(model, tenant, (), priority, stream or endpoint == "realtime", endpoint)
    metadata = _metadata(rng, nonce) if endpoint != "realtime" and rng.random() < 0.25 else {}
    if isinstance(demand := metadata.get("data_residency"), str):
        texts.append(demand)
    ask = Ask(model, tenant, tuple(texts), priority, ask.stream, endpoint)
    if endpoint == "realtime":
        return Sent(ask, [*headers, *_HANDSHAKE], "/v1/realtime", b"", f"model={model}&user={said}", "GET")
    if endpoint == "audio/transcriptions":
        return upload_of(rng, ask, headers, said, metadata)
    body = body_of(rng, ask, said, stream) | ({"metadata": metadata} if metadata else {})
    return whole_of(rng, ask, headers, body)


def _headers(rng: Random) -> Headers:
    headers = []
    if rng.random() < 0.1:
        headers.append((b"x-gateway-max-wait-ms", b"5"))
    if rng.random() < 0.2:
        headers.append((b"x-gateway-session", rng.choice((b"one", b"two"))))
    return headers


def _metadata(rng: Random, nonce: str) -> dict[str, Any]:
    return {"user_id": nonce, "data_residency": _text(rng) if rng.random() < 0.7 else None}


def body_of(rng: Random, ask: Ask, said: str, stream: bool) -> dict[str, Any]:
    """`said`: what its nonce stands in."""
    made: dict[str, Any] = {"model": ask.model}
    match ask.endpoint:
        case "images/generations" | "images/edits" | "videos":
            made["prompt"] = said
        case "audio/speech":
            return made | {"input": said, "voice": "alloy"} | ({"stream_format": "sse"} if stream else {})
        case "embeddings":
            made |= {"input": said}
        case "completions":
            made |= {"prompt": said}
        case _:
            made |= {"messages": [{"role": "user", "content": said}]}
    if stream:
        made["stream"] = True
    if ask.endpoint in ENDPOINTS:
        made["max_tokens"] = rng.choice((1, 50, 2000))
        if rng.random() < 0.05:
            made[rng.choice(("service_tier", "store"))] = rng.choice(("priority", True))
    return made


def whole_of(rng: Random, ask: Ask, headers: Headers, body: dict[str, Any]) -> Sent:
    """JSON, or a form where pictures are sent along; and whether it is to be a job."""
    drawn = ask.endpoint.startswith("images/")
    job = ask.endpoint == "videos" or (drawn and not ask.stream and rng.random() < BACKGROUND)
    if job:
        headers = [*headers, (b"x-gateway-deadline-ms", b"%d" % rng.choice(DEADLINES))]
        body |= {"background": True} if drawn else {}
    query = f"wait={WAIT}" if job else ""
    if ask.endpoint != "images/edits":
        raw, kind = json.dumps(body, separators=(",", ":")).encode(), b"application/json"
    else:
        raw, kind = _form(body, [("image", "a.png", PNG)]), _FORM
    return Sent(ask, [*headers, (b"content-type", kind)], f"/v1/{ask.endpoint}", raw, query, job=job)


_FORM = f"multipart/form-data; boundary={BOUNDARY}".encode()


def upload_of(rng: Random, ask: Ask, headers: Headers, said: str, metadata: dict[str, Any]) -> Sent:
    """A form with sound: its fields before the file, so that it passes through, or the model behind it, so that it is
    kept until it is whole. One that comes in one piece may say all behind its file."""
    fields: dict[str, Any] = {"model": ask.model, "prompt": said} | ({"stream": True} if ask.stream else {})
    fields |= {"metadata": metadata} if metadata else {}
    file = [("file", f"{said}.wav", f"{said} ".encode() * rng.choice((1, 40)))]
    streamed, late = rng.random() < 0.6, rng.random() < 0.3
    body = _form({} if late else fields, file, fields if late else {})
    front = len(_form(fields, [(*file[0][:2], b"")]))
    settled = len(body) // PIECE if late else front // PIECE
    pieces = -(-len(body) // PIECE)
    return Sent(
        ask,
        [*headers, (b"content-type", _FORM)],
        f"/v1/{ask.endpoint}",
        body,
        settled=min(settled, pieces - 1) if streamed else 0,
        streamed=streamed,
    )


def _form(fields: dict[str, Any], files: list[tuple[str, str, bytes]], behind: dict[str, Any] | None = None) -> bytes:
    def part(name: str, value: Any) -> bytes:
        text = value if isinstance(value, str) else json.dumps(value)
        return f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()

    made = [part(name, value) for name, value in fields.items()]
    for name, file, data in files:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"; filename="{file}"\r\n'
        made.append(f"{head}content-type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n")
    made += [part(name, value) for name, value in (behind or {}).items()]
    return b"".join(made) + f"--{BOUNDARY}--\r\n".encode()


def _text(rng: Random) -> str:
    if rng.random() < 0.06:
        return rng.choice(ODD)
    words = some_words(rng, rng.choices((1, 2, 3), (8, 2, 1))[0])
    text = rng.choice((",", ", ", " ,\t")).join(words)
    return text.upper() if rng.random() < 0.1 else text

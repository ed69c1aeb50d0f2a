"""Random callers: what each sends, as the oracle reads it and as an ASGI server hands it over."""

from __future__ import annotations

import json
from random import Random
from typing import Any, NamedTuple

from loadtests.residency.oracle import Ask
from loadtests.residency.worlds import ENDPOINTS, KEYS, MODELS, TENANTS, some_words

ODD = ("", "mars", "local,", "local;eu", "eu de", "*", "lokal", "LOCAL\xff", "-eu", ",", "e" * 80, "local," * 20)
_PRIORITY = ("interactive", "standard", "batch")


class Sent(NamedTuple):
    ask: Ask
    headers: list[tuple[bytes, bytes]]
    path: str
    body: bytes


def make_request(rng: Random, nonce: str) -> Sent:
    """`nonce` stands in the body, by which it is known again wherever it arrives."""
    model, tenant = rng.choice(MODELS), rng.choice(TENANTS)
    endpoint = rng.choices(ENDPOINTS, (16, 2, 2, 1))[0]
    stream = endpoint != "embeddings" and rng.random() < 0.4
    priority = rng.choices(_PRIORITY, (1, 6, 3))[0]
    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + KEYS[tenant].encode())]
    texts = [_text(rng) for _ in range(rng.choices((0, 1, 2), (50, 42, 8))[0])]
    headers += [(b"x-data-residency", text.encode("latin-1")) for text in texts]
    if priority != "standard" or rng.random() < 0.3:
        headers.append((b"x-gateway-priority", priority.encode()))
    if rng.random() < 0.1:
        headers.append((b"x-gateway-max-wait-ms", b"5"))
    if rng.random() < 0.2:
        headers.append((b"x-gateway-session", rng.choice((b"one", b"two"))))
    body: dict[str, Any] = {"model": model, "user": nonce, "max_tokens": rng.choice((1, 50, 2000))}
    body |= {"input": "x"} if endpoint == "embeddings" else {"prompt": "x"} if endpoint == "completions" else {}
    body |= {} if endpoint in ("embeddings", "completions") else {"messages": [{"role": "user", "content": "x"}]}
    if stream:
        body["stream"] = True
    if rng.random() < 0.25:
        said = _text(rng) if rng.random() < 0.7 else None
        body["metadata"] = {"user_id": nonce, "data_residency": said}  # becomes `user` where it is translated
        texts += [] if said is None else [said]
    if rng.random() < 0.05:
        body[rng.choice(("service_tier", "store"))] = rng.choice(("priority", True))
    ask = Ask(model, tenant, tuple(texts), priority, stream, endpoint)
    return Sent(ask, headers, f"/v1/{endpoint}", json.dumps(body, separators=(",", ":")).encode())


def _text(rng: Random) -> str:
    if rng.random() < 0.06:
        return rng.choice(ODD)
    words = some_words(rng, rng.choices((1, 2, 3), (8, 2, 1))[0])
    text = rng.choice((",", ", ", " ,\t")).join(words)
    return text.upper() if rng.random() < 0.1 else text

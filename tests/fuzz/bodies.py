"""What the gateway reads out of a request body, checked against the standard library's JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from gateway.edge import body
from gateway.errors import InvalidRequest
from gateway.upstreams.dialects import openai

TARGETS = (body.__file__,)
SEEDS = (
    b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"stream":true}',
    b'{"model":"a","model":"b","n":2,"best_of":3,"stream_options":{"include_usage":true,"x":1}}',
    b'{"mod\\u0065l":"m","prompt":"\\ud83d\\ude00\\n","max_completion_tokens":1,"priority":0,"background":false}',
    b'{"model":"m","previous_response_id":null,"x":[1e9,-0.5,true,false,null,{"y":[]}]}',
)
TOKENS = (
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\q", b"null", b"true", b"false",
    b"0", b"-1", b"1e999", b"1.5", b"01", b"+1", b"99999999999999999999", b"NaN", b"Infinity", b" ", b"\n", b"\t",
    b"\0", b"\x7f", b"\xff", b"\xc3\xa4", b"\xef\xbb\xbf", b"/", b"//", b"[[[[[[[[", b'"model":"x",', b'"n":0,',
    b'"stream":false,', b'"max_tokens":1,', b'"stream_options":null,', b'"conversation":"c",', b'"background":true,',
    b'"service_tier":"auto",', b'"store":true,',
)  # fmt: skip


def check(raw: bytes, cuts: Sequence[int]) -> frozenset[str]:
    """Raises AssertionError where the gateway and the standard library read different things; `cuts` do not matter."""
    try:
        read = body.decode(raw)
    except InvalidRequest as refused:
        return frozenset({re.sub(r"\d+", "#", f"refused {refused.message} {refused.param}")})
    other = json.loads(raw)
    assert read.raw is raw
    assert (read.model, read.stream) == (other["model"], bool(other.get("stream")))
    assert read.include_usage is bool((other.get("stream_options") or {}).get("include_usage"))
    caps = [other[name] for name in ("max_completion_tokens", "max_tokens") if other.get(name) is not None]
    assert read.max_tokens == max(caps, default=None)
    assert read.choices == max(other.get("n") or 1, other.get("best_of") or 1)
    assert {name: json.loads(bytes(value)) for name, value in read.fields.items()} == other
    assert 0 <= read.prompt_bytes <= len(raw)
    sent = json.loads(openai.body(read.fields, "up", stream=False, want_usage=False, removed=read.known))
    assert sent == {**{name: value for name, value in other.items() if name not in read.known}, "model": "up"}
    return frozenset({f"known {read.known}", f"{read.stream} {read.include_usage} {read.max_tokens is None}"})

"""Messages put together from parts that are mostly right, steered by hypothesis towards long conversations."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from tests.fuzz import bodies, inbound, outbound

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

content = st.binary(max_size=12) | st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"])
odd = st.sampled_from([b"", b"", b"", *inbound.TOKENS])
"""Something out of place, once in a while."""
header = st.sampled_from(
    [b"X: a\r\n", b"X:\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X: \t a b\t\r\n"]
)
heads = st.lists(header, max_size=3).map(b"".join)


@st.composite
def framed(draw: st.DrawFn) -> bytes:
    """The end of a head, and a body framed in one of the three ways."""
    body = draw(content)
    match draw(st.integers(0, 2)):
        case 0:
            return b"\r\n"
        case 1:
            return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        case _:
            chunks = draw(st.lists(content.filter(bool), max_size=3))
            sent = b"".join(
                b"%x%b\r\n%b\r\n" % (len(one), draw(st.sampled_from([b"", b";a=b"])), one) for one in chunks
            )
            trailers = draw(st.sampled_from([b"", b"T: 1\r\n"]))
            return b"Transfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n" + trailers + draw(odd) + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = draw(st.sampled_from([b"GET /a", b"POST /b?c=d", b"HEAD /", b"PUT http://h/x"]))
    version = draw(st.sampled_from([b" HTTP/1.1\r\n"] * 6 + [b" HTTP/1.0\r\n"]))
    return line + version + b"Host: h\r\n" + draw(heads) + draw(odd) + draw(framed())


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    early = draw(st.sampled_from([b""] * 4 + [b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n"]))
    line = draw(st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.0 500\r\n"]))
    return early + line + draw(heads) + draw(odd) + draw(framed())


cuts = st.lists(st.integers(1, 400), max_size=5)


@QUICK
@given(st.lists(requests(), min_size=1, max_size=4).map(b"".join), cuts)
def test_requests_mean_one_thing(raw: bytes, cuts: list[int]) -> None:
    inbound.check(raw, cuts)
    target(float(len(inbound.run([raw]).requests)), label="requests served")


@QUICK
@given(st.lists(answers(), min_size=1, max_size=2).map(b"".join), cuts)
def test_answers_mean_one_thing(raw: bytes, cuts: list[int]) -> None:
    outbound.check(raw, cuts)
    outcome = outbound.run([raw])
    target(float(outcome.complete + outcome.reusable + len(outcome.body)), label="answer understood")


json_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(
    ["model", "n", "best_of", "stream", "stream_options", "max_tokens", "messages", "background", "x"]
)


@QUICK
@given(st.lists(st.tuples(fields, json_value), max_size=6), st.booleans())
def test_bodies_mean_one_thing(pairs: list[tuple[str, object]], ascii_only: bool) -> None:
    """Keys may come twice; the last one counts."""
    encode = json.JSONEncoder(ensure_ascii=ascii_only).encode
    raw = "{" + ",".join(f"{encode(name)}:{encode(value)}" for name, value in [("model", "m"), *pairs]) + "}"
    bodies.check(raw.encode(errors="replace"), [])

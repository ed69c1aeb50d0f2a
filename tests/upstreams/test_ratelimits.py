from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Allowance
from gateway.upstreams.ratelimits import LONGEST_RESET_SECONDS, MOST, USUAL_RESET_SECONDS, allowances

NOW = 1_790_000_000.0
"""2026-09-21T14:13:20Z."""

TABLE: list[tuple[str, dict[str, str], list[Allowance]]] = [
    ("nothing", {"content-type": "application/json"}, []),
    (
        "OpenAI",
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [Allowance("requests", 60, 59, 1.0, True), Allowance("tokens", 150_000, 149_984, 360.0, True)],
    ),
    (
        "Anthropic",
        {
            "anthropic-ratelimit-input-tokens-limit": "10000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-09-21T14:13:50Z",
        },
        [Allowance("input-tokens", 10_000, 0, 30.0, True)],
    ),
    (
        "the draft, older",
        {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "30"},
        [Allowance("requests", 100, 50, 30.0, False)],
    ),
    (
        "the draft, newer",
        {"ratelimit-policy": '"default";q=100;w=10', "ratelimit": '"default";r=50;t=5'},
        [Allowance("requests", 100, 50, 5.0, False)],
    ),
    (
        "the first of several policies",
        {"ratelimit-policy": '"day";q=900;w=86400, "burst";q=10;w=1', "ratelimit": '"burst";r=4;t=1, "day";r=800;t=9'},
        [Allowance("requests", 10, 4, 1.0, False)],
    ),
    (
        "a window without its end",
        {"ratelimit-policy": '"a";q=9;w=10', "ratelimit": '"a";r=1'},
        [Allowance("requests", 9, 1, 10.0, False)],
    ),
    ("Azure's limits that are none", {"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "0"}, []),
    ("a limit of nothing", {"x-ratelimit-limit-tokens": "0", "x-ratelimit-remaining-tokens": "0"}, []),
    ("no remaining", {"x-ratelimit-limit-tokens": "9"}, []),
    (
        "no reset",
        {"x-ratelimit-limit-tokens": "9", "x-ratelimit-remaining-tokens": "8"},
        [Allowance("tokens", 9, 8, USUAL_RESET_SECONDS, True)],
    ),
    (
        "more left than there is",
        {
            "x-ratelimit-limit-requests": "9",
            "x-ratelimit-remaining-requests": "12",
            "x-ratelimit-reset-requests": "2s",
        },
        [Allowance("requests", 9, 9, 2.0, True)],
    ),
    (
        "a reset that has passed",
        {
            "anthropic-ratelimit-requests-limit": "9",
            "anthropic-ratelimit-requests-remaining": "1",
            "anthropic-ratelimit-requests-reset": "2020-01-01T00:00:00+00:00",
        },
        [Allowance("requests", 9, 1, 0.0, True)],
    ),
    (
        "the account's other headers",
        {"openai-organization": "org", "x-ratelimit-bypass": "1", "retry-after": "3"},
        [],
    ),
]  # fmt: skip


def told(headers: dict[str, str]) -> list[Allowance]:
    return list(allowances([(name.encode(), value.encode()) for name, value in headers.items()], NOW))


@pytest.mark.parametrize(("headers", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_headers_say(headers: dict[str, str], expected: list[Allowance]) -> None:
    assert told(headers) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("350ms", 0.35),
        ("1s", 1.0),
        ("7.66s", 7.66),
        ("2m59.5s", 179.5),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("12", 12.0),
        ("1m", 60.0),
        ("soon", USUAL_RESET_SECONDS),
        ("", USUAL_RESET_SECONDS),
        ("9999h", LONGEST_RESET_SECONDS),
        (str(int(NOW) + 90), 90.0),  # a date
        (str(int(NOW) - 90), 0.0),
    ],
)
def test_how_long_until_a_reset(text: str, seconds: float) -> None:
    name = "x-ratelimit-{}-requests"
    said = told({name.format("limit"): "10", name.format("remaining"): "5", name.format("reset"): text})
    assert said[0].resets == pytest.approx(seconds)


NAMES = [
    *("ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
    *(f"x-ratelimit-{word}-requests" for word in ("limit", "remaining", "reset")),
    *(f"anthropic-ratelimit-tokens-{word}" for word in ("limit", "remaining", "reset")),
]
VALUES = st.sampled_from([b"10", b"-1", b"1e9", b'"p";q=5;w=9', b'"p";r=5;t=9', b"1m0s", b"2026-01-01T00:00:00Z", b"0"])


@given(st.lists(st.tuples(st.sampled_from(NAMES).map(str.encode), VALUES | st.binary(max_size=40)), max_size=12))
def test_whatever_an_api_says_is_sane_or_left_out(headers: list[tuple[bytes, bytes]]) -> None:
    for one in allowances(headers, NOW):
        assert 0 < one.limit <= MOST
        assert 0 <= one.remaining <= one.limit
        assert 0 <= one.resets <= LONGEST_RESET_SECONDS

"""What statuses and error bodies of upstreams mean, and what may be sent again."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    BadAnswer,
    ConnectFailed,
    PermitRefused,
    Refused,
    Reset,
    UpstreamFault,
    UpstreamTimeout,
)
from gateway.upstreams.answers import Meaning, error_code, meaning, refusal, retry_after, retryable


@pytest.mark.parametrize(
    ("statuses", "what"),
    [
        ((200, 201, 204), "answer"),
        ((400, 404, 405, 409, 413, 415, 422), "answer"),
        ((401, 402, 403, 407), "account"),
        ((429, 503, 529), "busy"),
        ((408, 500, 501, 502, 504, 520, 599), "failed"),
        ((300, 301, 302, 303, 304, 307, 308), "failed"),
    ],
)
def test_meanings(statuses: tuple[int, ...], what: Meaning) -> None:
    assert {meaning(status) for status in statuses} == {what}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "insufficient_quota", "type": "x", "message": "m", "param": None}}, "insufficient_quota"),
        ({"error": {"code": None, "type": "insufficient_quota"}}, "insufficient_quota"),
        ({"error": {"code": 429, "type": "BadRequestError"}}, "BadRequestError"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, "overloaded_error"),
        ({"error": {}}, ""),
        ({"error": "text"}, ""),
        ({"error": None}, ""),
        ({"detail": "Not Found"}, ""),
        ([], ""),
        ("text", ""),
    ],
)
def test_the_code_of_an_error_body(body: object, code: str) -> None:
    assert error_code(json.dumps(body).encode()) == code


@given(st.binary(max_size=100))
def test_any_body_has_a_code_or_none(body: bytes) -> None:
    assert isinstance(error_code(body), str)


def error(code: str) -> bytes:
    return json.dumps({"error": {"message": "your prompt was: secret", "type": "t", "code": code}}).encode()


@pytest.mark.parametrize(
    ("status", "code", "account"),
    [
        (401, "invalid_api_key", True),
        (402, "credit_balance_exhausted", True),
        (403, "", True),
        (429, "insufficient_quota", True),
        (429, "organization_spend_limit_exceeded", True),
        (429, "rate_limit_exceeded", False),
        (503, "server_is_overloaded", False),
        (500, "", False),
    ],
)
def test_a_refusal_says_whether_it_is_about_our_account_and_quotes_nothing(
    status: int, code: str, account: bool
) -> None:
    fault = refusal(status, [(b"retry-after", b"7")], error(code))
    assert (fault.status, fault.code, fault.account, fault.retry_after) == (status, code, account, 7.0)
    assert str(status) in fault.message
    assert "secret" not in fault.message


def test_a_code_that_is_a_text_is_not_shown() -> None:
    assert refusal(500, [], error("tell them <b>this</b>")).message == "answered 500"


@pytest.mark.parametrize(
    ("fault", "managed"),
    [
        (ConnectFailed("refused"), True),
        (PermitRefused("elsewhere"), True),
        (UpstreamTimeout("connect", 1, processed=False), True),
        (Reset("ended before anything was sent", processed=False), True),
        (Refused(429, "busy"), True),
        (Refused(529, "busy"), True),
        (Refused(503, "busy", code="server_is_overloaded"), True),
        (Refused(503, "busy", code="slow_down"), True),
        (Refused(401, "key", account=True), True),
        (Refused(503, "busy"), False),
        (Refused(500, "failed"), False),
        (Reset("ended"), False),
        (UpstreamTimeout("first_byte", 1), False),
        (UpstreamTimeout("total", 1), False),
        (BadAnswer("odd"), False),
    ],
    ids=lambda value: value.message if isinstance(value, UpstreamFault) else "",
)
def test_what_may_be_sent_again(fault: UpstreamFault, managed: bool) -> None:
    assert retryable("local", fault)
    assert retryable("managed", fault) is managed


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({b"retry-after": b"3"}, 3.0),
        ({b"retry-after": b"0.5"}, 0.5),
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, 1.5),
        ({b"retry-after": b"86400"}, 120.0),
        ({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b""}, None),
        ({b"retry-after": b"-5"}, None),
        ({b"retry-after-ms": b"x"}, None),
        ({b"retry-after-ms": b"nan"}, None),
        ({b"retry-after-ms": b"inf"}, None),
    ],
    ids=str,
)
def test_retry_after(headers: dict[bytes, bytes], seconds: float | None) -> None:
    assert retry_after(list(headers.items())) == seconds


def test_retry_after_as_a_date() -> None:
    said = retry_after([(b"retry-after", formatdate(time.time() + 30, usegmt=True).encode())])
    assert said == pytest.approx(30, abs=2)


@given(st.binary(max_size=40))
def test_any_retry_after_is_a_bounded_number_or_none(raw: bytes) -> None:
    for name in (b"retry-after", b"retry-after-ms"):
        seconds = retry_after([(name, raw)])
        assert seconds is None or 0 <= seconds <= 120

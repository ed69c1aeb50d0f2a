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
from gateway.model import Kind
from gateway.upstreams.answers import (
    Meaning,
    about_content,
    busy,
    disguised,
    error_code,
    meaning,
    refusal,
    retry_after,
    retryable,
    unpaid,
)


@pytest.mark.parametrize(
    ("statuses", "what"),
    [
        ((200, 201, 204), "answer"),
        ((400, 404, 405, 409, 413, 415, 422, 501), "answer"),
        ((401, 402, 403, 407), "account"),
        ((429, 503, 529), "busy"),
        ((408, 424, 500, 502, 504, 520, 599), "failed"),
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
        (
            {"error": {"type": "invalid_request_error", "details": {"error_code": "enforced_spend_limit_reached"}}},
            "enforced_spend_limit_reached",
        ),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": []}}, "RESOURCE_EXHAUSTED"),
        ({"code": "Arrearage", "message": "m", "request_id": "r"}, "Arrearage"),
        ({"detail": {"status": "quota_exceeded", "message": "m"}}, "quota_exceeded"),
        ({"detail": "m", "error_type": "request_timeout"}, "request_timeout"),
        ({"base_resp": {"status_code": 1008, "status_msg": "m"}}, "base_resp_1008"),
        ({"base_resp": {"status_code": 0}}, ""),
        ({"error": {"code": ["odd"]}}, ""),
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


@pytest.mark.parametrize(
    ("status", "code", "account"),
    [
        (400, "Arrearage", True),
        (400, "enforced_spend_limit_reached", True),
        (404, "insufficient_quota", True),
        (400, "context_length_exceeded", None),
        (400, "content_filter", None),  # passed on: it is the caller's, and looks like it
        (200, "base_resp_1008", True),
        (200, "base_resp_1002", False),
    ],
)
def test_what_looks_like_an_answer(status: int, code: str, account: bool | None) -> None:
    base = {"base_resp": {"status_code": int(code[-4:])}} if code.startswith("base_resp") else {"code": code}
    fault = disguised(status, [], json.dumps(base).encode())
    assert (fault.account if isinstance(fault, Refused) else fault) == account


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"choices":', b"<html>", b"{" * 5000])
def test_a_success_without_an_answer_is_none(body: bytes) -> None:
    assert isinstance(disguised(200, [], body), BadAnswer)
    assert disguised(400, [], body) is None


@pytest.mark.parametrize("key", ["choices", "data", "content", "output"])
def test_a_success_with_one_is(key: str) -> None:
    assert disguised(200, [], json.dumps({key: []}).encode()) is None


@pytest.mark.parametrize(
    ("kind", "fault", "full"),
    [
        ("local", Refused(503, "x"), True),
        ("local", Refused(429, "x"), True),
        ("local", Refused(500, "x"), False),
        ("local", Refused(429, "x", account=True), False),
        ("managed", Refused(503, "x"), False),
    ],
)
def test_a_full_queue_of_our_own_is_no_failure(kind: Kind, fault: Refused, full: bool) -> None:
    assert busy(kind, fault) is full


def test_refused_content_is_nobodys_failure_and_sent_nowhere_else() -> None:
    fault = refusal(500, [], error("content_filter"))
    assert about_content(fault)
    assert not retryable("local", fault)
    assert not refusal(403, [], error("content_policy_violation")).account


@pytest.mark.parametrize(
    ("status", "code", "nothing_charged"),
    [
        (403, "content_policy_violation", True),
        (400, "content_filter", True),
        (500, "content_filter", False),  # it may have looked at what it wrote
        (200, "content_filter", False),
        (429, "", True),
        (500, "", False),
        (424, "", False),
    ],
)
def test_a_refusal_is_not_charged_and_a_failure_may_be(status: int, code: str, nothing_charged: bool) -> None:
    assert unpaid(refusal(status, [], error(code))) is nothing_charged


def test_google_says_in_the_body_how_long_to_wait() -> None:
    details = [{"@type": "x/QuotaFailure"}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]
    body = json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}).encode()
    assert refusal(429, [], body).retry_after == 17.0
    assert refusal(429, [(b"retry-after", b"3")], body).retry_after == 3.0, "the header is meant for us"
    assert refusal(429, [], body.replace(b"17s", b"17 s")).retry_after is None
    assert refusal(429, [], body.replace(b"17s", b"999999s")).retry_after == 120.0


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

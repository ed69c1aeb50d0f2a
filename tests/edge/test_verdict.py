"""What the client is told after the last attempt."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.edge.verdict import RETRY_AFTER_SECONDS, passed, verdict
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

TABLE: list[tuple[Kind, UpstreamFault, int, str, int | None, bool | None]] = [
    # our own workers: whoever asks again may be served
    ("local", Reset("ended"), 502, "upstream_error", None, None),
    ("local", BadAnswer("no HTTP"), 502, "upstream_error", None, None),
    ("local", UpstreamTimeout("first_byte", 1), 502, "upstream_error", None, None),
    ("local", Refused(500, "answered 500"), 502, "upstream_error", None, None),
    ("local", Refused(404, "has no model", code="model_not_found"), 503, "no_capacity", RETRY_AFTER_SECONDS, None),
    ("local", Refused(503, "answered 503"), 503, "no_capacity", RETRY_AFTER_SECONDS, None),
    ("local", Refused(429, "answered 429", retry_after=2.1), 429, "fleet_saturated", 3, None),
    ("local", ConnectFailed("refused"), 503, "no_capacity", RETRY_AFTER_SECONDS, None),
    ("local", PermitRefused("elsewhere"), 503, "no_capacity", RETRY_AFTER_SECONDS, None),
    # a bought API: what may have been charged must not be repeated
    ("managed", Reset("ended"), 502, "upstream_error", None, False),
    ("managed", BadAnswer("no HTTP"), 502, "upstream_error", None, False),
    ("managed", UpstreamTimeout("first_byte", 1), 502, "upstream_error", None, False),
    ("managed", Refused(500, "answered 500"), 502, "upstream_error", None, False),
    ("managed", Refused(503, "answered 503"), 503, "no_capacity", RETRY_AFTER_SECONDS, False),
    ("managed", Refused(503, "overloaded", code="slow_down"), 503, "no_capacity", RETRY_AFTER_SECONDS, None),
    ("managed", Refused(529, "overloaded", retry_after=9), 503, "no_capacity", 9, None),
    ("managed", Refused(429, "answered 429", retry_after=0.2), 429, "fleet_saturated", 1, None),
    ("managed", Refused(429, "no credit", account=True), 502, "upstream_error", None, None),
    ("managed", Refused(401, "our key", account=True), 502, "upstream_error", None, None),
    ("managed", ConnectFailed("refused"), 503, "no_capacity", RETRY_AFTER_SECONDS, None),
    ("managed", UpstreamTimeout("connect", 1, processed=False), 503, "no_capacity", RETRY_AFTER_SECONDS, None),
]


@pytest.mark.parametrize(
    ("kind", "fault", "status", "code", "after", "again"), TABLE, ids=[f"{row[0]} {row[1].message}" for row in TABLE]
)
def test_table(kind: Kind, fault: UpstreamFault, status: int, code: str, after: int | None, again: Any) -> None:
    error = verdict([("h100-1", Reset("ended")), ("last", fault)], kind, None)
    assert (error.status, error.code, error.retry_after, error.retry) == (status, code, after, again)
    assert error.message == f"tried h100-1: ended; last: {fault.message}"


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_an_order_that_fails_for_what_was_asked_is_its_callers(status: int) -> None:
    error = verdict([("api", Refused(status, "refused", code="invalid_request"))], "managed", None)
    assert (error.status, error.code) == (400, "invalid_request")
    assert error.message == "what was asked for was refused: tried api: refused"


@pytest.mark.parametrize(("kind", "again"), [("local", None), ("managed", False)])
def test_a_timeout_at_the_callers_deadline_is_the_deadlines(kind: Kind, again: bool | None) -> None:
    fault = UpstreamTimeout("total", 0.1)
    error = verdict([("w", fault)], kind, time.monotonic() - 0.001)
    assert (error.status, error.code, error.retry) == (504, "deadline_exceeded", again)
    assert verdict([("w", fault)], kind, time.monotonic() + 5).status == 502
    assert verdict([("w", Reset("ended"))], kind, time.monotonic() - 1).status == 502


def test_a_deadline_counts_as_passed_when_the_loops_clock_says_so() -> None:
    now = time.monotonic()
    assert passed(now)
    assert passed(now + 0.005), "the loop's clock may be that far behind"
    assert not passed(now + 1)
    assert not passed(None)

"""One call's headers: the caller's id, numbers, class and residency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.calls import MAX_CLIENT_ID, Call, new_call
from gateway.errors import InvalidRequest


def call(*headers: tuple[bytes, bytes]) -> Call:
    return new_call({"path": "/v1/models", "headers": list(headers), "client": ("127.0.0.1", 1)})


def test_ids_are_ours_and_never_the_same() -> None:
    made = {call((b"x-request-id", b"mine")).id for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in made)


@given(st.binary(max_size=MAX_CLIENT_ID + 2))
def test_only_a_short_printable_client_id_is_kept(raw: bytes) -> None:
    kept = call((b"x-request-id", raw)).client_id
    fine = 0 < len(raw) <= MAX_CLIENT_ID and all(0x20 <= byte < 0x7F for byte in raw)
    assert kept == (raw.decode() if fine else None)


def test_without_headers() -> None:
    made = call()
    assert (made.client_id, made.residency, made.priority()) == (None, None, "standard")
    assert made.milliseconds(b"x-gateway-max-wait-ms") is None


@pytest.mark.parametrize(
    ("raw", "seconds"), [(b"0", 0.0), (b"1500", 1.5), (b"0.5", 0.0005), (b"1e3", 1.0), (b" 20 ", 0.02)]
)
def test_milliseconds_become_seconds(raw: bytes, seconds: float) -> None:
    made = call((b"x-gateway-max-wait-ms", raw))
    assert made.milliseconds(b"x-gateway-max-wait-ms") == pytest.approx(seconds)


@pytest.mark.parametrize("raw", [b"", b"-1", b"soon", b"nan", b"inf", b"-inf", b"1e999", b"1,5", b"0x10", b"\xff"])
def test_what_is_no_number_of_0_or_more_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        call((b"x-gateway-max-cost-usd", raw)).number(b"x-gateway-max-cost-usd")
    assert refused.value.param == "X-Gateway-Max-Cost-Usd"


@pytest.mark.parametrize("raw", [b"interactive", b"INTERACTIVE", b" interactive "])
def test_priority_in_any_spelling(raw: bytes) -> None:
    assert call((b"x-gateway-priority", raw)).priority() == "interactive"


@pytest.mark.parametrize("raw", [b"", b"high", b"1", b"interactive,batch"])
def test_an_unknown_priority_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        call((b"x-gateway-priority", raw)).priority()


def test_the_first_header_of_a_name_counts_but_every_residency_does() -> None:
    made = call(
        (b"x-gateway-priority", b"batch"),
        (b"x-data-residency", b"eu"),
        (b"x-gateway-priority", b"interactive"),
        (b"x-data-residency", b"local"),
    )
    assert made.priority() == "batch"
    assert made.residency == "eu,local"


def test_an_empty_residency_is_a_demand_not_none() -> None:
    assert call((b"x-data-residency", b"")).residency == ""


def test_a_call_shows_no_header_in_its_repr() -> None:
    assert "secret" not in repr(call((b"authorization", b"Bearer secret"), (b"x-request-id", b"secret")))


def test_a_header_as_text() -> None:
    made = call((b"x-team", b"caf\xe9"))
    assert (made.text("x-team"), made.text("x-other")) == ("café", None)

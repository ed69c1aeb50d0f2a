"""Which requests are traced, and what is passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.context import Sampling

ID, TRACE, CALLER = "f" * 32, "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
ids = st.integers(1, (1 << 128) - 1).map(lambda number: f"{number:032x}")


def headers(parent: str, state: str | None = None) -> dict[bytes, bytes]:
    made = {b"traceparent": parent.encode("latin-1")}
    return made if state is None else made | {b"tracestate": state.encode("latin-1")}


def test_with_nothing_to_record_a_callers_context_is_passed_on_as_it_came() -> None:
    off = Sampling(1.0, on=False)
    assert off.begin(ID, {}) is None
    for parent in (SAMPLED, UNSAMPLED):
        trace = off.begin(ID, headers(parent, "a=b"))
        assert trace is not None
        assert (trace.span, trace.state, trace.header("1" * 16)) == (None, "a=b", parent)


@pytest.mark.parametrize(
    ("ratio", "follow", "parent", "recorded"),
    [  # of a caller that was let in
        (0.0, True, SAMPLED, True),
        (1.0, True, UNSAMPLED, False),
        (0.0, False, SAMPLED, False),
        (1.0, False, UNSAMPLED, True),
        (1.0, True, None, True),
        (0.0, True, None, False),
    ],
)
def test_a_callers_word_comes_before_the_ratio(ratio: float, follow: bool, parent: str | None, recorded: bool) -> None:
    sampling = Sampling(ratio, follow=follow, on=True)
    trace = sampling.let_in(sampling.begin(ID, {} if parent is None else headers(parent)), "acme")
    assert trace is not None
    assert (trace.span is not None) is recorded
    up = trace.header("1" * 16)
    assert up.split("-")[1] == (ID if parent is None else TRACE)
    if recorded:
        assert up.endswith(f"{'1' * 16}-01")
    elif parent is not None:
        assert up == parent
    else:
        assert up == f"00-{ID}-{'1' * 16}-00", "who is asked does not begin a trace of its own"


@given(ids, st.floats(0, 1))
def test_the_draw_is_by_the_id_alone(id: str, ratio: float) -> None:
    first, second = (Sampling(ratio, on=True).begin(id, {}) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.span is None) == (second.span is None) == (int(id[16:], 16) >= round(ratio * 2**64))


@given(ids, ids, st.floats(0, 1), st.booleans())
def test_a_stranger_can_force_nothing(id: str, theirs: str, ratio: float, follow: bool) -> None:
    """Neither by the flag nor by the id of the trace: both are of its own choosing."""
    sampling = Sampling(ratio, follow=follow, on=True)
    trace = sampling.begin(id, headers(f"00-{theirs}-{CALLER}-01"))
    assert trace is not None
    assert (trace.span is not None) is (int(id[16:], 16) < round(ratio * 2**64))


def test_each_tenant_may_ask_for_so_many_traces_a_second() -> None:
    now, unfollowed = 7.0, 0

    def one_more() -> None:
        nonlocal unfollowed
        unfollowed += 1

    sampling = Sampling(on=True, most=3, clock=lambda: now)
    sampling.unfollowed = one_more

    def recorded(tenant: str) -> int:
        begun = [sampling.let_in(sampling.begin(ID, headers(SAMPLED)), tenant) for _ in range(5)]
        assert all(trace is not None and trace.header("1" * 16).startswith(f"00-{TRACE}") for trace in begun)
        return sum(trace is not None and trace.span is not None for trace in begun)

    assert [recorded("acme"), recorded("acme"), recorded("other")] == [3, 0, 3]
    assert unfollowed == 2 + 5 + 2
    now = 8.1
    assert recorded("acme") == 3
    untraced = sampling.let_in(sampling.begin(ID, headers(UNSAMPLED)), "acme")
    assert untraced is not None
    assert (untraced.span, unfollowed) == (None, 2 + 5 + 2 + 2), "who asks for nothing is not counted"


def test_who_is_drawn_already_does_not_count() -> None:
    sampling = Sampling(1.0, on=True, most=0)
    trace = sampling.begin(ID, headers(SAMPLED))
    assert trace is not None
    assert trace.span is not None
    assert sampling.let_in(trace, "acme") is trace
    assert sampling.let_in(None, "acme") is None


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00-xyz",
        SAMPLED.upper(),
        SAMPLED + "0",
        "ff" + SAMPLED[2:],
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_a_malformed_context_is_none(parent: str) -> None:
    assert Sampling(on=False).begin(ID, headers(parent)) is None
    trace = Sampling(1.0, on=True).begin(ID, headers(parent, "a=b"))
    assert trace is not None
    assert (trace.id, trace.parent, trace.state) == (ID, None, None)


@pytest.mark.parametrize("state", ["x" * 513, "a=\x01", "caf\u00e9=1", ""])
def test_a_state_that_may_not_be_sent_is_dropped(state: str) -> None:
    trace = Sampling(1.0, on=True).begin(ID, headers(SAMPLED, state))
    assert trace is not None
    assert trace.state is None

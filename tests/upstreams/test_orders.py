"""The driver of orders, against a desk that answers by a script: no socket, no clock, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadAnswer, ConnectFailed, OrderLost, Refused, Reset, UpstreamFault, UpstreamTimeout
from gateway.model import Kind, MediaAsk, Speed, Upstream
from gateway.upstreams import answers
from gateway.upstreams.codes import STUCK_IN_QUEUE
from gateway.upstreams.dialects.ordering import Answer, Call, Dialect, Order, Piece, Told
from gateway.upstreams.orders import SETTLE_SECONDS, Clock, NotTaken, Patience, Unlogged, fill, look_for

ORDER = Order(endpoint="videos", model="wan", ask=MediaAsk(), prompt="a cat")
DONE = Told(state="succeeded", pieces=(Piece("video/mp4", data=b"film"),))
QUEUED, RUNNING = Told(state="queued"), Told(state="running")
Step = Told | UpstreamFault
"""What comes back for a call: what its answer tells, or the fault instead of it."""


def upstream(kind: Kind = "local") -> Upstream:
    return Upstream("w", "b", kind, "http://h:1", "openai", "z", (), Speed(1, 1, 1), 1, 1)


@dataclass(slots=True)
class Scripted:
    """A dialect and a desk at once: each call takes the next step of its own script; the last one repeats."""

    looks: Sequence[Step] = (DONE,)
    placed: Step | Answer = field(default_factory=lambda: replace(QUEUED, ticket="t-1"))
    listed: Step | str | None = "no list"
    stopped: int | UpstreamFault | None = 200
    """What a cancel is answered with; None: there is no such call."""
    calls: list[str] = field(default_factory=list)
    name: str = "scripted"
    hosts: tuple[str, ...] = ()
    poll_seconds: float = 1.0

    async def call(self, call: Call, *, silence: float | None = None, grace: float = 0.0) -> Answer:
        self.calls.append(call.path)
        if call.path == "submit" and isinstance(self.placed, Answer):
            return self.placed
        step = self.stopped if call.path.startswith("cancel") else self._step(call.path)
        if isinstance(step, UpstreamFault):
            raise step
        return Answer(step if isinstance(step, int) else 200, (), b"")

    def _step(self, path: str) -> Step | str | None:
        if path == "submit":
            return self.placed if not isinstance(self.placed, Answer) else None
        if path.startswith("poll"):
            return self.looks[min(self.looked, len(self.looks)) - 1]
        return self.listed if path == "list" else None

    @property
    def looked(self) -> int:
        return sum(path.startswith("poll") for path in self.calls)

    def submit(self, upstream: Upstream, order: Order) -> Call:
        return Call("POST", "submit")

    def submitted(self, order: Order, answer: Answer) -> Told:
        if answer.status >= 400:
            raise answers.refusal(answer.status, [], answer.body)
        assert isinstance(self.placed, Told)
        return self.placed

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return Call("GET", f"poll {ticket}")

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        told = self._step("poll")
        assert isinstance(told, Told)
        return told

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return None if self.stopped is None else Call("DELETE", f"cancel {ticket}")

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None if self.listed == "no list" else Call("GET", "list")

    def found(self, order: Order, answer: Answer) -> Told | None:
        assert not isinstance(self.listed, str | UpstreamFault)
        return self.listed


@dataclass(slots=True)
class Ticking:
    """A clock that moves as somebody sleeps."""

    at: float = 0.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


@dataclass(slots=True)
class Written(Unlogged):
    resumable: bool = False
    lines: list[str] = field(default_factory=list)

    async def intent(self) -> None:
        self.lines.append("intent")

    async def ticket(self, text: str) -> None:
        self.lines.append(text)

    async def progress(self, percent: int) -> None:
        self.lines.append(f"{percent} %")


async def run(
    script: Scripted,
    *,
    kind: Kind = "local",
    ticket: str | None = None,
    log: Written | None = None,
    until: float = 900.0,
    queued: float | None = 60.0,
    ticking: Ticking | None = None,
) -> Told:
    dialect: Dialect = script
    time = ticking or Ticking()
    return await fill(
        script,
        dialect,
        upstream(kind),
        ORDER,
        patience=Patience(until=until, queued=queued, trouble=30.0),
        ticket=ticket,
        log=log or Written(),
        clock=Clock(time.now, time.sleep, lambda: 0.5),
    )


async def test_it_is_placed_looked_at_and_written_down() -> None:
    log, script = Written(), Scripted([QUEUED, replace(RUNNING, percent=40), replace(RUNNING, percent=40), DONE])
    assert await run(script, log=log) is DONE
    assert script.calls == ["submit", *["poll t-1"] * 4]
    assert log.lines == ["intent", "t-1", "40 %"]


async def test_an_answer_to_the_submit_may_be_the_end() -> None:
    script = Scripted(placed=DONE)
    assert await run(script) is DONE
    assert script.calls == ["submit"]


async def test_a_ticket_is_gone_on_with_and_nothing_is_submitted() -> None:
    log, script = Written(), Scripted()
    assert await run(script, ticket="t-9", log=log) is DONE
    assert (script.calls, log.lines) == (["poll t-9"], [])


async def test_a_ticket_that_changes_is_written_down_and_used() -> None:
    log, script = Written(), Scripted([replace(RUNNING, ticket="t-2"), DONE])
    await run(script, log=log)
    assert script.calls == ["submit", "poll t-1", "poll t-2"]
    assert log.lines == ["intent", "t-1", "t-2"]


async def test_waits_grow_gently_and_heed_what_the_upstream_says() -> None:
    ticking, script = Ticking(), Scripted([RUNNING, RUNNING, replace(RUNNING, after=9.0), DONE])
    await run(script, ticking=ticking)
    assert ticking.at == pytest.approx(1 + 1.25 + 1.25**2 + 9)


@pytest.mark.parametrize(
    "trouble", [Reset("gone"), ConnectFailed("nobody"), Refused(503, "x"), Refused(429, "x"), BadAnswer("html")]
)
async def test_a_look_that_fails_is_repeated_there(trouble: UpstreamFault) -> None:
    script = Scripted([trouble, trouble, DONE])
    assert await run(script, kind="managed") is DONE
    assert script.calls == ["submit", *["poll t-1"] * 3]


async def test_a_429_is_waited_out_as_it_says() -> None:
    ticking = Ticking()
    await run(Scripted([Refused(429, "busy", retry_after=17.0), DONE]), ticking=ticking)
    assert ticking.at == pytest.approx(1 + 17)


@pytest.mark.parametrize("trouble", [Reset("gone"), ConnectFailed("nobody"), Refused(429, "x"), Refused(401, "x")])
async def test_a_placed_order_that_cannot_be_looked_at_is_lost_and_never_bought_again(trouble: UpstreamFault) -> None:
    """The faults themselves would say that nothing was done."""
    ticking = Ticking()
    with pytest.raises(OrderLost) as lost:
        await run(Scripted([trouble]), kind="managed", ticking=ticking)
    assert not answers.retryable("managed", lost.value)
    assert not answers.unpaid(lost.value)
    assert answers.retryable("local", lost.value)
    assert 30 <= ticking.at < 60


async def test_a_worker_that_does_not_know_the_job_is_not_asked_again() -> None:
    script = Scripted([RUNNING, Refused(404, "unknown", code="job_lost")])
    with pytest.raises(OrderLost) as lost:
        await run(script)
    assert (lost.value.code, script.looked) == ("job_lost", 2)


async def test_a_failed_order_raises_what_its_upstream_said() -> None:
    fault = Refused(400, "refused", code="content_policy_violation")
    with pytest.raises(Refused) as refused:
        await run(Scripted([Told(state="failed", fault=fault)]))
    assert refused.value is fault


@pytest.mark.parametrize("state", ["cancelled", "expired", "failed"])
async def test_an_end_without_a_reason_is_lost(state: str) -> None:
    with pytest.raises(OrderLost, match=state):
        await run(Scripted([Told(state=state)]))  # type: ignore[arg-type]


async def test_what_nobody_begins_is_taken_back_and_may_go_elsewhere() -> None:
    ticking, script = Ticking(), Scripted([QUEUED])
    with pytest.raises(Refused) as stuck:
        await run(script, kind="managed", ticking=ticking)
    assert stuck.value.code == STUCK_IN_QUEUE
    assert script.calls[-2:] == ["cancel t-1", "poll t-1"]
    assert answers.retryable("managed", stuck.value)
    assert answers.unpaid(stuck.value)
    assert 60 <= ticking.at < 66


@pytest.mark.parametrize("stopped", [None, 404, 500, Reset("gone")], ids=["no such call", "404", "500", "lost"])
async def test_what_is_not_surely_taken_back_is_not_bought_again(stopped: int | UpstreamFault | None) -> None:
    """It may be begun any time, and would be paid for beside what another one makes."""
    ticking, script = Ticking(), Scripted([*[QUEUED] * 60, DONE], stopped=stopped)
    assert await run(script, kind="managed", ticking=ticking) is DONE
    assert ticking.at > 2 * 60, "longer than anybody waits for what can be taken back"
    at_home = Scripted([QUEUED], stopped=stopped)
    with pytest.raises(Refused):
        await run(at_home)


@pytest.mark.parametrize("seen", [Told(state="cancelled"), Told(state="expired")])
async def test_what_its_upstream_says_is_over_may_go_elsewhere(seen: Told) -> None:
    class Over(Scripted):
        def _step(self, path: str) -> Step | str | None:
            over = path.startswith("poll") and "cancel t-1" in self.calls
            return seen if over else super()._step(path)

    with pytest.raises(Refused) as stuck:
        await run(Over([QUEUED], stopped=500), kind="managed")
    assert stuck.value.code == STUCK_IN_QUEUE


async def test_content_that_a_look_refuses_keeps_its_meaning() -> None:
    refusal = Refused(400, "refused", code="base_resp_1026")
    with pytest.raises(Refused) as refused:
        await run(Scripted([RUNNING, refusal]), kind="managed")
    assert refused.value is refusal


async def test_what_begins_just_as_it_is_given_up_is_kept() -> None:
    class Late(Scripted):
        def _step(self, path: str) -> Step | str | None:
            if path.startswith("poll"):
                return (RUNNING if self.calls[-2] == "cancel t-1" else DONE) if "cancel t-1" in self.calls else QUEUED
            return super()._step(path)

    script = Late()
    assert await run(script) is DONE
    assert script.calls[-3:] == ["cancel t-1", "poll t-1", "poll t-1"]


async def test_progress_in_the_queue_is_a_sign_of_life() -> None:
    looks = [replace(QUEUED, percent=percent) for percent in range(1, 60)]
    assert await run(Scripted([*looks, DONE]), queued=10.0) is DONE


async def test_the_whole_has_an_end_and_the_order_is_taken_back() -> None:
    ticking, script = Ticking(), Scripted([RUNNING])
    with pytest.raises(UpstreamTimeout) as late:
        await run(script, until=50.0, ticking=ticking)
    assert (late.value.phase, late.value.processed, script.calls[-1]) == ("total", True, "cancel t-1")
    assert ticking.at == pytest.approx(50.0)


def test_a_refusal_of_what_is_asked_is_the_callers() -> None:
    script = Scripted(placed=Answer(400, (), b'{"error": {"message": "no such size"}}'))
    with pytest.raises(NotTaken) as refused:
        asyncio.run(run(script))
    assert refused.value.answer.status == 400


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b""),
        (429, b""),
        (503, b""),
        (500, b""),
        (400, b'{"error": {"code": "insufficient_quota"}}'),
        (400, b'{"error": {"code": "content_policy_violation"}}'),
    ],
)
async def test_a_refusal_about_us_or_the_content_is_a_fault(status: int, body: bytes) -> None:
    with pytest.raises(Refused):
        await run(Scripted(placed=Answer(status, (), body)), kind="managed")


class TestALostSubmit:
    async def test_is_not_repeated_and_may_go_elsewhere_at_home_alone(self) -> None:
        script = Scripted(placed=Reset("gone"))
        with pytest.raises(Reset) as fault:
            await run(script, kind="managed")
        assert script.calls == ["submit"]
        assert answers.retryable("local", fault.value)
        assert not answers.retryable("managed", fault.value)

    async def test_is_looked_for_where_there_is_a_list(self) -> None:
        script = Scripted(placed=Reset("gone"), listed=replace(RUNNING, ticket="t-7"))
        assert await run(script, kind="managed") is DONE
        assert script.calls == ["submit", "list", "poll t-7"]

    async def test_that_is_not_in_the_list_for_a_while_may_be_sent_elsewhere(self) -> None:
        script, ticking = Scripted(placed=Reset("gone"), listed=None), Ticking()
        with pytest.raises(Reset) as fault:
            await run(script, kind="managed", ticking=ticking)
        assert answers.retryable("managed", fault.value)
        assert (ticking.at, script.calls) == (SETTLE_SECONDS, ["submit", *["list"] * 6])

    async def test_is_found_in_a_list_that_lags(self) -> None:
        @dataclass(slots=True)
        class Lagging(Scripted):
            def found(self, order: Order, answer: Answer) -> Told | None:
                return replace(RUNNING, ticket="t-7") if self.calls.count("list") > 3 else None

        script = Lagging(placed=Reset("gone"), listed=None)
        assert await run(script, kind="managed") is DONE
        assert (script.calls.count("submit"), script.calls[-1]) == (1, "poll t-7")

    async def test_of_which_the_list_tells_nothing_is_lost(self) -> None:
        script = Scripted(placed=Reset("gone"), listed=Reset("gone too"))
        with pytest.raises(OrderLost) as fault:
            await run(script, kind="managed")
        assert not answers.retryable("managed", fault.value)

    async def test_can_be_looked_for_later(self) -> None:
        script = Scripted(listed=None)
        assert await look_for(script, script, upstream("managed"), ORDER) is None
        with pytest.raises(OrderLost):
            await look_for(Scripted(), Scripted(), upstream("managed"), ORDER)


async def _called(script: Scripted, path: str) -> None:
    for _ in range(100):
        if any(each.startswith(path) for each in script.calls):
            return
        await asyncio.sleep(0)
    raise AssertionError(f"never called: {path}")


class TestACallerWhoLeaves:
    async def _left(self, script: Scripted, log: Written, *, after: str) -> None:
        task = asyncio.ensure_future(run(script, log=log))
        await _called(script, after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_takes_the_order_back(self) -> None:
        script = Scripted([RUNNING])
        await self._left(script, Written(), after="poll")
        assert script.calls[-1] == "cancel t-1"

    async def test_leaves_what_somebody_else_goes_on_with(self) -> None:
        script = Scripted([RUNNING])
        await self._left(script, Written(resumable=True), after="poll")
        assert "cancel t-1" not in script.calls

    @pytest.mark.parametrize("resumable", [False, True])
    async def test_during_the_submit_its_ticket_is_waited_for(self, resumable: bool) -> None:
        answered = asyncio.Event()

        class Slow(Scripted):
            async def call(self, call: Call, *, silence: float | None = None, grace: float = 0.0) -> Answer:
                self.calls.append(call.path)
                if call.path == "submit":
                    await answered.wait()
                return Answer(200, (), b"")

        script, log = Slow(), Written(resumable=resumable)
        task = asyncio.ensure_future(run(script, log=log))
        await _called(script, "submit")
        task.cancel()
        await asyncio.sleep(0)
        answered.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ("cancel t-1" in script.calls, "t-1" in log.lines) == (not resumable, resumable)


FAULTS = (
    Reset("x"),
    ConnectFailed("x"),
    BadAnswer("x"),
    Refused(404, "x"),
    Refused(429, "x", retry_after=0.0),
    Refused(503, "x"),
    UpstreamTimeout("idle", 1.0),
)


def steps() -> st.SearchStrategy[Step]:
    told = st.builds(
        Told,
        state=st.sampled_from(["queued", "running", "succeeded", "failed", "cancelled", "expired"]),
        ticket=st.sampled_from([None, "t-1", "t-2"]),
        percent=st.none() | st.integers(-5, 200),
        after=st.none() | st.floats(-1, 1000),
    )
    return told | st.sampled_from(FAULTS)


@settings(max_examples=150, deadline=None)
@given(
    placed=steps(),
    looks=st.lists(steps(), min_size=1, max_size=12),
    listed=steps() | st.none() | st.just("no list"),
    kind=st.sampled_from(["local", "managed"]),
    ticket=st.none() | st.just("t-0"),
    queued=st.none() | st.floats(0, 15),
)
def test_it_is_never_submitted_twice_and_always_ends(
    placed: Step,
    looks: list[Step],
    listed: Step | str | None,
    kind: Kind,
    ticket: str | None,
    queued: float | None,
) -> None:
    script, ticking = Scripted(looks, placed, listed), Ticking()
    ended: Told | UpstreamFault
    try:
        ended = asyncio.run(run(script, kind=kind, ticket=ticket, until=20.0, queued=queued, ticking=ticking))
    except UpstreamFault as fault:
        ended = fault
    if isinstance(ended, Told):
        assert ended.state == "succeeded"
    elif kind == "managed" and (script.looked or ticket is not None) and answers.retryable("managed", ended):
        assert isinstance(ended, Refused)
        assert ended.code == STUCK_IN_QUEUE
    assert script.calls.count("submit") == (0 if ticket is not None else 1)
    assert ticking.at <= 20.0 + 1

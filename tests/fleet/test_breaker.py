"""One breaker, with chosen words and against a naive model that remembers every attempt."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.fleet.breaker import (
    BUSY_SECONDS,
    ERRORS,
    FAILING,
    JITTER,
    PARTS,
    PROBE_SECONDS,
    UNREACHABLE,
    Circuit,
    Window,
)
from gateway.model import Breaker

USUAL = Breaker()


def fail(circuit: Circuit, began: float, now: float, *, at_once: bool = False) -> str | None:
    why = circuit.failed(began, now, at_once=at_once)
    if why is not None:
        circuit.open(now, why, 0.0)
    return why


def test_a_refused_connection_opens_at_once_and_others_after_three_in_a_row() -> None:
    circuit = Circuit.new(USUAL)
    assert fail(circuit, 0.0, 0.0, at_once=True) == UNREACHABLE
    other = Circuit.new(USUAL)
    assert [fail(other, 0.0, 0.0) for _ in range(3)] == [None, None, FAILING]


def test_a_success_in_between_starts_the_count_anew() -> None:
    circuit = Circuit.new(Breaker(least=1000))
    for _ in range(5):
        assert [fail(circuit, 0.0, 0.0) for _ in range(2)] == [None, None]
        circuit.answered(0.0, 0.0)
    assert circuit.phase(0.0) == "closed"


def test_half_of_ten_within_the_window_open_it_too() -> None:
    circuit, told = Circuit.new(USUAL), []
    for number in range(12):
        if number % 2:
            told.append(fail(circuit, number, number))
        else:
            circuit.answered(number, number)
    assert told == [None, None, None, None, ERRORS, None], "the tenth attempt is the fifth failure"
    old = Circuit.new(USUAL)
    for number in range(12):
        at = number * USUAL.window / 4  # no more than four or five of them within a window
        fail(old, at, at) if number % 2 else old.answered(at, at)
    assert old.phase(12 * USUAL.window) == "closed"


def test_each_break_lasts_twice_as_long_and_a_long_rest_forgives() -> None:
    circuit, now, pause = Circuit.new(USUAL), 100.0, USUAL.pause
    fail(circuit, now, now, at_once=True)
    for _ in range(8):
        assert circuit.phase(now + pause - 0.01) == "open"
        now += pause
        assert circuit.phase(now) == "half"
        assert fail(circuit, now, now) is not None, "one failure of a probe is enough"
        pause = min(2 * pause, USUAL.longest)
    now += pause
    assert circuit.answered(now, now)
    fail(circuit, now + 1, now + 1, at_once=True)
    assert circuit.until == now + 1 + USUAL.longest, "it flaps: the pause goes on from where it was"
    now = circuit.until
    circuit.answered(now, now)
    now += USUAL.longest
    fail(circuit, now, now, at_once=True)
    assert circuit.until == now + USUAL.pause


def test_what_was_on_its_way_as_it_opened_proves_nothing() -> None:
    circuit = Circuit.new(USUAL)
    fail(circuit, 9.0, 10.0, at_once=True)
    assert not circuit.answered(9.0, 10.5)
    assert circuit.phase(10.5) == "open"
    assert not circuit.answered(9.0, 11.5)
    assert fail(circuit, 9.0, 11.5) is None
    assert circuit.phase(11.5) == "half"
    assert circuit.answered(11.0, 11.6)
    assert circuit.phase(11.6) == "closed"


def test_a_pause_lasts_exactly_as_long_as_was_asked_and_needs_no_probe() -> None:
    circuit = Circuit.new(USUAL)
    circuit.left_alone(10.0, 7.0, "asked_to_wait", judged=False)
    assert (circuit.phase(16.99), circuit.phase(17.0)) == ("open", "closed")
    circuit.left_alone(20.0, 60.0, "account", judged=True)
    circuit.left_alone(21.0, 5.0, "asked_to_wait", judged=False)
    assert (circuit.phase(79.0), circuit.why) == ("open", "account"), "never for less than it is out already"
    assert circuit.phase(80.0) == "half"


@pytest.mark.parametrize("answers", [True, False])
def test_a_pause_that_was_asked_for_does_not_undo_the_rest(answers: bool) -> None:
    circuit = Circuit.new(USUAL)
    fail(circuit, 0.0, 0.0, at_once=True)
    assert circuit.answered(USUAL.pause, USUAL.pause)
    late = USUAL.pause + USUAL.longest - 1
    circuit.left_alone(late, 2.0, "asked_to_wait", judged=False)
    if answers:
        assert not circuit.answered(late + 3, late + 3), "it was closed all the time"
    fail(circuit, late + 4, late + 4, at_once=True)
    assert circuit.until == late + 4 + USUAL.pause


def test_a_break_that_a_pause_ends_is_followed_by_a_rest_of_its_own() -> None:
    circuit, now = Circuit.new(USUAL), 1000.0
    fail(circuit, now, now, at_once=True)
    now = circuit.until
    circuit.left_alone(now, 5.0, "asked_to_wait", judged=False)
    fail(circuit, now + 6, now + 6, at_once=True)
    assert circuit.until == now + 6 + 2 * USUAL.pause


def test_one_probe_at_a_time_and_another_where_it_tells_nothing_for_long() -> None:
    circuit = Circuit.new(USUAL)
    assert not circuit.probe(0.0)
    fail(circuit, 0.0, 0.0, at_once=True)
    assert not circuit.probe(0.5), "open: who is there now was sent before"
    assert circuit.probe(1.0)
    assert circuit.taken(1.1)
    assert not circuit.taken(1.0 + PROBE_SECONDS)
    circuit.probe(6.5)
    circuit.answered(6.5, 7.0)
    assert not circuit.taken(7.0)


def test_a_full_queue_is_left_alone_for_a_moment_and_longer_where_it_never_answers() -> None:
    circuit, now = Circuit.new(USUAL), 5.0
    for _ in range(64):
        circuit.busy(now)
    assert circuit.phase(now) == "closed"
    assert circuit.full(now + BUSY_SECONDS - 0.01), "64 refusals of one moment are one"
    assert not circuit.full(now + BUSY_SECONDS)
    now += BUSY_SECONDS
    circuit.busy(now)
    assert circuit.full(now + 2 * BUSY_SECONDS - 0.01)
    circuit.answered(now, now)
    now += 2 * BUSY_SECONDS
    circuit.busy(now)
    assert not circuit.full(now + BUSY_SECONDS)
    circuit.busy(now + 1, asked=3.0)
    assert circuit.full(now + 3.9)
    for step in range(40):
        circuit.busy(now + 100 * step)
    assert not circuit.full(now + 100 * 39 + USUAL.longest)


def test_a_clock_that_goes_back_takes_the_circuit_along() -> None:
    circuit = Circuit.new(USUAL)
    fail(circuit, 1000.0, 1000.0, at_once=True)
    assert circuit.phase(0.0) == "open"
    assert circuit.phase(1.0) == "half"


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_jitter_only_shortens(chance: float) -> None:
    circuit = Circuit.new(USUAL)
    circuit.open(0.0, FAILING, chance)
    assert circuit.until == pytest.approx(USUAL.pause * (1 - JITTER * chance))


SMALL = Breaker(consecutive=4, error_rate=0.6, least=5, window=10.0, pause=2.0, longest=16.0)


class Naive(RuleBasedStateMachine):
    """Every attempt since the last opening is kept, and everything is worked out anew from them."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit.new(SMALL)
        self.now = 1000.0
        self.ended: list[tuple[float, bool]] = []
        self.flying: list[float] = []
        self.opened: float | None = None
        self.until = 0.0
        self.pause = 0.0
        self.closed = 0.0

    @property
    def phase(self) -> str:
        return "closed" if self.opened is None else "open" if self.now < self.until else "half"

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 2.5, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def one_leaves(self) -> None:
        self.flying.append(self.now)

    @rule(good=st.booleans(), which=st.integers(0, 7))
    def one_ends(self, good: bool, which: int) -> None:
        began = self.flying.pop(which % len(self.flying)) if self.flying else self.now
        phase = self.phase
        counts = (phase == "closed" and (self.opened is None)) or (phase == "half" and began >= (self.opened or 0.0))
        if good:
            self.circuit.answered(began, self.now)
            if counts:
                if phase == "half":
                    self.opened, self.closed, self.ended = None, self.now, []
                self.ended.append((self.now, True))
            return
        fail(self.circuit, began, self.now)
        if not counts:
            return
        self.ended.append((self.now, False))
        if phase == "half" or self._breaks():
            rested = phase == "closed" and self.now - self.closed >= SMALL.longest
            self.pause = SMALL.pause if not self.pause or rested else min(2 * self.pause, SMALL.longest)
            self.opened, self.until, self.ended = self.now, self.now + self.pause, []

    def _breaks(self) -> bool:
        newest = [good for _, good in self.ended][-SMALL.consecutive :]
        if len(newest) == SMALL.consecutive and not any(newest):
            return True
        part = int(self.now * PARTS / SMALL.window)
        recent = [good for at, good in self.ended if int(at * PARTS / SMALL.window) > part - PARTS]
        return len(recent) >= SMALL.least and recent.count(False) >= SMALL.error_rate * len(recent)

    @invariant()
    def both_say_the_same(self) -> None:
        assert self.circuit.phase(self.now) == self.phase
        if self.phase == "open":
            assert self.circuit.until == self.until


TestNaive = Naive.TestCase
TestNaive.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_window_forgets_in_tenths_and_what_is_of_the_future() -> None:
    window = Window(10.0)
    for second in range(20):
        window.add(float(second), good=second % 2 == 0)
    assert window.counts(19.0) == (5, 5)
    assert window.counts(25.0) == (2, 2)
    assert window.counts(3.0) == (0, 0)

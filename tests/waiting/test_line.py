"""Whose turn it is, against a naive model that walks the rounds, and what that promises."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.waiting.heap import Heap
from gateway.waiting.line import LATE_SHARE, PASS_SECONDS, Line
from gateway.waiting.ring import QUANTUM, Ask, Place, Ring

LATE = 1e9


@dataclass
class Tenant:
    """As in the textbook: what it may spend, and the round it was last visited in."""

    quantum: int
    seat: int
    round: int
    deficit: int
    places: list[Place] = field(default_factory=list)

    def first(self) -> Place:
        return min(self.places, key=lambda place: (place.ask.deadline, place.number))


@dataclass
class Walked:
    """Deficit round robin that visits every tenant in every round."""

    round: int = 0
    seats: int = 0
    tenants: dict[str, Tenant] = field(default_factory=dict)

    def add(self, place: Place) -> None:
        ask = place.ask
        if ask.tenant not in self.tenants:
            quantum = int(QUANTUM * ask.weight)
            first = self.round + 1 if self.tenants else self.round
            self.tenants[ask.tenant] = Tenant(quantum, self.seats, first, quantum)
            self.seats += 1
        self.tenants[ask.tenant].places.append(place)

    def first(self) -> tuple[int, Place] | None:
        """In which round, and who."""
        visited = self.round
        while self.tenants:
            for tenant in sorted(self.tenants.values(), key=lambda one: one.seat):
                rounds = visited - tenant.round
                if rounds >= 0 and tenant.deficit + rounds * tenant.quantum >= tenant.first().ask.work:
                    return visited, tenant.first()
            visited += 1
        return None

    def serve(self, place: Place) -> None:
        found = self.first()
        if found is not None and found[1] is place:
            self.round = found[0]
        tenant = self.tenants[place.ask.tenant]
        if self.round > tenant.round:
            tenant.deficit += (self.round - tenant.round) * tenant.quantum
            tenant.round = self.round
        tenant.deficit -= place.ask.work
        self.remove(place)

    def remove(self, place: Place) -> None:
        tenant = self.tenants[place.ask.tenant]
        tenant.places.remove(place)
        if not tenant.places:
            del self.tenants[place.ask.tenant]


class AgainstTheModel(RuleBasedStateMachine):
    """Joining, leaving, being served in and out of turn, and time passing; three classes, four tenants."""

    @initialize()
    def begin(self) -> None:
        self.line, self.now = Line(), 0.0
        self.walked = [Walked() for _ in range(3)]
        self.there: list[Place] = []

    @rule(
        rank=st.integers(0, 2),
        tenant=st.sampled_from("abcd"),
        work=st.integers(1, 5 * QUANTUM),
        patience=st.integers(1, 60),
        kind=st.integers(0, 2),
    )
    def join(self, rank: int, tenant: str, work: int, patience: int, kind: int) -> None:
        ask = Ask(rank, tenant, {"a": 0.5, "b": 1.0, "c": 2.0, "d": 1.0}[tenant], work, self.now + patience, kind=kind)
        place = self.line.join(ask, self.now)
        self.walked[rank].add(place)
        self.there.append(place)

    @precondition(lambda self: self.there)
    @rule(which=st.integers(0, 1000), served=st.booleans())
    def leave(self, which: int, served: bool) -> None:
        place = self.there.pop(which % len(self.there))
        (self.line.serve if served else self.line.leave)(place, self.now)
        walked = self.walked[place.ask.rank]
        (walked.serve if served else walked.remove)(place)

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    def expected(self) -> Place | None:
        return next((found[1] for walked in self.walked if (found := walked.first())), None)

    @precondition(lambda self: self.there)
    @rule()
    def serve(self) -> None:
        first = self.line.first(self.now)
        assert first is self.expected()
        assert first is not None, "nobody is idle while somebody waits"
        self.line.serve(first, self.now)
        self.walked[first.ask.rank].serve(first)
        self.there.remove(first)

    @precondition(lambda self: self.there)
    @rule(tries=st.integers(1, 4))
    def a_turn_in_vain(self, tries: int) -> None:
        """Each that finds none is set aside until the next turn with those that are alike; then all is as before."""
        tried = list[Place]()
        for _ in range(tries):
            first = self.line.first(self.now)
            if first is None:
                break
            tried.append(first)
            self.line.set_aside(first, self.now, full=False)
        bunches = {(place.ask.tenant, place.ask.alike) for place in self.there}
        assert len({(place.ask.tenant, place.ask.alike) for place in tried}) == len(tried)
        assert len(tried) == min(tries, len(bunches))
        self.line.restore()

    @invariant()
    def the_same_one_is_first(self) -> None:
        if hasattr(self, "line"):
            assert self.line.first(self.now) is self.expected()
            assert len(self.line) == len(self.there)


TestAgainstTheModel = AgainstTheModel.TestCase


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.integers(1, 4 * QUANTUM)), min_size=2, max_size=5),
    st.integers(20, 200),
    st.integers(0, 1000),
)
def test_tenants_that_keep_waiting_have_their_shares_within_a_quantum_and_a_request(
    tenants: list[tuple[float, int]], served: int, seed: int
) -> None:
    """Of any two of them, per weight: the bound of Shreedhar and Varghese, Theorem 4.1."""
    ring, rng = Ring(), Random(seed)
    numbers = iter(range(10**6))

    def add(name: int) -> None:
        weight, most = tenants[name]
        ring.add(Place(Ask(0, str(name), weight, rng.randint(1, most)), next(numbers)))

    for name in range(len(tenants)):
        add(name)
        add(name)
    had = Counter[int]()
    for _ in range(served):
        first = ring.first()
        assert first is not None
        ring.serve(first)
        had[int(first.ask.tenant)] += first.ask.work
        add(int(first.ask.tenant))
    for name, (weight, most) in enumerate(tenants):
        for other, (its_weight, its_most) in enumerate(tenants):
            apart = had[name] / weight - had[other] / its_weight
            assert apart <= 2 * QUANTUM + most / weight + its_most / its_weight


@pytest.mark.parametrize("works", [(1, 40), (8, 8), (3, 11)])
def test_a_tenants_cost_is_the_work_of_its_requests_not_their_number(works: tuple[int, int]) -> None:
    line = Line()
    for name, work in zip("ab", works, strict=True):
        for _ in range(400):
            line.join(Ask(1, name, 1.0, work * QUANTUM), 0.0)
    had = Counter[str]()
    while sum(had.values()) < 300 * QUANTUM:
        first = line.first(0.0)
        assert first is not None
        line.serve(first, 0.0)
        had[first.ask.tenant] += first.ask.work
    assert abs(had["a"] - had["b"]) <= 2 * QUANTUM + sum(works) * QUANTUM


def test_who_comes_anew_each_time_has_no_more_turns_than_who_stays() -> None:
    line, had = Line(), Counter[str]()
    for _ in range(100):
        line.join(Ask(1, "many", 1.0, QUANTUM), 0.0)
    line.join(Ask(1, "one", 1.0, QUANTUM), 0.0)
    for _ in range(100):
        first = line.first(0.0)
        assert first is not None
        line.serve(first, 0.0)
        had[first.ask.tenant] += 1
        if first.ask.tenant == "one":
            line.join(Ask(1, "one", 1.0, QUANTUM), 0.0)
    assert abs(had["one"] - had["many"]) <= 2


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 8)), min_size=1, max_size=60))
def test_nobody_waits_longer_than_starve_after_and_the_work_of_those_overdue_before(
    arrivals: list[tuple[int, int, int]],
) -> None:
    """A server that does one QUANTUM a second, for ever busy with newcomers of the highest class. One tenant waits, and
    what is overdue has LATE_SHARE: whoever waits is served within starve_after and the time in which that does the work
    that was overdue before it."""
    starve, line, now, largest = 10.0, Line(), 0.0, 8
    due = sorted((float(at), rank, work) for rank, at, work in arrivals)
    waits: dict[int, tuple[float, float]] = {}
    while due or len(line):
        while due and due[0][0] <= now:
            at, rank, work = due.pop(0)
            place = line.join(Ask(rank, "t", 1.0, work * QUANTUM, LATE, at + starve), now)
            before = sum(one.ask.work for one in line._places if one.ask.starves <= place.ask.starves) / QUANTUM
            waits[place.number] = (at, before)
        newcomer = Ask(0, "new", kind="new")
        if not line.behind(newcomer, now):
            line.came(newcomer, now)
            now += 1
            continue
        first = line.first(now)
        assert first is not None
        at, before = waits[first.number]
        assert now - at <= starve + (before + largest) / LATE_SHARE + largest
        line.serve(first, now)
        now += first.ask.work / QUANTUM


def test_a_flood_that_is_overdue_leaves_the_others_their_share_and_its_tenants_take_turns() -> None:
    line, had = Line(), Counter[str]()
    for _ in range(400):
        line.join(Ask(2, "flood", starves=30.0), 0.0)
    for _ in range(10):
        line.join(Ask(2, "few", starves=40.0), 10.0)
    for _ in range(80):
        line.join(Ask(0, "talks"), 50.0)
    for _ in range(80):
        first = line.first(50.0)
        assert first is not None
        line.serve(first, 50.0)
        had[first.ask.tenant] += 1
    assert had["talks"] == 80 * (1 - LATE_SHARE)
    assert abs(had["flood"] - had["few"]) <= 2


def test_between_the_turns_of_the_overdue_newcomers_go_on_and_count() -> None:
    line, newcomer = Line(), Ask(0, "new", kind="new")
    for _ in range(2):
        line.join(Ask(2, "a", starves=30.0, kind="k"), 0.0)
    assert line.behind(newcomer, 30.0)
    first = line.first(30.0)
    assert first is not None
    line.serve(first, 30.0)
    turns = [line.came(newcomer, 30.0) for _ in range(3) if not line.behind(newcomer, 30.0)]
    assert turns == [False, False, True], "with the last of them it is the turn of the overdue"
    assert line.behind(newcomer, 30.0)


def test_a_first_that_does_not_fit_lets_others_pass_for_a_while_and_then_nobody() -> None:
    line = Line()
    large = line.join(Ask(1, "a", 1.0, 50 * QUANTUM, 10.0, 100.0, kind="large"), 0.0)
    small = [line.join(Ask(1, "b", 1.0, QUANTUM, 20.0, 100.0, kind="small"), 0.0) for _ in range(3)]
    assert line.first(0.0) is small[0], "the smaller one can be paid in an earlier round"
    for one in small:
        line.leave(one, 0.0)
    small = [line.join(Ask(2, "b", 1.0, QUANTUM, 20.0, 100.0, kind="small"), 0.0) for _ in range(2)]
    assert line.first(0.0) is large
    line.set_aside(large, 0.0, full=True)
    assert not line.is_kept(large)
    assert line.first(0.0) is small[0], "it may go although it is of a lower class"
    line.serve(small[0], 0.0)
    newcomer = Ask(1, "c", kind="other")
    assert line.behind(newcomer, 1.0, trying=True)
    assert not line.behind(newcomer, 1.0), "and so may a newcomer for whom there may be room of another kind"
    for now, kept in ((PASS_SECONDS - 0.1, False), (PASS_SECONDS, True)):
        line.restore()
        assert line.first(now) is large
        line.set_aside(large, now, full=True)
        assert line.is_kept(large) is kept
    assert line.behind(newcomer, PASS_SECONDS)
    assert not line.behind(newcomer._replace(rank=0), PASS_SECONDS), "a higher class does not stand behind a lower one"
    line.leave(large, PASS_SECONDS)
    assert not line.behind(newcomer, PASS_SECONDS)


def test_what_is_kept_is_kept_from_its_own_pool_and_from_others_on_its_workers_only() -> None:
    line = Line()
    large = line.join(Ask(1, "a", kind="large", pool="m"), 0.0)
    other = line.join(Ask(1, "a", kind="other", pool="n"), 0.0)
    large.workers = frozenset({"w1"})
    for now in (0.0, PASS_SECONDS):
        line.restore()
        line.set_aside(large, now, full=True)
    assert line.keeps("m", 1)
    assert not line.keeps("n", 1)
    assert line.first(PASS_SECONDS) is other
    assert line.reserved("n", 1) == {"w1"}
    assert line.reserved("n", 0) == frozenset(), "a higher class goes before it"
    assert line.reserved("m", 1) == frozenset()
    assert line.behind(Ask(1, "b", kind="small", pool="m"), PASS_SECONDS)
    assert not line.behind(Ask(1, "b", kind="small", pool="n"), PASS_SECONDS)


@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_a_tenant_of_large_requests_has_its_share_beside_one_of_small_ones(weight: float) -> None:
    """One worker of 100 places on which the large ones need 20: each time there is less room they are passed."""
    line, now, had = Line(), 0.0, Counter[str]()
    size, held, room = {"large": 20, "small": 1}, list[tuple[float, int]](), 100
    rng = Random(1)

    def waits(name: str) -> None:
        line.join(Ask(1, name, weight if name == "large" else 1.0, size[name] * QUANTUM, kind=name, deadline=LATE), now)

    for name in ("large", "large", *("small" for _ in range(200))):
        waits(name)
    while now < 30:
        held.sort()
        now, freed = held.pop(0) if held else (now, 0)
        room += freed
        line.restore()
        for _ in range(30):
            first = line.first(now)
            if first is None or line.keeps(None, 1):
                break
            if size[first.ask.tenant] > room:
                line.set_aside(first, now, full=True)
                continue
            room -= size[first.ask.tenant]
            held.append((now + rng.uniform(0.05, 0.1), size[first.ask.tenant]))
            had[first.ask.tenant] += first.ask.work
            line.serve(first, now)
            waits(first.ask.tenant)
            line.restore()
    assert had["large"] / had["small"] == pytest.approx(weight, rel=0.1)


def test_an_overdue_one_is_kept_at_once_and_before_every_class() -> None:
    line = Line()
    old = line.join(Ask(2, "a", starves=30.0, kind="k"), 0.0)
    line.join(Ask(0, "b", starves=60.0, kind="k"), 20.0)
    assert line.first(29.0) is not old
    assert line.first(30.0) is old
    assert line.behind(Ask(0, "c", kind="other"), 30.0)
    line.set_aside(old, 30.0, full=True)
    assert line.is_kept(old)
    assert line.keeps(None, 0)


def test_one_that_becomes_overdue_while_it_is_set_aside_lets_nobody_pass() -> None:
    line = Line()
    place = line.join(Ask(2, "a", starves=30.0, kind="k"), 0.0)
    line.set_aside(place, 1.0, full=True)
    newcomer = Ask(0, "b", kind="k")
    assert not line.behind(newcomer, 29.0)
    assert line.behind(newcomer, 30.0)


def test_one_that_nobody_can_serve_now_stands_in_nobodys_way() -> None:
    line = Line()
    lost = line.join(Ask(0, "a", starves=0.0, kind="down"), 0.0)
    next_one = line.join(Ask(1, "b", kind="up"), 0.0)
    newcomer = Ask(0, "c", kind="up")
    assert line.behind(newcomer, 1.0)
    line.set_aside(lost, 1.0, full=False)
    assert line.first(1.0) is next_one
    assert not line.behind(newcomer, 1.0)
    assert line.behind(newcomer._replace(rank=1), 1.0)
    assert line.behind(Ask(0, "c", kind="down"), 1.0), "who is alike stands behind it all the same"
    line.restore()
    assert line.first(1.0) is lost
    assert not line.behind(newcomer, 1.0), "until one of them finds somebody"
    line.set_aside(lost, 1.0, full=True)
    assert line.behind(newcomer, 1.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9), st.booleans()), max_size=300))
def test_a_heap_is_a_sorted_list_from_which_anything_may_go(steps: list[tuple[int, int, bool]]) -> None:
    heap, there = Heap[int](), dict[int, tuple[float, int]]()
    for item, key, put in steps:
        if put:
            heap.put(item, (key, item))
            there[item] = (key, item)
        else:
            heap.take(item)
            there.pop(item, None)
        assert heap.first() == (min(there, key=lambda one: there[one]) if there else None)
        assert len(heap) == len(there)
        assert (item in heap) is (item in there)
        assert len(heap._entries) <= 2 * len(there) + 17, "what is dead does not pile up"


def simulated_waits(seed: int) -> tuple[dict[tuple[int, str], list[float]], dict[tuple[int, str], list[float]]]:
    """What newcomers were told and what they waited then, by class and tenant: a site that frees work at one rate."""
    rng, line, now, rate = Random(seed), Line(), 0.0, 10 * QUANTUM
    told, waited = defaultdict(list), defaultdict(list)
    said: dict[int, tuple[float, float | None]] = {}
    arrives = 0.0
    for _ in range(4000):
        while arrives <= now and len(line) < 150:
            rank, tenant = rng.choice((0, 1, 1, 2)), rng.choice("aaab")
            ask = Ask(rank, tenant, {"a": 1.0, "b": 2.0}[tenant], rng.randint(1, 10 * QUANTUM))
            seconds = line.expected(ask, now)
            said[line.join(ask, now).number] = (now, seconds)
            arrives += rng.expovariate(2.2)
        first = line.first(now)
        if first is None:
            now = arrives
            continue
        now += first.ask.work / rate
        line.drain.freed(first.ask.work, now)
        line.serve(first, now)
        came, seconds = said.pop(first.number)
        if seconds is not None:  # both as clients are told: 1 to 60
            told[first.ask.rank, first.ask.tenant].append(min(60.0, max(1.0, seconds)))
            waited[first.ask.rank, first.ask.tenant].append(min(60.0, max(1.0, now - came)))
        arrives = max(arrives, now - 5)
    return told, waited


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_newcomer_is_told_is_true_within_a_factor_of_two_on_average(seed: int) -> None:
    told, waited = simulated_waits(seed)
    judged = [key for key, values in told.items() if len(values) >= 30]
    assert len(judged) >= 3
    for key in judged:
        ratio = sum(told[key]) / sum(waited[key])
        assert 0.5 <= ratio <= 2.0, (key, ratio)

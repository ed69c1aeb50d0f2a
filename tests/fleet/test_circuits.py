"""The breakers of a backend together: how many may be left alone, who is slow, how many seats are left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.breaker import BUSY_SECONDS, SLOW, UNREACHABLE
from gateway.fleet.circuits import Circuits
from gateway.fleet.outliers import JUDGES, SAMPLES
from gateway.model import Breaker, Upstream
from tests.worlds import upstream


def fleet(size: int, **numbers: float | None) -> tuple[Upstream, ...]:
    breaker = replace(Breaker(), **numbers)  # type: ignore[arg-type]
    return tuple(upstream(f"w{n}", "gpu", breaker=breaker) for n in range(size))


def out(circuits: Circuits, peers: tuple[Upstream, ...], now: float) -> list[str]:
    return [peer.name for peer in peers if circuits.why_open(peer.name, now) is not None]


@pytest.mark.parametrize(
    ("size", "share", "most"),
    [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 1), (4, 0.5, 2), (10, 0.3, 3), (4, 0.0, 0), (4, 1.0, 4)],
)
def test_no_more_than_the_share_is_left_alone_by_our_judgement(size: int, share: float, most: int) -> None:
    circuits, peers = Circuits(), fleet(size, ejected=share)
    for _ in range(9):
        for peer in peers:
            circuits.failed(peer, peers, 0.0, 0.0)
    assert len(out(circuits, peers, 0.5)) == most


def test_those_that_cannot_be_reached_are_no_judgement_and_no_part_of_the_rest() -> None:
    circuits, peers = Circuits(), fleet(4)
    for peer in peers[:2]:
        assert circuits.failed(peer, peers, 0.0, 0.0, at_once=True)
    for peer in peers[2:]:
        for _ in range(5):
            circuits.failed(peer, peers, 0.0, 0.0)
    assert out(circuits, peers, 0.5) == ["w0", "w1", "w2"], "one of the two that are there"
    assert circuits.failed(peers[3], peers, 0.0, 0.5, at_once=True)


def test_a_pause_that_was_asked_for_counts_for_nothing() -> None:
    circuits, peers = Circuits(), fleet(4)
    for peer in peers[:3]:
        circuits.pause(peer, 0.0, 60.0, "asked_to_wait")
    assert [circuits.failed(peers[3], peers, 0.0, 0.0) for _ in range(3)][-1]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0.0, 2.0)), max_size=120))
def test_whatever_happens_the_share_holds(story: list[tuple[int, bool, float]]) -> None:
    circuits, peers, now = Circuits(), fleet(6, least=3), 0.0
    for index, good, later in story:
        now += later
        if good:
            circuits.answered(peers[index], peers, now, now)
        else:
            circuits.failed(peers[index], peers, now, now)
        assert len(out(circuits, peers, now)) <= 3


def test_half_open_has_one_seat_more_than_are_taken_and_a_probe_closes_the_door() -> None:
    circuits, peers = Circuits(lambda: 0.0), fleet(4)
    circuits.failed(peers[0], peers, 0.0, 0.0, at_once=True)
    assert circuits.why_open("w0", 0.9) == UNREACHABLE
    assert (circuits.why_open("w0", 1.0), circuits.seats("w0", 3, 1, 1.0)) == (None, 4)
    assert circuits.probe("w0", 1.0)
    assert circuits.why_open("w0", 1.1) == UNREACHABLE
    circuits.ended("w0", 1.0)  # its client left
    assert circuits.why_open("w0", 1.2) is None
    assert circuits.probe("w0", 1.2)
    assert not circuits.began_well("w0", -0.5, 1.3), "another's token"
    assert circuits.began_well("w0", 1.2, 1.4)
    assert (circuits.why_open("w0", 1.5), circuits.seats("w0", 3, 1, 1.5)) == (None, None)


def test_a_full_queue_takes_the_seats_away_and_opens_nothing() -> None:
    circuits, peers = Circuits(), fleet(2)
    for _ in range(20):
        circuits.busy(peers[0], 0.0)
    assert (circuits.why_open("w0", 0.1), circuits.seats("w0", 5, 1, 0.1)) == (None, 0)
    assert circuits.seats("w0", 5, 1, BUSY_SECONDS) is None


def serve(circuits: Circuits, peers: tuple[Upstream, ...], ratios: list[float], now: float) -> float:
    for _ in range(2 * SAMPLES):
        now += 0.2
        for peer, ratio in zip(peers, ratios, strict=True):
            circuits.answered(peer, peers, now, now, ratio)
    return now


@pytest.mark.parametrize(
    ("ratios", "slow", "left"),
    [
        ([1.0, 1.1, 0.9, 5.0], 3.0, ["w3"]),
        ([1.0, 1.1, 0.9, 2.5], 3.0, []),
        ([1.0, 1.1, 0.9, 5.0], None, []),
        ([5.0, 5.0, 5.0, 5.0], 3.0, []),  # all are slow: it is the load, or the forecast
        ([1.0, 5.0], 3.0, []),  # of two nobody knows who is right
        ([1.0, 1.0, 0.001], 3.0, []),  # one that claims to be fast makes no other one slow
        ([0.001, 1.0, 1.0, 1.0], 3.0, []),
        ([1.0, 1.0, 9.0, 9.0, 9.0], 3.0, []),
    ],
)
def test_who_is_slow(ratios: list[float], slow: float | None, left: list[str]) -> None:
    circuits, peers = Circuits(), fleet(len(ratios), slow=slow)
    now = serve(circuits, peers, ratios, 0.0)
    assert out(circuits, peers, now) == left
    assert JUDGES == 2


def test_a_slow_one_is_closed_by_a_quick_answer_and_not_by_a_slow_one() -> None:
    circuits, peers = Circuits(lambda: 0.0), fleet(4, slow=3.0, pause=30.0)
    now = serve(circuits, peers, [1.0, 1.0, 1.0, 5.0], 0.0)
    until = circuits.open_until("w3")
    assert until is not None
    for _ in range(SAMPLES):  # the others go on meanwhile
        for peer in peers[:3]:
            circuits.answered(peer, peers, until - 1, until - 1, 1.0)
    assert not circuits.began_well("w3", until, until), "its first token may be late all the same"
    assert circuits.answered(peers[3], peers, until, until + 0.1, 5.0)
    assert circuits.why_open("w3", until + 0.2) == SLOW
    again = circuits.open_until("w3")
    assert again is not None
    assert circuits.answered(peers[3], peers, again, again + 0.1, 1.0)
    assert now < until
    assert out(circuits, peers, again + 0.2) == []


def test_too_few_answers_say_nothing() -> None:
    circuits, peers = Circuits(), fleet(4, slow=3.0)
    for _ in range(SAMPLES - 1):
        for peer in peers:
            circuits.answered(peer, peers, 0.0, 0.0, 9.0 if peer is peers[3] else 1.0)
    assert out(circuits, peers, 0.0) == []


def test_a_reload_brings_new_numbers_and_leaves_what_is_open() -> None:
    circuits, peers = Circuits(), fleet(2)
    circuits.failed(peers[0], peers, 0.0, 0.0, at_once=True)
    newer = fleet(2, consecutive=1, window=5.0)
    assert circuits.failed(newer[1], newer, 0.0, 0.1)
    assert out(circuits, newer, 0.2) == ["w0", "w1"]
    circuits.keep(frozenset({"w1"}))
    assert out(circuits, newer, 0.2) == ["w1"]

"""Whom a prompt or a session belongs to: the same everywhere, evenly spread, moved little, never overloaded."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import GenRequest, Policy, Threshold, UpstreamState
from gateway.routing.affinity import (
    BLOCK_BYTES,
    BOUND,
    DEPTHS,
    FRESH,
    PLACES,
    PREFIX_BYTES,
    QUIET,
    beginnings,
    circle_of,
    key_of,
    owners,
    prefix_key,
    scope_of,
    session_key,
    share,
)
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.robust import fair_mean
from tests.worlds import LIMIT, board, policy, reading, request, rule, state, upstream

TEXT = bytes(range(256)) * 8
KEYS = [key_of(str(number).encode()) for number in range(4000)]


def anybody(_: UpstreamState) -> bool:
    return True


def fleet(size: int, load: float = 0.0) -> list[UpstreamState]:
    return [state(upstream(f"w{n}", "gpu"), leased=round(load * LIMIT)) for n in range(size)]


def names_of(states: list[UpstreamState]) -> tuple[str, ...]:
    return tuple(one.upstream.name for one in states)


def placed(states: list[UpstreamState], key: int, names: tuple[str, ...] | None = None) -> tuple[str, ...]:
    return names_of(owners(circle_of(names or names_of(states), states), key, anybody))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([TEXT], [TEXT[:PREFIX_BYTES]], True),
        ([TEXT], [TEXT[:100], TEXT[100:]], True),
        ([TEXT], [TEXT[: PREFIX_BYTES - 1] + b"!"], False),
        ([TEXT[: 3 * BLOCK_BYTES]], [TEXT[: 3 * BLOCK_BYTES] + b"more"], True),
        ([TEXT[: 3 * BLOCK_BYTES]], [TEXT[: 4 * BLOCK_BYTES]], False),
        ([TEXT, b"behind"], [TEXT, b"elsewhere"], True),
    ],
)
def test_the_hash_is_of_the_first_whole_blocks(one: list[bytes], other: list[bytes], same: bool) -> None:
    assert (prefix_key(one) == prefix_key(memoryview(piece) for piece in other)) is same


@given(st.integers(0, 6000), st.lists(st.integers(1, 3000), max_size=5), st.integers(0, 6000))
def test_a_turn_has_the_beginnings_of_the_turns_before_it(size: int, cuts: list[int], more: int) -> None:
    text = TEXT * 6
    before, pieces, at = text[:size], [], 0
    for cut in cuts:
        pieces.append(text[:size][at : at + cut])
        at += cut
    pieces.append(text[:size][at:])
    chain = beginnings(pieces)
    assert chain == beginnings([before]), "however it is cut"
    longer = beginnings([text[: size + more]])
    if size >= PREFIX_BYTES:
        assert longer[: len(chain)] == chain
        assert len(chain) == sum(depth <= size for depth in DEPTHS)
    else:
        assert len(chain) == (size >= BLOCK_BYTES)


def test_who_read_it_before_comes_first_unless_it_is_full_and_the_owner_after_it() -> None:
    made = policy(
        tuple(upstream(f"w{n}", "gpu") for n in range(6)), (rule(scorers=(("prefix", 2.0),), spill=None),), affine=True
    )
    seen = board(made)
    owner = favourite(seen, request(prefix=KEYS[0]))
    reader = next(name for name in made.upstreams if name != owner)
    asked = request(prefix=KEYS[0], read_by=(reader, "gone"))
    assert favourite(seen, asked) == reader
    assert favourite(board(made, **{reader: {"leased": round(0.7 * LIMIT)}}), asked) == reader, (
        "to read it again is work"
    )
    assert favourite(board(made, **{reader: {"leased": round(0.8 * LIMIT)}}), asked) == owner
    assert favourite(board(made, **{reader: {"out": "down"}}), asked) == owner
    new = board(made, **{owner: {"leased": round((FRESH + 0.01) * LIMIT)}})
    assert favourite(new, request(prefix=KEYS[0])) != owner, "what is new loses nothing elsewhere"


def favourite(seen: Board, asked: GenRequest) -> str:
    candidates = decide(asked, seen, Random(1)).primary[0].candidates
    return max(candidates, key=lambda one: one.score).upstream.name


def test_less_than_a_block_is_no_prefix() -> None:
    assert prefix_key([TEXT[: BLOCK_BYTES - 1]]) is None
    assert prefix_key([]) is None


def test_another_process_hashes_alike() -> None:
    """Python's own hash() of text differs from process to process."""
    code = (
        "from tests.routing.test_affinity import *; "
        "print(prefix_key([TEXT]), session_key('t', 's'), [placed(fleet(5), key) for key in KEYS[:50]])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    said = f"{prefix_key([TEXT])} {session_key('t', 's')} {[placed(fleet(5), key) for key in KEYS[:50]]}\n"
    assert done.stdout == said


def test_sessions_of_two_tenants_are_two_sessions() -> None:
    assert session_key("a", "1") != session_key("b", "1")


def test_prompts_of_two_tenants_or_installations_have_nothing_in_common() -> None:
    scopes = [scope_of(secret, tenant) for secret in (b"", b"one", b"other") for tenant in ("a", "b")]
    for text in (TEXT * 6, TEXT[: 3 * BLOCK_BYTES]):
        chains = [beginnings([text], scope) for scope in scopes]
        assert len({hashed for chain in chains for hashed in chain}) == sum(map(len, chains)) > 0


def test_keys_are_spread_evenly() -> None:
    counts = Counter(placed(fleet(10), key)[0] for key in KEYS)
    assert len(counts) == 10
    assert max(counts.values()) < 1.6 * len(KEYS) / 10


def test_a_worker_that_leaves_moves_its_own_keys_alone() -> None:
    states = fleet(10)
    before = {key: placed(states, key) for key in KEYS[:500]}
    without = [one for one in states if one.upstream.name != "w3"]
    for key, (owner, following) in before.items():
        now = placed(without, key, names_of(states))
        assert now[0] == (following if owner == "w3" else owner)
        assert now == placed(without, key), "the ring of those that are left is the same ring"


@given(st.lists(st.tuples(st.integers(0, 2 * LIMIT), st.integers(0, LIMIT)), min_size=1, max_size=12), st.integers(0))
def test_no_owner_carries_more_than_its_bound(loads: list[tuple[int, int]], number: int) -> None:
    states = [
        state(upstream(f"w{n}", "gpu"), leased=leased, outside=outside) for n, (leased, outside) in enumerate(loads)
    ]
    mean = fair_mean([share(one) for one in states])
    found = owners(circle_of(names_of(states), states), key_of(str(number).encode()), anybody)
    eligible = [one for one in states if share(one) <= max(QUIET, BOUND * mean)]
    assert len(found) == min(PLACES, len(eligible)) >= 1
    assert all(one in eligible for one in found)


def test_an_overloaded_owner_hands_over_to_the_next_until_it_is_quiet_again() -> None:
    states = fleet(4, load=0.5)
    key = KEYS[0]
    owner, following = placed(states, key)
    place = int(owner[1:])
    for load, first in ((0.60, owner), (0.9, following)):
        states[place] = replace(states[place], leased=round(load * LIMIT))
        assert placed(states, key)[0] == first
    quiet = fleet(4)
    quiet[place] = replace(quiet[place], leased=round(QUIET * LIMIT))
    assert placed(quiet, key)[0] == owner, "alone it is far above the mean, and has plenty of room"


def test_who_may_not_serve_it_is_passed_over() -> None:
    states = fleet(4)
    owner, following = placed(states, KEYS[0])
    circle = circle_of(names_of(states), states)
    assert names_of(owners(circle, KEYS[0], lambda one: one.upstream.name != owner))[0] == following
    assert owners(circle, KEYS[0], lambda _: False) == []


def made(size: int = 1000, scorers: tuple[tuple[str, float], ...] = (("load", 1.0), ("prefix", 2.0))) -> Policy:
    workers = tuple(upstream(f"w{n}", "gpu") for n in range(size))
    return policy(workers, (rule(spill=None, scorers=scorers),), affine=True)


def best(asked: GenRequest, seen: Board, seed: int, **options: Any) -> str:
    candidates = decide(asked, seen, Random(seed), **options).primary[0].candidates
    assert len({one.upstream.name for one in candidates}) == len(candidates) == 8
    return max(candidates, key=lambda one: one.score).upstream.name


@pytest.mark.parametrize("scorer", ["prefix", "session"])
def test_the_owner_is_among_the_sampled_of_a_thousand(scorer: str) -> None:
    seen = board(made(scorers=(("load", 1.0), (scorer, 2.0))))
    owner = {best(request(prefix=key), seen, seed) for seed, key in enumerate([KEYS[0]] * 20)}
    assert len(owner) == 1
    assert len({best(request(prefix=key), seen, 1) for key in KEYS[:50]}) > 40
    ring = placed(fleet(1000), KEYS[0])
    assert owner == {ring[0]}
    assert best(request(prefix=KEYS[0]), seen, 1, excluded=frozenset(ring[:1])) == ring[1]


def test_a_session_counts_before_the_prefix_and_needs_none() -> None:
    seen = board(made(scorers=(("session", 1.0),)))
    named = {best(request(session="s1", prefix=key), seen, seed) for seed, key in enumerate([*KEYS[:10], None])}
    assert named == {placed(fleet(1000), session_key("t", "s1"))[0]}
    assert best(request(session="", prefix=KEYS[0]), seen, 1) == placed(fleet(1000), KEYS[0])[0], "empty is none"


def test_without_a_key_everybody_is_sampled_as_ever() -> None:
    seen = board(made(3))
    assert {one.score for one in decide(request(), seen, Random(1)).primary[0].candidates} == {0.0}


def test_prefix_and_session_may_belong_to_two() -> None:
    seen = board(made(scorers=(("session", 2.0), ("prefix", 1.0))))
    candidates = decide(request(session="s1", prefix=KEYS[0]), seen, Random(1)).primary[0].candidates
    by_score = sorted(candidates, key=lambda one: -one.score)
    wanted = (placed(fleet(1000), session_key("t", "s1")), placed(fleet(1000), KEYS[0]))
    assert {one.upstream.name for one in by_score[:4]} == {*wanted[0], *wanted[1]}
    assert [one.score for one in by_score[:5]] == [2.0, 1.0, 1.0, 0.5, 0.0]


def test_an_owner_that_a_forecast_leaves_out_hands_over() -> None:
    plain = made()
    slow = replace(plain.rules[0], filters=(Threshold("wait_ms", above=False, inclusive=True, value=10),))
    owner, following = placed(fleet(1000), KEYS[0])
    asked, chosen = request(prefix=KEYS[0]), replace(plain, rules=(slow,))
    assert best(asked, board(chosen), 1) == owner
    assert best(asked, board(chosen, **{owner: {"reading": reading(waiting=50)}}), 1) == following

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Estimate, Learned, Snapshot
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.estimate import expected_price, output_tokens, prompt_tokens, work_left, work_on
from gateway.routing.learn import BYTES_PER_TOKEN, PRIOR, PRIOR_WEIGHT, learn
from gateway.routing.priors import TYPICAL_OUTPUT_TOKENS
from tests.worlds import PRICE, board, policy, request, upstream

LONG = Learned(prompt=1000, text=3000, output=400, seen=100)
WORKER, API = upstream("w", "gpu", seats=128), upstream("a", "api")


def taught(times: int, text: int, prompt: int, output: int, before: Learned = PRIOR) -> Learned:
    for _ in range(times):
        before = learn(before, text, prompt, output)
    return before


def test_the_prior_is_what_was_assumed_before() -> None:
    assert PRIOR.bytes_per_token == pytest.approx(BYTES_PER_TOKEN)
    assert output_tokens(request(max_tokens=None)) == TYPICAL_OUTPUT_TOKENS


def test_the_prior_weighs_as_much_as_so_many_requests() -> None:
    after = taught(PRIOR_WEIGHT, 3400, 1000, 21)
    assert 0.3 < (TYPICAL_OUTPUT_TOKENS - after.output) / (TYPICAL_OUTPUT_TOKENS - 21) < 0.7


def test_traffic_is_found_out_and_its_change_followed() -> None:
    chat = taught(3000, 4400, 1000, 200)
    assert chat.bytes_per_token == pytest.approx(4.4, rel=0.01)
    assert chat.output == pytest.approx(200, rel=0.01)
    code = taught(5000, 6800, 2000, 20, chat)
    assert code.bytes_per_token == pytest.approx(3.4, rel=0.01)
    assert code.output == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("row", [(0, 10, 10), (10, 0, 10), (10, 10, 0), (-1, 10, 10)])
def test_nothing_is_learned_from_nothing(row: tuple[int, int, int]) -> None:
    assert learn(PRIOR, *row) == PRIOR


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(1, 10**5)), max_size=50))
def test_means_stay_within_what_was_seen(rows: list[tuple[int, int, int]]) -> None:
    state = PRIOR
    for row in rows:
        state = learn(state, *row)
    seen = [TYPICAL_OUTPUT_TOKENS, *(output for _, _, output in rows)]
    assert min(seen) - 1e-6 <= state.output <= max(seen) + 1e-6
    assert state.bytes_per_token > 0
    assert state.seen == len(rows)


def test_estimates_use_what_is_learned() -> None:
    asked = request(prompt_bytes=3000, max_tokens=None)
    assert (prompt_tokens(asked, LONG), output_tokens(asked, LONG)) == (1000, 400)
    assert output_tokens(request(max_tokens=50, n=2), LONG) == 100
    assert work_on(WORKER, asked, LONG) == 1000 * 40 + 400 * 185
    assert work_left(WORKER, Estimate(0, 400, None, None)) == 400 * 185
    assert work_on(API, asked, LONG) == work_left(API, Estimate(0, 400, None, None)) == 1
    assert expected_price(PRICE, asked, LONG) == pytest.approx((1000 * 0.25 + 400 * 0.75) / 1e6)


def test_decide_takes_the_learned_limit_and_lengths_from_the_board() -> None:
    made, asked = policy(), request(prompt_bytes=3000, max_tokens=None, priority="batch")
    states = board(made, w1={"limit": 200_000}, w2={}).snapshot.states
    decision = decide(asked, Board(made, Snapshot(100.0, states, learned={"m": LONG})), Random(1))
    limits = {one.upstream.name: one.limit for one in decision.primary[0].candidates}
    assert limits == {"w1": 140_000, "w2": 700_000}, "the learned limit where there is one, both under the class share"
    work = {one.upstream.name: one.work for one in decision.primary[0].candidates}
    assert work == {"w1": 140_000, "w2": work_on(made.upstreams["w2"], asked, LONG)}, "an idle worker takes any request"

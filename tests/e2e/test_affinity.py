"""Two gateways on one store: they agree whom a prompt or a session belongs to, and on who is next when it is full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateways import KEY, OTHER_KEY, Lane, Site, eventually, gateway_on

AMPLE = {"limit_work_s": 1000}
"""Only the seats are a limit, and nobody is ever overloaded."""
LANES = [
    Lane("prefix", workers=5, cloud=False, worker=AMPLE, route={"scorers": {"prefix": 2}}),
    Lane("session", workers=5, cloud=False, worker=AMPLE, route={"scorers": {"session": 2}}),
    Lane("narrow", workers=4, seats=1, cloud=False, worker=AMPLE, route={"scorers": {"prefix": 2}, "max_wait": 0}),
]
PROMPTS = 8


@pytest.fixture(scope="module")
def other(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A second replica: another process with the same policies and the same store."""
    env = {"GATEWAY_REDIS_URL": f"unix://{site.data / 'store.sock'}"}
    with gateway_on([site.fleet], LANES, tmp_path_factory.mktemp("other"), env) as running:
        yield running


def said(prompt: int, then: str = "hello") -> list[dict[str, Any]]:
    """A long beginning of its own, and an end that differs from turn to turn."""
    return [{"role": "system", "content": f"You are number {prompt}. " * 80}, {"role": "user", "content": then}]


def worker(answer: httpx.Response) -> str:
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.headers["x-gateway-upstream"]


def test_both_send_a_prompt_to_the_same_worker(site: Site, other: Site) -> None:
    placed = [
        {worker(one.chat("prefix", messages=said(prompt, then))) for one in (site, other) for then in ("a", "b")}
        for prompt in range(PROMPTS)
    ]
    assert [len(workers) for workers in placed] == [1] * PROMPTS
    assert len(set.union(*placed)) > 1, "and not all of them to one"
    receipt = site.receipt(site.chat("prefix", messages=said(0)))
    scores = {row["upstream"]: row["score"] for row in receipt["candidates"]}
    assert scores[receipt["chosen"]] == 2.0
    assert sorted(scores.values()) == [0.0, 0.0, 0.0, 1.0, 2.0]


def test_a_tenants_prompts_say_nothing_about_where_those_of_another_go(site: Site) -> None:
    mine, theirs = (
        [worker(site.chat("prefix", {"Authorization": f"Bearer {key}"}, messages=said(n))) for n in range(PROMPTS)]
        for key in (KEY, OTHER_KEY)
    )
    assert mine != theirs


def test_a_session_stays_where_it_is_whatever_it_says(site: Site, other: Site) -> None:
    placed = [
        {
            worker(one.chat("session", {"X-Gateway-Session": f"s{number}"}, messages=said(prompt)))
            for one in (site, other)
            for prompt in range(3)
        }
        for number in range(PROMPTS)
    ]
    assert [len(workers) for workers in placed] == [1] * PROMPTS
    assert len(set.union(*placed)) > 1
    unnamed = {worker(one.chat("session", messages=said(3))) for one in (site, other)}
    assert len(unnamed) == 1, "without a session its prompt's beginning counts"


def agreed(*sites: Site) -> set[str] | None:
    """The one worker that they send it to; None where there are several."""
    found = {worker(one.chat("narrow", messages=said(1))) for one in sites}
    return found if len(found) == 1 else None


def test_a_full_owner_overflows_to_the_next_which_has_read_it_then(site: Site, other: Site) -> None:
    owner = worker(site.chat("narrow", messages=said(1)))
    with site.stream("narrow", messages=said(1), max_tokens=4000, ignore_eos=True) as (answer, lines):
        next(lines)
        assert answer.headers["x-gateway-upstream"] == owner
        following = eventually(lambda: agreed(other, site, other), "they agree")
        assert following != {owner}
    site.quiet("narrow")
    eventually(lambda: {worker(one.chat("narrow", messages=said(1))) for one in (site, other)} == following, "it stays")

"""The learned limit over HTTP: a worker slower than its policy says loses room, and every replica knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis

from tests.gateways import Lane, Site, eventually, gateway_on, serve, start_lanes

SLO = {"ttft_ms": 400, "tpot_ms": 8, "target": 0.9}
AT_ONCE = 16
SLOW = Lane("slow", seats=64, sim={"per_seq_ms": 1.5}, route={"slo": SLO})
"""Its policy says 4 ms a step and 0.1 ms a sequence, so sixteen at once should keep 8 ms a token; they take 28."""
PROMPT = Lane("prompt", seats=64, sim={"per_prompt_token_ms": 0.05}, route={"slo": SLO})
OWN = Lane("own", seats=64, sim={"per_seq_ms": 1.5}, route={"slo": SLO, "limit": "fixed"})
WORDS = 5000
"""Of five bytes each, a token a piece or more: at 0.05 ms each a third of a second until the first one is written."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("learned"), [SLOW, PROMPT, OWN]) as made:
        yield made


def wave(site: Site, model: str) -> Counter[str]:
    """Outcomes of so many streams at once."""

    def one(_: int) -> str:
        with site.stream(model, max_tokens=12, ignore_eos=True) as (answer, lines):
            for _line in lines:
                pass
            return answer.headers["x-gateway-outcome"]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return Counter(pool.map(one, range(AT_ONCE)))


def scale(site: Site, model: str) -> float:
    return (site.samples("gateway_limit_scale", backend=model) or [1.0])[0]


def test_a_worker_slower_than_assumed_loses_room_and_requests_spill(site: Site) -> None:
    before = site.metric("gateway_upstream_limit_seconds", upstream="slow-1")
    assert wave(site, "slow") == {"local": AT_ONCE}, "as far as anybody knows there is room"
    spilled = 0
    for _ in range(12):
        spilled += wave(site, "slow")["spilled"]
        if spilled:
            break
    assert spilled > 0
    assert scale(site, "slow") < 1.0
    assert site.metric("gateway_votes_total", backend="slow", met="no")
    after = site.metric("gateway_upstream_limit_seconds", upstream="slow-1")
    assert before is not None
    assert after is not None
    assert after < before


def test_a_fixed_limit_learns_nothing(site: Site) -> None:
    for _ in range(3):
        assert wave(site, "own") == {"local": AT_ONCE}
    assert site.metric("gateway_votes_total", backend="own") is None
    assert site.samples("gateway_limit_scale", backend="own") == []


def test_a_stream_gives_back_the_work_of_its_prompt_with_its_first_token(site: Site) -> None:
    def load() -> int:
        with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as client:
            return sum(int(work) for work in client.hvals("gw:{prompt}:load"))  # type: ignore[union-attr]

    seen: list[int] = []
    with ThreadPoolExecutor(1) as pool:

        def long_one() -> str:
            messages = [{"role": "user", "content": "word " * WORDS}]
            with site.stream("prompt", messages=messages, max_tokens=400, ignore_eos=True) as (answer, lines):
                next(lines)
                eventually(lambda: load() < seen[0], "less work on the worker than before the first token")
                assert load() > 0
                return answer.headers["x-gateway-outcome"]

        asked = pool.submit(long_one)
        eventually(lambda: load() and (seen.append(load()) or True), "a lease")
        assert asked.result(20) == "local"
    site.quiet("prompt")


def test_receipts_tell_the_forecast_and_metrics_its_error(site: Site) -> None:
    answer = site.chat("prompt", max_tokens=20, ignore_eos=True)
    said = site.receipt(answer)["forecast"]
    assert said["output_tokens"] == 20
    assert 0 < said["first_ms"] < said["total_ms"]
    assert said["usd"] > 0
    for what in ("prompt_tokens", "output_tokens", "total", "price"):
        assert site.metric("gateway_estimate_error_quantile", what=what, quantile="0.5") is not None


def test_replicas_share_scale_and_lengths(tmp_path: Path) -> None:
    with start_lanes([SLOW]) as fleet, gateway_on([fleet], [SLOW], tmp_path / "one") as one:
        url = f"unix://{one.data / 'store.sock'}"
        with gateway_on([fleet], [SLOW], tmp_path / "two", {"GATEWAY_REDIS_URL": url}) as two:
            for _ in range(3):
                wave(one, "slow")
            told = eventually(lambda: scale(one, "slow") if scale(one, "slow") < 1 else None, "a vote")
            eventually(lambda: scale(two, "slow") <= told, "the other replica's scale")
            said = two.receipt(two.http.post("/v1/chat/completions", json=_open_ended()))["forecast"]
            assert said["output_tokens"] < 100, "lengths learned by the first replica, not the prior of 211"


def _open_ended() -> dict[str, object]:
    return {"model": "slow", "messages": [{"role": "user", "content": "hello"}]}


def test_the_limit_holds_for_rules_without_an_slo_too(site: Site) -> None:
    """`slow-flagged` has none, but it sends to the same workers."""
    answer: httpx.Response = site.chat("slow", headers={"X-Data-Residency": "local"})
    rows = site.receipt(answer)["candidates"]
    limit = site.metric("gateway_upstream_limit_seconds", upstream="slow-1")
    assert limit is not None
    assert rows[0]["limit"] == pytest.approx(limit * 1e6 * 0.9, rel=0.2), "standard requests may fill 0.9 of it"

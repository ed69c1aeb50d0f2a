"""The user's own words: readings of queue depth and GPU use decide beside the leases."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.gateways import WEIGHTS, Lane, Site, chat_body, eventually

ROOMY = {"max_num_seqs": 200, "limit_work_s": 1000}
DWELL, SNAPSHOT = 1.5, 0.5
"""Seconds: the rule's dwell, and how late a snapshot may show it."""
LANES = [
    Lane(
        "damped",
        seats=2,
        worker=ROOMY,
        route={
            "spill": {"backends": ["damped-api"], "when": {"queue_depth": "> 8"}},
            "damp": {"enter": 1, "exit": 0.5, "dwell": DWELL},
        },
    ),
    Lane("deep", seats=2, worker=ROOMY, route={"spill": {"backends": ["deep-api"], "when": {"queue_depth": "> 8"}}}),
    Lane("hot", seats=4, worker=ROOMY, route={"spill": {"backends": ["hot-api"], "when": {"gpu_util": "> 0.6"}}}),
]


@contextlib.contextmanager
def strangers(url: str, streams: int) -> Iterator[None]:
    """Traffic that goes to a worker without asking the gateway."""
    limits = httpx.Limits(max_connections=streams)
    with (
        httpx.Client(base_url=url, trust_env=False, timeout=20, limits=limits) as client,
        contextlib.ExitStack() as open_,
    ):
        for _ in range(streams):
            body = chat_body(WEIGHTS, stream=True, max_tokens=4000, ignore_eos=True)
            open_.enter_context(client.stream("POST", "/v1/chat/completions", json=body))
        yield


@pytest.mark.parametrize(("lane", "streams", "words"), [("deep", 14, "queue_depth > 8"), ("hot", 4, "gpu_util > 0.6")])
def test_readings_over_the_threshold_spill(site: Site, lane: str, streams: int, words: str) -> None:
    assert site.chat(lane).headers["x-gateway-outcome"] == "local"
    url = next(worker.url for worker in site.fleet.workers if worker.name == f"{lane}-1")

    name, _, threshold = words.split()
    gauge = {"queue_depth": "gateway_upstream_queue_depth", "gpu_util": "gateway_upstream_gpu_utilisation"}[name]

    def reading() -> float:
        return site.metric(gauge, upstream=f"{lane}-1") or 0.0

    with strangers(url, streams):
        eventually(lambda: reading() > float(threshold), f"{words} is seen")
        spilled = site.chat(lane)
    assert spilled.headers["x-gateway-reason"] == "spill_when"
    receipt = site.receipt(spilled)
    assert receipt["spill_when"] == words
    local = next(candidate for candidate in receipt["candidates"] if candidate["upstream"] == f"{lane}-1")
    assert local["queue_depth"] > 8 if lane == "deep" else local["gpu"] > 0.6
    assert local["load"] < 0.5, "by its leases the worker has room"
    eventually(lambda: reading() <= float(threshold), "the readings fall again")
    eventually(lambda: site.chat(lane).headers["x-gateway-outcome"] == "local", "and its dwell is over")


def test_a_spike_spills_for_as_long_as_it_dwells_and_no_longer(site: Site) -> None:
    """The worker is deep in work for a moment; the rule goes on spilling for its 1.5 s although the queue is gone."""
    url = next(worker.url for worker in site.fleet.workers if worker.name == "damped-1")

    def depth() -> float:
        return site.metric("gateway_upstream_queue_depth", upstream="damped-1") or 0.0

    def spills() -> bool:
        return site.chat("damped").headers["x-gateway-outcome"] == "spilled"

    with strangers(url, 14):
        eventually(lambda: depth() > 8, "the queue is seen")
        assert spills()
        began = time.monotonic()
    eventually(lambda: depth() == 0, "the queue is gone")
    assert spills(), "by its state, not by the reading"
    eventually(lambda: not spills(), "it ends")
    assert time.monotonic() - began >= DWELL - SNAPSHOT, f"not {DWELL} s"
    assert not any(spills() for _ in range(3)), "and does not come back"

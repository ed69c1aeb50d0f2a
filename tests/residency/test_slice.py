"""A slice of `make prove-residency`, and proof that it can fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from gateway.audit.lines import GENESIS, make_line
from gateway.edge import job_ask
from gateway.edge.body import Body
from gateway.edge.calls import Call
from gateway.model import Demand, Policy, Tenant, Upstream
from loadtests.residency import media_site, oracle
from loadtests.residency.http import prove_http
from loadtests.residency.media_http import prove_media
from loadtests.residency.page import LEAST, missing, verdict
from loadtests.residency.run import Tally, prove

FEWER = 5
"""A few worlds differ more from each other than many do."""
SELDOM = (
    *("times without the store", "hedges", "rescues", "under rules that change"),
    *("orders", "flagged jobs", "results kept", "translated"),
)
"""What a slice may be without."""

SEEDS = 6
"""Worlds run on a clock of their own beside a real store: what a seed meets differs a little from run to run. Where
many worlds meet nothing at all, the seeds of those that met the most of the first twelve are named."""


def everywhere(_demand: Demand, _upstream: Upstream, _zones: Mapping[str, frozenset[str]]) -> bool:
    return True


def test_nothing_goes_where_it_may_not() -> None:
    tally = prove(seed=7, count=3_000)
    assert tally.forbidden == []
    counts = tally.counts
    assert counts["requests"] == sum(tally.statuses.values()) == 3_000
    least = {name: share / FEWER for name, share in LEAST["in one process"].items() if name not in SELDOM}
    assert missing(tally, least) == []


def test_nor_over_http(tmp_path: Path) -> None:
    tally = prove_http(tmp_path, seed=7, count=200)
    assert (tally.forbidden, sum(tally.statuses.values())) == ([], 200)
    assert tally.counts["deliveries"] >= 30


STRICTER = tuple(replace(world, models=dict.fromkeys(world.models, ("local",))) for world in media_site.WORLDS)
"""What the gateway of the slice was never told: that all must stay at home."""


def test_nor_do_pictures_sound_and_films_over_http(tmp_path: Path) -> None:
    """And the judge would have said so: by a stricter policy, and with results on somebody else's machines."""
    seen = prove_media(tmp_path, seed=7, count=90)
    tallies = seen.judged()
    assert [tally.forbidden for tally in tallies.values()] == [[]] * 4
    counts = sum((tally.counts for tally in tallies.values()), Counter[str]())
    assert counts["requests"] == sum(tally.statuses.total() for tally in tallies.values()) == 90
    assert not any(tally.statuses[500] for tally in tallies.values())
    assert min(counts[name] for name in ("jobs", "results kept", "results given out", "processes killed")) > 0
    assert counts["deliveries"] >= 10
    assert any("must stay" in told for tally in seen.judged(STRICTER).values() for told in tally.forbidden)
    elsewhere = seen.judged(STRICTER, oracle.Place(False, "us"))
    assert any("not ours" in told for tally in elsewhere.values() for told in tally.forbidden)


@pytest.mark.parametrize(
    ("broken", "instead", "found"),
    [
        (("gateway.routing.filters.allows", "gateway.routing.board.allows"), everywhere, "its data must stay in"),
        (("gateway.edge.body.residency",), lambda _fields: None, "its data must stay in"),
        (
            ("gateway.upstreams.http1.connection.Connection._check_peer",),
            lambda _self, _networks: None,
            "a peer outside",
        ),
        (("gateway.edge.forward.Forward._audit",), lambda _self, _lease, _wire: None, "no line says"),
        (
            ("gateway.audit.chain.make_line",),
            lambda key, name, n, prev, fields: make_line(key, name, n, GENESIS, fields),
            "not whole",
        ),
    ],
    ids=["filter", "metadata", "peer", "no audit", "no chain"],
)
def test_a_gateway_that_broke_its_promise_would_be_found(
    broken: tuple[str, ...], instead: Callable[..., object], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in broken:
        monkeypatch.setattr(place, instead)
    for seed in range(1, SEEDS + 1):
        tally = prove(seed=seed, count=1_000)
        if any(found in told for told in tally.forbidden):
            break
    assert any(found in told for told in tally.forbidden)
    assert tally.counts["forbidden"] > 0
    assert verdict({"in one process": tally}).endswith(": does not hold")


def kept_nowhere_wrong(*_: object) -> bool:
    return True


def forgotten(call: Call, tenant: Tenant, body: Body, demand: Demand, policy: Policy) -> job_ask.Sealed:
    return msgspec.structs.replace(
        sealed(call, replace(tenant, residency=Demand()), body, Demand(), policy), residency=None
    )


sealed = job_ask.sealed


@pytest.mark.parametrize(
    ("broken", "instead", "found", "seeds"),
    [
        (("gateway.jobs.artefacts.Lies.admits",), kept_nowhere_wrong, "kept outside", (1, 12, 6, 7)),
        (("gateway.edge.job_desk.job_ask.sealed",), forgotten, "demanded more of", (6, 1, 3, 5)),
        (
            ("gateway.routing.filters.allows", "gateway.routing.board.allows"),
            everywhere,
            "endpoint='videos'",
            (8, 11, 10),
        ),
        (("gateway.edge.hearing._residency",), lambda _upload: None, "endpoint='audio/transcriptions'", (7, 6, 5, 11)),
    ],
    ids=["place of results", "demand of a job", "filter of films", "metadata of a form"],
)
def test_one_that_broke_it_for_media_alone_would_be_found(
    broken: tuple[str, ...],
    instead: Callable[..., object],
    found: str,
    seeds: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place in broken:
        monkeypatch.setattr(place, instead)
    told: list[str] = []
    for seed in seeds:
        told += prove(seed=seed, count=1_000, films=20.0).forbidden
        if any(found in one for one in told):
            break
    assert any(found in one for one in told), told


def test_a_run_that_tempts_nobody_proves_nothing() -> None:
    assert verdict({"in one process": Tally()}).endswith("proves nothing, too little was tried")

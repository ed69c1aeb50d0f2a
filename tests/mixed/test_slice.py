"""A fast slice of `make mixed`: where pictures go, no times."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from loadtests.mixed.__main__ import p99, quantile, row
from loadtests.mixed.arms import PATH, Arm, body
from loadtests.mixed.site import KEY, MODEL, Site, running
from loadtests.mixed.trace import KINDS, trace
from tests.polling import until

THUMBNAIL, PICTURE, LARGE = KINDS
UNIT_S = 0.5


def drawn(site: Site) -> int:
    return sum(site.fleet.state(worker.name)["running"] for worker in site.fleet.workers)


async def where(site: Site) -> tuple[list[str], list[str]]:
    """Workers of two large pictures, and of the thumbnails that come while those are drawn, through both replicas."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:

        async def one(number: int, kind: object) -> str:
            url = f"{site.gateways[number % len(site.gateways)].url}{PATH}"
            answer = await http.post(url, json=body(MODEL, kind), headers={"Authorization": f"Bearer {KEY}"})  # type: ignore[arg-type]
            return answer.headers["x-gateway-upstream"]

        large = [asyncio.create_task(one(number, LARGE)) for number in range(2)]
        await until(lambda: drawn(site) == len(large))
        small = [await one(number, THUMBNAIL) for number in range(12)]
        return [await each for each in large], small


def test_no_thumbnail_waits_behind_a_large_picture(tmp_path: Path) -> None:
    """A count would see one request here and none there for a moment only; the thumbnails before are over at once."""
    with running(tmp_path, UNIT_S) as site:
        large, small = asyncio.run(where(site))
    assert len(set(large)) == 2
    assert set(small).isdisjoint(large)


def test_a_trace_keeps_its_workers_as_busy_as_it_says() -> None:
    arrivals = trace(3, 20_000, workers=4, unit_s=UNIT_S, busy=0.7)
    work = sum(one.kind.units * UNIT_S for one in arrivals)
    assert work / (4 * arrivals[-1].at) == pytest.approx(0.7, rel=0.1)
    assert trace(3, 5, 4, UNIT_S, 0.7) == trace(3, 5, 4, UNIT_S, 0.7)


def test_kinds_weigh_steps_and_pixels() -> None:
    assert LARGE.units == pytest.approx(800 * THUMBNAIL.units)
    assert sum(kind.share for kind in KINDS) == pytest.approx(1)


def test_the_row_of_an_arm() -> None:
    arm = Arm("x", [(number / 100, THUMBNAIL) for number in range(1, 101)])
    assert p99(arm) == 0.99
    assert quantile([1.0], 0.99) == 1.0
    assert row(arm, 2)[:5] == ["2", "x", "500", "950", "990"]

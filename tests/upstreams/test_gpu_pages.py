"""Pages of nodes over HTTP: read once for all workers, kept while they fail, and how late they can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.model import GpuLook
from gateway.upstreams import gpu_pages
from gateway.upstreams.client import Client
from gateway.upstreams.dialects.dcgm import LAG_SECONDS
from gateway.upstreams.gpu_pages import SLOWEST_LOOK_SECONDS, GpuPages
from tests.worlds import policy, upstream


class Exporter:
    """Serves one page, on a socket."""

    def __init__(self) -> None:
        self.page, self.asked, self.well = "", 0, True
        self.url = ""

    def tell(self, power: int, gpus: int = 2) -> None:
        self.page = "".join(
            f'DCGM_FI_DEV_POWER_USAGE{{gpu="{index}",UUID="GPU-{index}",Hostname="n"}} {power}\n'
            for index in range(gpus)
        )

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = self.page.encode()
        status = b"200 OK" if self.well else b"500 Oops"
        head = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        writer.write(head % (status, len(body)) + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def exporting() -> AsyncIterator[tuple[Exporter, GpuPages]]:
    exporter, client = Exporter(), Client()
    exporter.tell(100)
    server = await asyncio.start_server(exporter.answer, "127.0.0.1", 0)
    exporter.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    yield exporter, GpuPages(client)
    server.close()
    await client.aclose()


async def look(pages: GpuPages, exporter: Exporter, index: int = 0) -> GpuLook:
    found = await pages.look(upstream("w", "gpu", dcgm=exporter.url, gpus=(index,)))
    assert found is not None
    return found


async def test_a_page_is_read_once_a_round_for_all_its_workers() -> None:
    async with exporting() as (exporter, pages):
        looks = await asyncio.gather(*(look(pages, exporter, index) for index in (0, 1, 0, 1)))
        assert exporter.asked == 1
        assert [one.gpus[0].uuid for one in looks] == ["GPU-0", "GPU-1", "GPU-0", "GPU-1"]


async def test_a_page_that_fails_is_asked_for_once_a_round_too() -> None:
    async with exporting() as (exporter, pages):
        exporter.well = False
        worker = upstream("w", "gpu", dcgm=exporter.url)
        assert await asyncio.gather(*(pages.look(worker) for _ in range(4))) == [None] * 4
        assert exporter.asked == 1


async def test_a_page_that_fails_leaves_the_last_one_standing_with_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_pages, "PAGE_SECONDS", 0.0)
    async with exporting() as (exporter, pages):
        exporter.well = False
        assert await pages.look(upstream("w", "gpu", dcgm=exporter.url)) is None, "it was never read"
        exporter.well = True
        first = await look(pages, exporter)
        exporter.well = False
        second = await look(pages, exporter)
        assert second.gpus == first.gpus
        assert second.age > first.age


async def test_an_exporter_is_as_late_as_it_has_been_seen_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_pages, "PAGE_SECONDS", 0.0)
    async with exporting() as (exporter, pages):
        lags = []
        for power in (100, 200, 300, 400):
            exporter.tell(power)
            lags.append((await look(pages, exporter)).lag)
        assert lags[:2] == [LAG_SECONDS + SLOWEST_LOOK_SECONDS] * 2, "nobody knows what came before the first page"
        assert all(SLOWEST_LOOK_SECONDS < lag < SLOWEST_LOOK_SECONDS + 5 for lag in lags[2:])


async def test_a_worker_of_no_page_or_with_no_gpu_on_it() -> None:
    async with exporting() as (exporter, pages):
        assert await pages.look(upstream("w", "gpu")) is None
        assert await pages.look(upstream("w", "gpu", dcgm=exporter.url, gpus=(7,))) is None


async def test_pages_that_no_worker_names_are_forgotten() -> None:
    async with exporting() as (exporter, pages):
        await look(pages, exporter)
        pages.keep(policy((upstream("w", "gpu", dcgm=exporter.url),)))
        await look(pages, exporter)
        assert exporter.asked == 1
        pages.keep(policy())
        await look(pages, exporter)
        assert exporter.asked == 2


def test_a_large_page_is_cheap() -> None:
    """8 GPUs with 60 series each, 13 labels on each line; told in CPU time of this process."""
    labels = ",".join(f'label_{number}="{"x" * 20}"' for number in range(9))
    wanted = ["DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"]
    names = wanted + [f"DCGM_FI_DEV_OTHER_{number}" for number in range(56)]
    page = "".join(
        f'{name}{{gpu="{gpu}",UUID="GPU-{gpu}",Hostname="n",device="nvidia{gpu}",{labels}}} 1\n'
        for name in names
        for gpu in range(8)
    )
    began = time.process_time()
    for _ in range(20):
        assert len(gpu_pages.dcgm.parse_gpus(page)) == 8
    assert (time.process_time() - began) / 20 < 0.005, "it takes some 0.3 ms; ten times as much is a mistake"

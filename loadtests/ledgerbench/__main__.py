"""`make ledger-bench`: 2,000 rows a second through the store into SQLite and PostgreSQL, while the gateway whose writer
it is serves requests. Windows with and without rows take turns; figures are medians over them."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import msgspec
import uvloop
from sqlalchemy import create_engine, func, select

from gateway.ledger.place import ledger_url
from gateway.ledger.tables import attempts
from gateway.ledger.watch import look
from gateway.model import Row
from gateway.money.till import STREAM
from gateway.money.unsettled import BATCH
from gateway.settings import Settings
from gateway.store.connection import Store
from loadtests.bench.machine import cpu_name
from loadtests.ledgerbench.postgres import binaries, started
from loadtests.ledgerbench.site import ask, cpu, site, writer_of

ROWS_PER_SECOND = 2_000
MOST_LAG_SECONDS = 2.0
"""The oldest row that is not in the database yet, while all goes well."""
REQUESTS_PER_SECOND = 20
MISSING = 2
"""Exit code: something that the bench needs is not installed."""
MARK = "bench-"
USUAL = Row(
    attempt=MARK, request="req-0123456789abcdef", began=0, ended=0, tenant="acme", key="ci", tags=("team-a",),
    model="llama-3.3-70b", endpoint="chat", rule="local-first", backend="cloud", upstream="cloud-1", served_as="llama",
    kind="managed", role="asked", outcome="spilled", reason="saturated", result="ok", status=200, policy="0123456789ab",
    input_tokens=812, output_tokens=207, cost=1_234, list_cost=1_400, basis="contract", reserved=9_000,
)  # fmt: skip


@dataclass(slots=True)
class Figures:
    """Of one database. Latencies in seconds."""

    fed: int = 0
    seconds: float = 0.0
    stored: int = 0
    lag_rows: int = 0
    lag_seconds: float = 0.0
    writer_us: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.fed / self.seconds

    @property
    def passed(self) -> bool:
        return self.stored == self.fed and self.rate > 0.99 * ROWS_PER_SECOND and self.lag_seconds <= MOST_LAG_SECONDS


async def feed(store: Store, figures: Figures, seconds: float) -> None:
    """ROWS_PER_SECOND in entries as the till makes them, evenly."""
    head, _, tail = msgspec.json.encode(replace(USUAL, ended=time.time_ns() // 1000)).partition(MARK.encode())
    began = time.monotonic()
    for number in range(int(seconds * ROWS_PER_SECOND / BATCH)):
        rows = [b"%b%b%d%b" % (head, MARK.encode(), figures.fed + place, tail) for place in range(BATCH)]
        await store.call("XADD", STREAM, "*", *(part for row in rows for part in ("row", row)))
        figures.fed += BATCH
        await asyncio.sleep(began + (number + 1) * BATCH / ROWS_PER_SECOND - time.monotonic())
    figures.seconds += time.monotonic() - began


async def watch(store: Store, figures: Figures) -> None:
    while True:
        lag = await look(store)
        figures.lag_rows = max(figures.lag_rows, lag.rows)
        figures.lag_seconds = max(figures.lag_seconds, lag.seconds)
        await asyncio.sleep(0.1)


async def requests(client: httpx.AsyncClient, url: str, into: list[float]) -> None:
    while True:
        into.append(await ask(client, url))
        await asyncio.sleep(1 / REQUESTS_PER_SECOND)


async def beside(url: str, store: Store, figures: Figures, seconds: float, *, rows: bool) -> None:
    """One window of requests, with rows or without."""
    async with httpx.AsyncClient(trust_env=False) as client:
        await ask(client, url)
        others = [asyncio.create_task(requests(client, url, figures.beside if rows else figures.without))]
        if rows:
            others.append(asyncio.create_task(watch(store, figures)))
            await feed(store, figures, seconds)
        else:
            await asyncio.sleep(seconds)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def measure(url: str, store_url: str, pid: int, windows: int, seconds: float) -> Figures:
    figures, store = Figures(), Store(store_url, timeout=5.0)
    await store.check()
    try:
        while not (await look(store)).writers:  # noqa: ASYNC110  # it has no event for us
            await asyncio.sleep(0.1)
        for _ in range(windows):
            await beside(url, store, figures, seconds, rows=False)
            before, fed = cpu(pid), figures.fed
            await beside(url, store, figures, seconds, rows=True)
            while await store.call("XLEN", STREAM):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            figures.writer_us.append((cpu(pid) - before) / (figures.fed - fed) * 1e6)
    finally:
        await store.aclose()
    return figures


def run(folder: Path, given_url: str, windows: int, seconds: float) -> Figures:
    with site(folder, given_url) as gateway:
        figures = uvloop.run(
            measure(gateway.url, f"unix://{folder}/data/store.sock", writer_of(gateway), windows, seconds)
        )
    engine = create_engine(ledger_url(Settings(ledger_url=given_url)))
    with engine.begin() as connection:
        mine = attempts.c.attempt.startswith(MARK)
        figures.stored = connection.execute(select(func.count()).where(mine)).scalar_one()
    engine.dispose()
    return figures


def told(name: str, figures: Figures) -> str:
    without, beside_rows = statistics.median(figures.without) * 1e3, statistics.median(figures.beside) * 1e3
    us = statistics.median(figures.writer_us)
    return (
        f"{name:12}{figures.rate:8.0f} rows/s, {figures.stored:,} of {figures.fed:,} stored; behind by at most "
        f"{figures.lag_seconds:.2f} s ({figures.lag_rows} rows); writer {us:.0f} us of CPU a row "
        f"({us * ROWS_PER_SECOND / 1e4:.0f} % of a core); a request {without:.2f} ms without rows, "
        f"{beside_rows:.2f} ms beside them"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.ledgerbench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each window")
    parser.add_argument("--windows", type=int, default=3, help="with rows, and as many without")
    given = parser.parse_args()
    tools = binaries()
    if tools is None:
        print("PostgreSQL (initdb, postgres) is not installed: nothing was measured", file=sys.stderr)
        return MISSING
    passed = True
    print(f"{os.cpu_count()} CPUs, {cpu_name()}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledger-bench-")))
        server = stack.enter_context(started(tools))
        for name, url in (("SQLite", f"sqlite:///{folder}/ledger.db"), ("PostgreSQL", server.url)):
            figures = run(folder / name, url, given.windows, given.seconds)
            passed &= figures.passed
            print(told(name, figures), flush=True)
    print("PASS" if passed else "FAIL")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""`make balance`: bursts of 64 requests at once on four equal workers; exit 0 even, 1 not, 2 something is missing."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median, quantiles

import httpx

from loadtests.balance import wakes
from loadtests.balance.arms import SECONDS, ByScrapes, Send, ThroughGateway
from loadtests.balance.site import Site, running
from loadtests.bench import table
from loadtests.simfleet.harness import SimFault
from loadtests.stack import StackFault

BURSTS, SIZE, WAKES = 10, 64, 20
MOST = 1.15
"""What the busiest worker may get of a burst, as a multiple of the mean."""
REST_SECONDS = 1.5
"""Between two bursts: the workers' gauges lag by a second, and both arms begin with what idle workers say."""
NOTE = "1.00 is even; of four workers, 4.00 is all on one"
FAULTS = (SimFault, StackFault, httpx.HTTPError, OSError)


@dataclass(slots=True)
class Arm:
    """`counts`: of each burst, what each worker received."""

    name: str
    counts: list[list[int]] = field(default_factory=list)
    failed: int = 0

    @property
    def ratios(self) -> list[float]:
        """The busiest over the mean, by burst."""
        return [max(counts) / fmean(counts) for counts in self.counts]

    def row(self) -> list[str]:
        ratios = self.ratios
        worst = self.counts[ratios.index(max(ratios))]
        return [self.name, f"{median(ratios):.2f}", f"{max(ratios):.2f}", " ".join(map(str, worst)), str(self.failed)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.balance", description=__doc__)
    parser.add_argument("--bursts", type=int, default=BURSTS, help=f"for each arm ({BURSTS})")
    parser.add_argument("--size", type=int, default=SIZE, help=f"requests at once ({SIZE})")
    parser.add_argument("--wakes", type=int, default=WAKES, help=f"places freed for the other replica ({WAKES})")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-balance-") as place, running(Path(place)) as site:
            arms = asyncio.run(play(site, options.bursts, options.size))
        with tempfile.TemporaryDirectory(prefix="gateway-wakes-") as place:
            found = wakes.measure(Path(place), options.wakes) if options.wakes > 1 else []
    except FAULTS as fault:
        print(f"make balance: {type(fault).__name__}: {fault}", file=sys.stderr)
        return 2
    ours = arms[0]
    print(table.plain(("busiest / mean", "median", "worst", "its counts", "not answered"), [arm.row() for arm in arms]))
    print(NOTE)
    if found:
        middle, late = median(found), quantiles(found, n=20)[-1]
        print(f"a place freed at one replica serves who waits at the other after {middle:.1f} ms (p95 {late:.1f} ms)")
    even = max(ours.ratios) <= MOST and not ours.failed
    word = "holds" if even else "FAILS"
    print(f"balance: the busiest worker gets {max(ours.ratios):.2f}x the mean, at most {MOST}: {word}")
    return 0 if even else 1


async def play(site: Site, bursts: int, size: int) -> list[Arm]:
    """The gateway and the yardstick, burst by burst in turn."""
    # A worker closes idle connections after 5 s: none of ours may be that old when it is used again.
    limits = httpx.Limits(max_connections=2 * size, keepalive_expiry=1.0)
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS, limits=limits) as http:
        ours, scrapes = ThroughGateway(site, http), ByScrapes(site, http)
        arms = [Arm("gateway, 2 replicas"), Arm("scraped metrics")]
        scraping = asyncio.create_task(scrapes.scrape_forever())
        try:
            for _ in range(bursts):
                for arm, send in zip(arms, (ours.send, scrapes.send), strict=True):
                    await asyncio.sleep(REST_SECONDS)
                    await burst(site, arm, send, size)
        finally:
            scraping.cancel()
            with suppress(asyncio.CancelledError):
                await scraping
    return arms


async def burst(site: Site, arm: Arm, send: Send, size: int) -> None:
    before = await asyncio.to_thread(site.received)
    answered = await asyncio.gather(*(send(number) for number in range(size)))
    after = await asyncio.to_thread(site.received)
    arm.counts.append([after[name] - before[name] for name in after])
    arm.failed += answered.count(False)


if __name__ == "__main__":
    sys.exit(main())

"""`make reload-test`: requests at a fixed rate while the policy folder is rewritten; exit 0 held, 1 not, 2 missing."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from loadtests.reload import letters
from loadtests.reload.letters import LETTERS, Echo, Verdict, judge, policy, version_of, write
from loadtests.soak.wire import Wire
from loadtests.stack import StackFault, start_gateway

RATE, SECONDS, EVERY = 500.0, 20.0, 0.3
SLACK_SECONDS = 25.0
"""For the last answers: a request may wait for room for 20 s."""
BROKEN = "rules: [{name: broken, rout: {}}]"
KEPT_WRONG = 10


@dataclass(slots=True)
class Tally:
    """What was seen. `by`: answers by letter of the version; `moves`: changes from one answer to the next."""

    seconds: list[float] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrong_count: int = 0
    moves: int = 0
    writes: int = 0
    last: str | None = None

    def add(self, verdict: Verdict, seconds: float) -> None:
        self.seconds.append(seconds)
        if verdict.letter is None:
            self.wrong_count += 1
            if len(self.wrong) < KEPT_WRONG:
                self.wrong.append(verdict.wrong or "")
            return
        self.by[verdict.letter] += 1
        self.moves += self.last not in (None, verdict.letter)
        self.last = verdict.letter


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-reload-") as place:
            tally = uvloop.run(run(Path(place), options.rate, options.seconds, options.every, options.workers))
    except (StackFault, OSError) as fault:
        print(f"make reload-test: {fault}", file=sys.stderr)
        return 2
    return report(tally, options.rate * options.seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.reload", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests a second ({RATE:g})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of load ({SECONDS:g})")
    parser.add_argument("--every", type=float, default=EVERY, help=f"seconds between rewrites ({EVERY:g})")
    parser.add_argument("--workers", type=int, default=1, help="processes of the gateway (1)")
    return parser


async def run(place: Path, rate: float, seconds: float, every: float, workers: int) -> Tally:
    """Raises StackFault."""
    loop, folder = asyncio.get_running_loop(), place / "policies"
    servers = {
        letter: await loop.create_server(lambda letter=letter: Echo(letter), "127.0.0.1", 0)  # type: ignore[misc]
        for letter in LETTERS
    }
    files = {letter: policy(letter, server.sockets[0].getsockname()[1]) for letter, server in servers.items()}
    versions = {}
    for letter in reversed(LETTERS):
        write(folder, files[letter])
        versions[version_of(folder)] = letter
    env = {"GATEWAY_KEY_PEPPER": letters.PEPPER, "GATEWAY_WORKERS": str(workers)}
    gateway = await asyncio.to_thread(start_gateway, folder, place / "data", env=env, log=place / "gateway.log")
    tally = Tally()
    editing = asyncio.create_task(edit(folder, files, every, tally))
    try:
        await offer(urlsplit(gateway.url).port or 0, rate, seconds, versions, tally)
    finally:
        editing.cancel()
        await asyncio.to_thread(gateway.stop)
        for server in servers.values():
            server.close()
    return tally


async def edit(folder: Path, files: dict[str, dict[str, object]], every: float, tally: Tally) -> None:
    """B, broken, A, broken, and so on until cancelled."""
    for letter in itertools.cycle(reversed(LETTERS)):
        for broken in (False, True):
            await asyncio.sleep(every)
            if broken:
                (folder / "routing.yaml").write_text(BROKEN)
            else:
                write(folder, files[letter])
            tally.writes += 1


async def offer(port: int, rate: float, seconds: float, versions: dict[str, str], tally: Tally) -> None:
    """An open loop: `rate` requests a second at even gaps, on a connection that is free or a new one."""
    loop, free, raw = asyncio.get_running_loop(), deque[Wire](), letters.request()

    async def ask(due: float) -> None:
        wire = free.pop() if free else await Wire.connect(port)
        answer = wire.ask(raw)
        await wire.until(lambda told: told.whole)
        tally.add(judge(answer, versions), loop.time() - due)
        if wire.open:
            free.append(wire)

    begun = loop.time()
    async with asyncio.timeout(seconds + SLACK_SECONDS), asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(due - loop.time())
            group.create_task(ask(due))
    for wire in free:
        wire.leave()


def report(tally: Tally, wanted: float) -> int:
    """Prints what was seen and the verdict last; returns the exit code."""
    times = sorted(tally.seconds)
    answered = len(times)
    told = ", ".join(f"{count} by {letter}" for letter, count in sorted(tally.by.items()))
    print(f"{answered} requests, {tally.wrong_count} wrong; {told}")
    print(f"{tally.writes} rewrites, every second one broken; {tally.moves} changes from one answer to the next")
    if times:
        shown = (f"{name} {times[min(answered - 1, int(answered * at))] * 1000:.1f} ms" for name, at in QUANTILES)
        print("answered in", ", ".join(shown))
    print(*(f"wrong: {line}" for line in tally.wrong), sep="\n", end="\n" if tally.wrong else "")
    held = answered == int(wanted) and not tally.wrong_count and len(tally.by) == len(LETTERS)
    print(f"reload: {'no request failed and none was decided by a mixture' if held else 'NOT held'}")
    return 0 if held else 1


QUANTILES = (("p50", 0.5), ("p99", 0.99), ("most", 1.0))


if __name__ == "__main__":
    sys.exit(main())

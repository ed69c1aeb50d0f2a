"""`make soak`: mixed load, clients that leave, workers that fail; exit 0 held, 1 not, 2 something is missing."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import redis
import uvloop

from loadtests.bench import machine, proc, table
from loadtests.simfleet.harness import SimFault
from loadtests.soak import judge, trouble
from loadtests.soak.judge import Run
from loadtests.soak.load import Load
from loadtests.soak.site import Site, running
from loadtests.soak.watch import Sample, Watch, loud_lines
from loadtests.stack import StackFault

SECONDS, RATE = 600.0, 30.0
SAMPLES = 60
FAULTS = (SimFault, StackFault, httpx.HTTPError, redis.RedisError, OSError)
UNDER_LOAD = (*FAULTS, ValueError)
"""A process that has just ended leaves empty files in /proc: ValueError."""
KEEP_ALIVE_SECONDS = 5
"""Of the simulated servers: vLLM's default."""
REST_SECONDS = 45.0
"""Within which the gateway must be back at rest. It keeps idle connections for 4 s, over TLS for 30 s."""
AUDIT_FILES = 2
"""The chain and the seals, which a process keeps open from its first flagged request on."""
POLL_SECONDS = 0.25
NOTE = (
    "Written by `make soak`. `leases` is what the store holds, `shown` what /metrics says, `true` what the simulated "
    "servers were busy with, read one after the other while requests come and go. Memory is PSS of the gateway's "
    "processes (of several, with their parent); `heap` is that without mapped files, whose share moves when other "
    "programs that map them start or end. Receipts lie in the store, up to GATEWAY_RECEIPTS_BYTES. Flat means: the "
    "median heap of the run's last tenth over that of its second tenth (of 600 s: the last minute over the second)."
)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    about = machine.describe()
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-soak-") as place:
            run = soak(Path(place), options.seconds, options.rate, options.workers)
    except FAULTS as fault:
        print(f"make soak: {type(fault).__name__}: {fault}", file=sys.stderr)
        return 2
    report(run, about, options.out)
    lines, wrong = judge.judge(run), [*run.tally.wrong, *run.loud, *run.ended]
    print(*[f"wrong: {told}" for told in wrong], *[line.text() for line in lines], sep="\n")
    code = table.exit_code(lines, wrong)
    print(f"soak: {('every line holds', 'not every line holds', 'not every line could be measured')[code]}")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of load ({SECONDS:g})")
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests a second ({RATE:g})")
    parser.add_argument("--workers", type=int, default=1, help="processes of the gateway (1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a markdown page")
    return parser


def soak(place: Path, seconds: float, rate: float, workers: int = 1, keep_alive_s: int = KEEP_ALIVE_SECONDS) -> Run:
    """One run with its files in `place`. Raises one of FAULTS where it cannot begin; a later one is in `Run.ended`."""
    with running(place, workers, keep_alive_s) as site, closing(Watch(site)) as watch:
        return uvloop.run(_soak(site, watch, seconds, rate, workers))


async def _soak(site: Site, watch: Watch, seconds: float, rate: float, workers: int) -> Run:
    loop, fleet_pid = asyncio.get_running_loop(), site.fleet.pid
    before = await _rest(watch, 0.0, lambda sample: sample.processes == workers)
    load = Load(urlsplit(site.gateway.url).port or 0, rate)
    own = proc.cpu_seconds([os.getpid(), fleet_pid])
    await asyncio.to_thread(trouble.begin, site.fleet)
    start = loop.time()
    print(*judge.HEADINGS, sep="\t")
    samples: list[Sample] = []

    async def look() -> None:
        for number in range(SAMPLES):
            await asyncio.sleep(start + seconds * (number + 0.5) / SAMPLES - loop.time())
            tally = load.tally
            samples.append(await asyncio.to_thread(watch.sample, loop.time() - start, tally.sent, tally.active))
            print(*judge.row(samples[-1]), sep="\t", flush=True)

    after, ended = None, []
    try:
        async with asyncio.TaskGroup() as together:
            for part in (load.run(seconds), look(), trouble.kill_now_and_then(site.fleet, seconds)):
                together.create_task(part)
        own = proc.cpu_seconds([os.getpid(), fleet_pid]) - own
        after = await _rest(watch, loop.time() - start, lambda sample: not _more(sample, before, workers))
    except* UNDER_LOAD as faults:
        ended = [site.ended() or f"the run broke off: {_first(faults)}"]
    loud = loud_lines(site.log.read_text())
    return Run(seconds, rate, workers, before, samples, after, load.tally, loud, own, ended)


def _first(faults: BaseException) -> str:
    while isinstance(faults, BaseExceptionGroup):
        faults = faults.exceptions[0]
    return f"{type(faults).__name__}: {faults}"


async def _rest(watch: Watch, at: float, good: Callable[[Sample], bool]) -> Sample:
    """The first sample with nothing under way that is good; in the end, whatever there is."""
    deadline = asyncio.get_running_loop().time() + REST_SECONDS
    while True:
        sample = await asyncio.to_thread(watch.sample, at)
        if sample.quiet and good(sample):
            return sample
        if asyncio.get_running_loop().time() > deadline:
            return sample
        await asyncio.sleep(POLL_SECONDS)


def _more(sample: Sample, before: Sample, workers: int) -> bool:
    kept = AUDIT_FILES * workers
    return sample.descriptors > before.descriptors + kept or sample.tasks > before.tasks


def report(run: Run, about: dict[str, str], out: Path | None) -> None:
    samples, kinds, said = judge.rows(run), judge.answers(run.tally), judge.sentences(run)
    print("", table.plain(judge.HEADINGS, samples), "", table.plain(judge.ANSWER_HEADINGS, kinds), "", *said, sep="\n")
    if out is None:
        return
    parts = [
        "# Ten minutes of load, and what stays behind",
        NOTE,
        "\n".join(f"- {key}: {value}" for key, value in about.items()),
        "\n".join(f"- {sentence}" for sentence in said),
        table.markdown(judge.HEADINGS, samples),
        table.markdown(judge.ANSWER_HEADINGS, kinds),
        "## Against what is promised",
        "\n".join(f"- {line.text()}" for line in judge.judge(run)),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(parts) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    sys.exit(main())

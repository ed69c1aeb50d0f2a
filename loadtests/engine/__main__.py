"""`make engine-test`: every check in turn, a verdict; exit 0 all hold, 1 not, 2 something is missing."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from loadtests.bench.machine import cpu_name, said
from loadtests.engine import kill, load, refusals, spill, surface
from loadtests.engine.ledger import Ledger
from loadtests.engine.process import EngineFault
from loadtests.engine.report import page
from loadtests.engine.stand import Stand, build
from loadtests.options import names
from loadtests.simfleet.harness import SimFault
from loadtests.stack import ROOT, StackFault

Check = Callable[[Stand, Ledger], Awaitable[None]]
CHECKS: Mapping[str, tuple[str, Check]] = {
    "sdks": ("The official SDKs", surface.sdks),
    "refusals": ("What the engine refuses arrives as it is", refusals.refusals),
    "tools": ("Tools", refusals.tools),
    "warm": ("The engine under a full batch", load.warm_up),
    "aborts": ("A client that leaves", load.aborts),
    "gauges": ("The engine's gauges", load.gauges),
    "outside": ("Load that is not ours", load.outside),
    "spill": ("More than fits", spill.spill),
    "kill": ("kill -9 under load", kill.whole),
    "core": ("kill -9 of its largest process under load", kill.largest),
}
MISSING = """\
make engine-test: ENGINE_CMD is not set. It is the shell command that serves your engine in the foreground on loopback;
{port} and {seqs} in it are replaced (the port, and the most sequences in one batch). Such as:
  ENGINE_CMD='vllm serve MODEL --host 127.0.0.1 --port {port} --max-num-seqs {seqs}' make engine-test"""

KEPT = "what the engine and the gateway printed is kept in "


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    command = os.environ.get("ENGINE_CMD", "").strip()
    if not command:
        print(MISSING, file=sys.stderr)
        return 2
    ledger, logs = Ledger(), Path(tempfile.mkdtemp(prefix="gateway-engine-logs-"))
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-engine-") as place:
            about = asyncio.run(run(command, Path(place), logs, options.only, ledger))
    except (EngineFault, SimFault, StackFault) as fault:
        print(f"make engine-test: {fault}\n{KEPT}{logs}", file=sys.stderr)
        return 2
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page(about, ledger))
        print(f"written: {options.out}")
    print(ledger.verdict())
    if ledger.failed or not ledger.findings:
        print(f"{KEPT}{logs}")
        return 1
    shutil.rmtree(logs)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.engine", description=__doc__)
    every = ",".join(CHECKS)
    parser.add_argument("--only", type=names(CHECKS), default=every, help=f"comma-separated ({every})")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the findings as a markdown page")
    return parser


async def run(command: str, place: Path, logs: Path, chosen: Sequence[str], ledger: Ledger) -> dict[str, str]:
    """The chosen checks, in the order of CHECKS; gives what the page says of the run. One that breaks is a finding."""
    code = said(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])  # now: files may change meanwhile
    async with build(command, place, logs) as stand:
        for name, (title, check) in CHECKS.items():
            if name not in chosen:
                continue
            ledger.section(title)
            try:
                await check(stand, ledger)
            except Exception as fault:  # the others still say something
                ledger.add(f"the check `{name}`", "ran to its end", f"{type(fault).__name__}: {fault}", False)
        return describe(stand) | {"gateway": code}


def describe(stand: Stand) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} x {cpu_name()}",
        "python": platform.python_version(),
        "engine": f"version {stand.about.version}, model {stand.about.model}, context {stand.about.longest} tokens",
        "SDKs": ", ".join(f"{name} {version(name)}" for name in ("openai", "anthropic")),
    }


if __name__ == "__main__":
    sys.exit(main())

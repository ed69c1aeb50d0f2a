"""`make client-test`: every client against one gateway; exit 0 all features hold, 1 not, 2 something is missing.

python -m tests.clients --sdks PYTHON --node NODE [--guidellm PYTHON] [--aiperf PYTHON] [--only WORD ...]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests.children import CRADLE
from loadtests.simfleet.harness import SimFault
from loadtests.stack import StackFault
from tests.clients.matrix import CLIENTS, HERE, Client, Result, table, try_out
from tests.clients.stand import stand

HELD, FAILED, MISSING = 0, 1, 2
ABSENT = {"node": "node is missing: install Node.js 20 or newer", "sdks": "the interpreter of --sdks is missing"}
SUITE = {"suite": sys.executable}
"""The official clients, newer than those that the others ask for."""
OPTIONAL = {"guidellm": "GuideLLM", "aiperf": "AIPerf"}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    given = {where: getattr(options, where) for where in ("sdks", "node", "guidellm", "aiperf")} | SUITE
    chosen = [one for one in CLIENTS if not options.only or any(word in one.program for word in options.only)]
    absent = _absent(chosen, given)
    if absent:
        print(f"make client-test: {'; '.join(absent)}", file=sys.stderr)
        return MISSING
    left_out = [one for one in chosen if not given[one.where]]
    with tempfile.TemporaryDirectory(prefix="gateway-clients-") as place, CRADLE.warm(()):
        try:
            results = _all([one for one in chosen if one not in left_out], given, Path(place))
        except (SimFault, StackFault) as fault:
            print(f"make client-test: {fault}", file=sys.stderr)
            return MISSING
    return _tell(results, left_out)


def _absent(chosen: Sequence[Client], given: Mapping[str, str]) -> list[str]:
    """What the chosen clients cannot do without."""
    needed = sorted({one.where for one in chosen if one.where not in OPTIONAL})
    told = [ABSENT[where] for where in needed if not given[where] or shutil.which(given[where]) is None]
    if any(one.where == "node" for one in chosen) and not (HERE / "node" / "node_modules").is_dir():
        told.append("tests/clients/node/node_modules is missing: npm ci")
    if any(one.program == "curl_tool" for one in chosen) and shutil.which("curl") is None:
        told.append("curl is missing")
    return told


def _all(clients: Sequence[Client], given: Mapping[str, str], place: Path) -> list[Result]:
    results: list[Result] = []
    with stand(place) as made:
        for client in clients:
            results += try_out(client, [given[client.where]], made.env)
            held = sum(one.passed for one in results if one.client == client.name)
            print(f"{client.name}: {held} of {len(client.offers)}", flush=True)
    return results


def _tell(results: Sequence[Result], left_out: Sequence[Client]) -> int:
    print(f"\n{table(results)}\n")
    for one in results:
        if one.said:
            print(f"{'' if one.passed else 'FAIL '}{one.client}, {one.feature}: {one.said}")
    for client in left_out:
        print(f"left out: {client.name} (set {client.where.upper()}_PYTHON to an interpreter that has it)")
    failed = sum(not one.passed for one in results)
    print(f"\n{'NOT HELD' if failed else 'HELD'}: {len(results) - failed} of {len(results)} features")
    return FAILED if failed else HELD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make client-test", description="every client against one gateway")
    parser.add_argument("--sdks", default=sys.executable, help="interpreter with requirements/clients.txt")
    parser.add_argument("--node", default="node")
    for where, name in OPTIONAL.items():
        parser.add_argument(f"--{where}", default="", help=f"interpreter with {name}")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="programs whose names have one of these words")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""``python -m loadtests.simfleet``: one line of JSON on stdout when every port listens; ends on SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvloop

from .config import ConfigFault, Plan, build, read
from .fleet import Fleet
from .server import PortTaken

PARENT_POLL_S = 0.5
FLEET_FLAGS = {"seed": int, "base_port": int, "preset": str, "workers": int, "managed": int, "gpus_per_node": int}
WORKER_FLAGS = {
    "max_num_seqs": int,
    "step_ms": float,
    "per_seq_ms": float,
    "per_prompt_token_ms": float,
    "num_gpu_blocks": int,
    "max_model_len": int,
    "gauge_lag_s": float,
}
API_FLAGS = {"rpm": int, "tpm": int, "api_key": str}


def main(argv: list[str] | None = None) -> int:
    """Run a fleet. Ends by SIGTERM or SIGINT; returns 2 for a fleet that cannot be built."""
    arguments = _parser().parse_args(argv)
    try:
        plan = build(_values(arguments)).plan()
        if arguments.die_with_parent is not None:
            _die_with(arguments.die_with_parent or os.getppid())
        uvloop.run(_run(plan))
    except (ConfigFault, PortTaken, OSError) as fault:
        print(f"simfleet: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


async def _run(plan: Plan) -> None:
    await Fleet(plan).serve()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.simfleet", description=__doc__)
    parser.add_argument("--config", metavar="FILE", help="JSON or YAML; - reads JSON from stdin; flags override it")
    parser.add_argument("--model", help="the model that every server serves")
    parser.add_argument("--die-with-parent", nargs="?", type=int, const=0, metavar="PID", help="end when PID is gone")
    for name, kind in (FLEET_FLAGS | WORKER_FLAGS | API_FLAGS).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    return parser


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    values = _from_file(arguments.config) if arguments.config else {}
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    shared = {"model": arguments.model} if arguments.model else {}
    values |= {name: given[name] for name in FLEET_FLAGS if name in given}
    for section, flags in (("worker", WORKER_FLAGS), ("api", API_FLAGS)):
        picked = {name: given[name] for name in flags if name in given}
        values[section] = {**values.get(section, {}), **shared, **picked}
    return values


def _from_file(name: str) -> dict[str, Any]:
    if name == "-":
        return read(sys.stdin.buffer.read())
    return read(Path(name).read_bytes(), yaml=name.endswith((".yaml", ".yml")))


def _die_with(parent: int) -> None:
    """End this process, however busy its loop, once its parent is no longer `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


if __name__ == "__main__":
    sys.exit(main())

"""`decide()` alone, timed in a process of its own: prints one JSON object, name -> CPU microseconds
per call, one for each round."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.model import GenRequest, Snapshot, Tenant, UpstreamState
from gateway.policy.live import LivePolicy
from gateway.routing.board import Board
from gateway.routing.decide import decide
from loadtests.bench.policy import CONDITIONS, SCORERS, WORKERS, many_rules, whole_policy
from loadtests.bench.wire import MODEL

RULES = 20
FLEETS = (10, 100, 1_000)
CALLS, ROUNDS = 500, 15
CANDIDATES = 16
PER_BACKEND = 8
"""At most as many of one backend become candidates, so 16 take two backends."""
_NO_PORT = 9
"""Where the upstreams would be: nothing is sent."""
_PREFIX = 0x1234_5678_9ABC_DEF0
"""Of the prompt's beginning; looked at only where a rule asks for it."""
_AS_USUAL: Mapping[str, object] = {}
_US = 1e6


def board(write: Callable[[Path], None]) -> Board:
    """Everything up and idle under the policy that `write` puts into a folder."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        policy = LivePolicy(Path(name)).current
    now = time.time()
    return Board(policy, Snapshot(now, {name: UpstreamState(one) for name, one in policy.upstreams.items()}))


def fleet(
    backends: int, upstreams: int, conditions: tuple[str, ...] = (), route: Mapping[str, object] = _AS_USUAL
) -> Board:
    return board(lambda folder: many_rules(folder, backends, upstreams, RULES, conditions, route))


def call(chosen: Board, candidates: int) -> Callable[[], int]:
    """One call on a board that has been used before, as all but the first after a refresh are.

    It looks at every candidate at home, which are only then worked out, and at no overflow: that is looked at when the
    fleet is full.
    """
    rng = random.Random(1)
    asked = GenRequest(
        "r1", "chat/completions", MODEL, Tenant("t"), b"", prompt_bytes=2_000, max_tokens=64, prefix=_PREFIX
    )

    def one() -> int:
        return sum([len(tuple(group.candidates)) for group in decide(asked, chosen, rng).primary])

    if (made := one()) != candidates:
        raise SystemExit(f"decide() gave {made} candidates where {candidates} were to be timed")
    return one


def main() -> None:
    calls = {f"fleet_{size}": call(fleet(1, size), PER_BACKEND) for size in FLEETS}
    calls["candidates_16"] = call(fleet(CANDIDATES // PER_BACKEND, PER_BACKEND), CANDIDATES)
    calls["candidates_16_cel"] = call(fleet(CANDIDATES // PER_BACKEND, PER_BACKEND, CONDITIONS), CANDIDATES)
    scored = {"scorers": SCORERS}
    calls["scorers_16"] = call(fleet(CANDIDATES // PER_BACKEND, PER_BACKEND, route=scored), CANDIDATES)
    calls |= {f"scorers_{size}": call(fleet(1, size, route=scored), PER_BACKEND) for size in FLEETS}
    calls["whole_policy"] = call(board(lambda folder: whole_policy(folder, _NO_PORT)), WORKERS)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, one in calls.items():
            took = timeit.timeit(one, number=CALLS, timer=time.process_time)  # CPU: others share the machine
            found[name].append(took / CALLS * _US)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

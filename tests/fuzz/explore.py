"""Looks for inputs that break an oracle, guided by coverage: `python -m tests.fuzz.explore --seconds 300`.

An input stays in the corpus if it reaches a pair of lines in the code under test, or makes the parser say something,
that no input before it did: llhttp is not instrumented, so its words stand for its branches. One that breaks an
oracle is kept as `found-*`, and the tests fail on it until it is mended.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from tests.fuzz import bodies, inbound, outbound

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT_BYTES = 2000
MAX_MUTATIONS = 4
MAX_CUTS = 4


class Side(Protocol):
    """One of the modules beside this one."""

    TARGETS: Sequence[str]
    SEEDS: Sequence[bytes]
    TOKENS: Sequence[bytes]

    def check(self, raw: bytes, cuts: Sequence[int]) -> frozenset[str]: ...


SIDES: dict[str, Any] = {"in": inbound, "out": outbound, "body": bodies}


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def features(side: Side, raw: bytes, cuts: Sequence[int]) -> set[object]:
    """What the oracle has seen, and each pair of lines executed one after the other. Raises what the oracle raises."""
    seen: set[object] = set()
    targets = frozenset(side.TARGETS)

    def enter(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in targets:
            return None
        before = 0

        def step(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
            nonlocal before
            seen.add((frame.f_code.co_filename, before, frame.f_lineno))
            before = frame.f_lineno
            return step

        return step

    outer = sys.gettrace()
    sys.settrace(enter)
    try:
        seen |= side.check(raw, cuts)
    finally:
        sys.settrace(outer)
    return seen


def mutate(raw: bytes, side: Side, pool: Sequence[bytes], rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, MAX_MUTATIONS)):
        start = rng.randint(0, len(raw))
        stop = min(len(raw), start + rng.choice((0, 1, 2, 5, 20, 100)))
        match rng.randrange(6):
            case 0:
                raw = raw[:start] + rng.choice(side.TOKENS) + raw[start:]
            case 1:
                raw = raw[:start] + rng.choice(side.TOKENS) + raw[stop:]
            case 2:
                raw = raw[:start] + raw[stop:]
            case 3:
                raw = raw[:stop] + raw[start:]
            case 4:
                raw = raw[:start] + bytes((rng.randrange(256),)) + raw[start + 1 :]
            case _:
                other = rng.choice(pool)
                raw = raw[:start] + other[rng.randint(0, len(other)) :]
    return raw[:MAX_INPUT_BYTES]


def shrink(raw: bytes, keeps: Callable[[bytes], bool]) -> bytes:
    """Leaves out every piece that is not needed, halves first."""
    size = len(raw) // 2
    while size:
        at = 0
        while at < len(raw):
            shorter = raw[:at] + raw[at + size :]
            if keeps(shorter):
                raw = shorter
            else:
                at += size
        size //= 2
    return raw


def breaks(side: Side, raw: bytes, cuts: Sequence[int]) -> bool:
    try:
        side.check(raw, cuts)
    except Exception:
        return True
    return False


def explore(name: str, seconds: float, rng: random.Random) -> Iterator[str]:
    """Runs one side for so long; yields a line for each thing worth saying."""
    side: Side = SIDES[name]
    folder = CORPUS / name
    pool: list[bytes] = []
    known: set[object] = set()
    for raw in (*corpus(name), *side.SEEDS):
        known |= features(side, raw, range(len(raw)))
        pool.append(raw)
    tried = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        raw = mutate(rng.choice(pool), side, pool, rng)
        cuts = [rng.randint(0, len(raw)) for _ in range(rng.randint(1, MAX_CUTS))]
        tried += 1
        try:
            new = features(side, raw, cuts) - known
        except Exception as fault:
            small = shrink(raw, lambda shorter: breaks(side, shorter, range(len(shorter))))
            save(folder, "found", small)
            yield f"{name}: {type(fault).__name__}: {fault}\n  {small!r}"
            return
        if new:
            wanted = frozenset(new)
            small = shrink(raw, lambda shorter, wanted=wanted: reaches(side, shorter, wanted))  # type: ignore[misc]
            known |= new | features(side, small, range(len(small)))
            pool.append(small)
            save(folder, "kept", small)
    yield f"{name}: {tried} inputs, {len(known)} features, {len(corpus(name))} in the corpus"


def reaches(side: Side, raw: bytes, wanted: frozenset[object]) -> bool:
    try:
        return wanted <= features(side, raw, range(len(raw)))
    except Exception:
        return False


def prune(name: str) -> str:
    """Leaves the fewest inputs that together reach what all of them reach, the shortest first."""
    side: Side = SIDES[name]
    known: set[object] = set()
    for raw in side.SEEDS:
        known |= features(side, raw, range(len(raw)))
    paths = sorted((CORPUS / name).iterdir(), key=lambda path: path.stat().st_size)
    for path in paths:
        raw = path.read_bytes()
        new = features(side, raw, range(len(raw))) - known
        known |= new
        if not new:
            path.unlink()
    return f"{name}: {len(corpus(name))} of {len(paths)} inputs are needed"


def save(folder: Path, kind: str, raw: bytes) -> None:
    (folder / f"{kind}-{sha256(raw).hexdigest()[:12]}").write_bytes(raw)


def main() -> int:
    """Exit code 1 where an oracle broke."""
    options = argparse.ArgumentParser(description="Fuzz both HTTP sides and the request body.")
    options.add_argument("--seconds", type=float, default=60.0, help="for all sides together")
    options.add_argument("--side", choices=sorted(SIDES), action="append", help="default: all")
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--prune", action="store_true", help="only drop the inputs that reach nothing of their own")
    given = options.parse_args()
    rng = random.Random(given.seed)
    names = given.side or list(SIDES)
    if given.prune:
        print("\n".join(prune(name) for name in names))
        return 0
    for name in names:
        for line in explore(name, given.seconds / len(names), rng):
            print(line, flush=True)
    broken = sorted(str(path) for path in CORPUS.glob("*/found-*"))
    print(f"FAIL: {', '.join(broken)}" if broken else "PASS: no oracle broke")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

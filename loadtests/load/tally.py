"""From results and samples to rows: per phase and per kind of request for the tables, and the verdict. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

import msgspec

from gateway.model import Price
from gateway.routing.estimate import price_of
from loadtests.load.measures import percentile, ttfts
from loadtests.load.plan import Result
from loadtests.load.sampler import Sample
from loadtests.load.slo import Promise

LATE_SECONDS = 0.2
"""A generator that starts its requests later than this at p99 did not offer the load that it claims."""
BUSY_CORES, BUSY_SECONDS = 0.9, 10.0
"""One gevent loop has one core. Where it used nearly all of it for so long, its own queue is in the times it took."""
GENERATOR = "locust"


class Row(msgspec.Struct, frozen=True):
    """Some requests, by when they were due. `spilled` are all answers that did not come from our own workers."""

    name: str
    seconds: float
    offered: float
    """Requests per second."""
    requests: int
    local: int
    spilled: int
    shed: int
    failed: int
    gone: int
    """Left by their clients, as planned."""
    ttft: Mapping[str, float | None]
    """Seconds: p50, p95 and p99 of all, p95_local and p95_spilled."""
    answer: Mapping[str, float | None]
    """Seconds until the whole answer was there: p50 and p95."""
    spent: float
    """USD for what was bought: chats at list price, the rest by the gateway's own word."""
    all_bought: float
    """USD, had every chat answer been bought."""
    cpu: float | None
    """Cores in use, on average, by everything together."""

    @property
    def share(self) -> float:
        return self.spilled / max(1, self.local + self.spilled)


class Verdict(msgspec.Struct, frozen=True):
    word: Literal["PASS", "FAIL", "VOID"]
    text: str

    def __str__(self) -> str:
        return f"{self.word}: {self.text}"


class Generator(msgspec.Struct, frozen=True):
    """What the load generator did to the measurement. Seconds that requests started late; cores of its one process."""

    late_p50: float
    late_p99: float
    late_most: float
    cpu_mean: float | None
    cpu_busiest: float | None
    """Over the busiest BUSY_SECONDS."""

    @property
    def faults(self) -> list[str]:
        """Why the run says nothing of the gateway; empty where it does."""
        found = []
        if self.late_p99 > LATE_SECONDS:
            found.append(f"requests started {self.late_p99:.2f} s late at p99, limit {LATE_SECONDS} s")
        if (self.cpu_busiest or 0.0) > BUSY_CORES:
            found.append(f"the load generator used {self.cpu_busiest:.2f} of its one core, limit {BUSY_CORES}")
        return found


class Evidence(msgspec.Struct, frozen=True):
    """What the verdict looks at besides the promises."""

    planned: int
    flagged: int
    flagged_left: int
    bought: int | None
    """Chats that the simulated API received, by its own journal; None where there is no simulator."""
    honesty: Mapping[str, Any] | None


def row(name: str, start: float, end: float, results: Iterable[Result], samples: Sequence[Sample], price: Price) -> Row:
    """Of those that were due from `start` to `end`, in seconds."""
    mine = [r for r in results if start <= r.due < end]
    answered = [r for r in mine if r.answered]
    spilled = [r for r in answered if r.left]
    times, whole = ttfts(answered), [r.ended - r.due for r in answered]
    return Row(
        name=name,
        seconds=end - start,
        offered=len(mine) / (end - start),
        requests=len(mine),
        local=len(answered) - len(spilled),
        spilled=len(spilled),
        shed=sum(r.shed for r in mine),
        failed=sum(r.failed for r in mine),
        gone=sum(r.gone for r in mine),
        ttft={f"p{share}": percentile(times, share / 100) for share in (50, 95, 99)}
        | {"p95_local": percentile(ttfts([r for r in answered if not r.left]), 0.95)}
        | {"p95_spilled": percentile(ttfts(spilled), 0.95)},
        answer={f"p{share}": percentile(whole, share / 100) for share in (50, 95)},
        spent=sum(worth(r, price) for r in spilled),
        all_bought=sum(worth(r, price) for r in answered if r.kind == "chat"),
        cpu=cores(samples, start, end),
    )


def worth(result: Result, price: Price) -> float:
    """USD that this answer costs where it is bought: list price, or what the gateway said."""
    return price_of(price, result.prompt, result.output) if result.kind == "chat" else result.cost or 0.0


def cores(samples: Sequence[Sample], start: float, end: float) -> float | None:
    """CPU time of all processes together over a span, in cores."""
    return sum(used.values()) if (used := cores_by_process(samples, start, end)) else None


def cores_by_process(samples: Sequence[Sample], start: float, end: float) -> dict[str, float]:
    inside = [s for s in samples if start <= s.at <= end and s.cpu]
    if len(inside) < 2:
        return {}
    first, last = inside[0], inside[-1]
    return {
        name: (last.cpu[name] - used) / (last.at - first.at) for name, used in first.cpu.items() if name in last.cpu
    }


def generator(results: Sequence[Result], samples: Sequence[Sample], seconds: float) -> Generator:
    late = [max(0.0, r.began - r.due) for r in results]
    starts = [s.at for s in samples if 0 <= s.at <= max(0.0, seconds - BUSY_SECONDS)] or [0.0]
    used = [cores_by_process(samples, at, at + BUSY_SECONDS).get(GENERATOR) for at in starts]
    return Generator(
        late_p50=percentile(late, 0.5) or 0.0,
        late_p99=percentile(late, 0.99) or 0.0,
        late_most=max(late, default=0.0),
        cpu_mean=cores_by_process(samples, 0, seconds).get(GENERATOR),
        cpu_busiest=max((cores for cores in used if cores is not None), default=None),
    )


def evidence(
    results: Sequence[Result], planned: int, bought: int | None, honesty: Mapping[str, Any] | None
) -> Evidence:
    """Beside answers that say where they were served, one that does not say so counts as one that left."""
    flagged, tells = [r for r in results if r.flagged], any(r.outcome for r in results)
    left = sum(r.left or (tells and r.status == 200 and not r.outcome) for r in flagged)
    return Evidence(planned, len(flagged), left, bought, honesty)


def judge(results: Sequence[Result], found: Evidence, made: Generator, promises: Sequence[Promise]) -> Verdict:
    """A flagged request that left is a failure whatever else holds; a void run proves nothing else."""
    sent = sum((r.answered and r.left) or r.failed or r.gone for r in results) + found.planned - len(results)
    if found.flagged_left:
        return Verdict("FAIL", f"{found.flagged_left} of {found.flagged} flagged requests left the fleet")
    if found.bought is not None and found.bought > sent:
        return Verdict("FAIL", f"the API's journal holds {found.bought} requests, the answers account for {sent}")
    if found.honesty is not None and found.honesty["void"]:
        return Verdict("VOID", "; ".join(map(str, found.honesty["reasons"])))
    if made.faults:
        return Verdict("VOID", "; ".join(made.faults))
    if broken := [promise.sentence for promise in promises if not promise.holds]:
        return Verdict("FAIL", "; ".join(broken))
    return Verdict("PASS", f"{_counted(results)}; {found.flagged} flagged, none left; all {len(promises)} limits kept")


def _counted(results: Sequence[Result]) -> str:
    """`1,600 requests: 1,068 local, 532 spilled`."""
    answered = [r for r in results if r.answered]
    parts = {
        "local": sum(not r.left for r in answered),
        "spilled": sum(r.left for r in answered),
        "shed": sum(r.shed for r in results),
        "failed": sum(r.failed for r in results),
        "left by their clients": sum(r.gone for r in results),
    }
    return f"{len(results):,} requests: " + ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)


def mean_output(results: Sequence[Result], *, local: bool) -> float | None:
    """Tokens of the answers that stayed, or of those that were bought."""
    tokens = [r.output for r in results if r.answered and r.left is not local and r.kind == "chat"]
    return fmean(tokens) if tokens else None


def metered(samples: Sequence[Sample]) -> float | None:
    """USD that the gateway says were spent between the first and the last look."""
    spent = [s.spent for s in samples if s.spent is not None]
    return spent[-1] - spent[0] if spent else None


def reasons(results: Sequence[Result]) -> dict[str, int]:
    """Why answers were spilled, by the gateway's own word."""
    return dict(Counter(r.reason or "not told" for r in results if r.answered and r.left).most_common())


Cell = Callable[[Row], str]
COLUMNS: Mapping[str, Cell] = {
    "offered/s": lambda r: f"{r.offered:.1f}",
    "local": lambda r: str(r.local),
    "spilled": lambda r: str(r.spilled),
    "shed": lambda r: str(r.shed),
    "failed": lambda r: str(r.failed),
    "left": lambda r: str(r.gone),
    "spilled share": lambda r: f"{r.share:.1%}",
    "TTFT p50": lambda r: _seconds(r.ttft["p50"]),
    "p95": lambda r: _seconds(r.ttft["p95"]),
    "p95 local": lambda r: _seconds(r.ttft["p95_local"]),
    "p95 spilled": lambda r: _seconds(r.ttft["p95_spilled"]),
    "answer p95": lambda r: _seconds(r.answer["p95"]),
    "spent": lambda r: f"${r.spent:.3f}",
    "all bought": lambda r: f"${r.all_bought:.3f}",
    "CPU cores": lambda r: "" if r.cpu is None else f"{r.cpu:.2f}",
}
OPTIONAL: Mapping[str, Callable[[Row], object]] = {
    "left": lambda r: r.gone,
    "all bought": lambda r: r.all_bought,
    "CPU cores": lambda r: r.cpu,
}
"""Columns that are left out where no row has anything to say in them."""


def table(what: str, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, for the terminal and the report; `what` the rows are."""
    shown = {name: cell for name, cell in COLUMNS.items() if name not in OPTIONAL or any(map(OPTIONAL[name], rows))}
    return [what, "s", *shown], [[r.name, f"{r.seconds:.0f}", *(cell(r) for cell in shown.values())] for r in rows]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def columns(head: list[str], cells: list[list[str]]) -> list[str]:
    """A table as lines of text: the first column to the left, numbers to the right."""
    rows = [head, *cells]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]

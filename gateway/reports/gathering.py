"""What `saved` and `advice` are made of, fetched from the ledger in a few questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Protocol

from gateway.model import US_PER_HOUR, Policy
from gateway.reports.advice import Advised, Hourly, Seen, WorkerHour, advise
from gateway.reports.ask import HOUR, MOST_PAGE, Ask, Line, Report
from gateway.reports.doubts import Doubts, doubts_of
from gateway.reports.elsewhere import Traffic
from gateway.reports.fleet_cost import Fleet, together
from gateway.reports.saved import UTILISATION, Saved, saved, with_work

SECONDS_PER_HOUR = 3600
_SUMS = (
    "requests",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "images",
    "seconds",
    "characters",
    "gpu_us",
    "unpriced",
)


class Ledger(Protocol):
    """As `reading.Reader` is."""

    def all(self, ask: Ask) -> Report: ...
    def span(self, ask: Ask) -> tuple[int, int] | None: ...
    def worker_hours(self, ask: Ask) -> list[tuple[int, str, Fleet]]: ...


@dataclass(frozen=True, slots=True)
class Material:
    """Of `saved`: what tenants pay for, what the operator pays for, and the fleets without their work."""

    got: tuple[Traffic, ...]
    tried: tuple[Traffic, ...]
    fleets: Mapping[str, Fleet]
    doubts: Doubts = field(default_factory=Doubts)

    def saved(self, policy: Policy, utilisation: Fraction = UTILISATION) -> Saved:
        fleets = with_work(self.fleets, (*self.got, *self.tried))
        return replace(saved(self.got, self.tried, fleets, policy, utilisation), doubts=self.doubts)


@dataclass(frozen=True, slots=True)
class Facts:
    """Of `advice`; `hours` from the first to the last attempt."""

    hours: int
    bought: tuple[Hourly, ...]
    ours: tuple[Traffic, ...]
    workers: tuple[WorkerHour, ...]
    doubts: Doubts = field(default_factory=Doubts)

    def advise(self, policy: Policy, utilisation: Fraction = UTILISATION, gpu_price: int | None = None) -> Advised:
        seen = Seen(self.hours, self.bought, self.ours, self.workers, policy, utilisation, gpu_price)
        return replace(advise(seen), doubts=self.doubts)


def material(ledger: Ledger, ask: Ask) -> Material:
    """Raises as `Reader.report`."""
    ask, doubts = _settled(ledger, ask)
    by = replace(ask, by=("model", "backend", "kind", "payer"))
    lines = ledger.all(by).lines
    hours = _fleets(ledger.worker_hours(ask))
    return Material(
        tuple(_traffic(line) for line in lines if line["payer"] == "tenant"),
        tuple(_traffic(line) for line in lines if line["payer"] == "operator"),
        together(hours),
        doubts,
    )


def facts(ledger: Ledger, ask: Ask) -> Facts:
    """Raises as `Reader.report`."""
    ask, doubts = _settled(ledger, ask)
    span = ledger.span(ask)
    hours = 0 if span is None else span[1] // US_PER_HOUR - span[0] // US_PER_HOUR + 1
    mine = replace(ask, where={**ask.where, "payer": ("tenant",)})
    bought = ledger.all(_only(mine, "managed", (HOUR, "model", "backend", "kind", "rule", "outcome", "reason")))
    ours = ledger.all(_only(mine, "local", ("model", "backend", "kind")))
    work: dict[tuple[int, str], int] = defaultdict(int)
    for line in ledger.all(_only(ask, "local", (HOUR, "upstream"))).lines:
        work[_hour(line), line["upstream"]] += line["gpu_us"]
    return Facts(
        hours,
        tuple(Hourly(_hour(one), _traffic(one), one["rule"], one["outcome"], one["reason"]) for one in bought.lines),
        tuple(_traffic(line) for line in ours.lines),
        tuple(
            WorkerHour(hour, worker, replace(fleet, work_us=work[hour, worker]))
            for hour, worker, fleet in ledger.worker_hours(ask)
        ),
        doubts,
    )


def _settled(ledger: Ledger, ask: Ask) -> tuple[Ask, Doubts]:
    """The same of what can be compared: settled, of real money. Where all that was bought is simulated, as in the demo,
    that too: own workers are never simulated money, and would be told as a fleet that nothing ever leaves."""
    whole = replace(ask, by=())
    everything, bought = ledger.all(whole).total, ledger.all(_only(replace(whole, settled="real"), "managed", ())).total
    demo = bool(everything["simulated"]) and not bought["attempts"]
    asked = replace(ask, settled="any" if demo else "real")
    return asked, doubts_of(everything, ledger.all(replace(asked, by=())).total, all_simulated=demo)


def _only(ask: Ask, kind: str, by: tuple[str, ...]) -> Ask:
    return replace(ask, by=by, where={**ask.where, "kind": (kind,)}, limit=MOST_PAGE, offset=0)


def _traffic(line: Line) -> Traffic:
    sums = {name: line[name] for name in _SUMS}
    return Traffic(
        line["model"], line["backend"], line["kind"], **sums, charged=line["cost"], at_list=line["list_cost"]
    )


def _hour(line: Line) -> int:
    return int(datetime.fromisoformat(line[HOUR]).timestamp()) // SECONDS_PER_HOUR


def _fleets(hours: Iterable[tuple[int, str, Fleet]]) -> list[Fleet]:
    """One per worker."""
    of_worker: dict[tuple[str, str], Fleet] = {}
    for _, worker, hour in hours:
        before = of_worker.get((hour.backend, worker))
        made = hour if before is None else together([before, hour])[hour.backend]
        of_worker[hour.backend, worker] = replace(made, workers=1, gpus=hour.gpus)
    return list(of_worker.values())

"""What became of the requests of one run, and the figures that say how good that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import Demand, Slo, Upstream

ROUNDING = 1e-9
YARDSTICK = Slo(ttft=1.0, tpot=0.040)
"""An ordinary chat SLO, the same for all folders, which have each their own."""
MOSTLY_HOME, MOSTLY_AWAY = 1 / 3, 2 / 3
"""Of a second's requests that were served: a switch of the route is from below the one to above the other, or back."""


class Ended(NamedTuple):
    """One request; times in seconds since it arrived, wait for room included. `upstream` None: it was refused."""

    at: float
    demand: Demand
    slo: Slo
    timed: bool
    """Its first token is waited for: a stream that is not batch."""
    stream: bool
    output: int
    all_sent_out: float
    """USD at the bought API that models.yaml lists first for this model; 0 where there is none."""
    upstream: Upstream | None = None
    first: float = 0.0
    done: float = 0.0
    paid: float = 0.0


def met(one: Ended, slo: Slo) -> bool:
    """Answered within `slo`; one that says nothing asks only for an answer."""
    later = one.output - 1
    if one.upstream is None or (slo.total is not None and one.done > slo.total):
        return False
    if one.stream:
        in_time = slo.ttft is None or one.first <= slo.ttft
        return in_time and (slo.tpot is None or one.done - one.first <= slo.tpot * later + ROUNDING)
    return slo.ttft is None or slo.tpot is None or one.done <= slo.ttft + slo.tpot * one.output


def left(one: Ended, zones: Mapping[str, frozenset[str]]) -> bool:
    """Whether data went where its demand forbids: judged here by itself, not by the gateway's own function."""
    upstream, demand = one.upstream, one.demand
    if upstream is None or not (demand.local or demand.zones):
        return False
    if upstream.kind == "managed" and (demand.local or not upstream.private_in):
        return True
    places = {upstream.zone} if upstream.kind == "local" else upstream.private_in
    return any(wanted not in set().union(*(zones[place] for place in places)) for wanted in demand.zones)


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of all requests; money in USD; times to the first token in seconds, of streams that are not batch."""

    asked: int
    attained: float
    """Within the SLO of their own rule."""
    chat: float
    """Within YARDSTICK."""
    spilled: float
    refused: float
    flagged: int
    flagged_left: int
    usd_per_hour: float
    cost: float
    """Of sending everything to the bought API that is listed first."""
    p50: float
    p95: float
    switches: float
    """Per minute."""


@dataclass(slots=True)
class Tally:
    zones: Mapping[str, frozenset[str]]
    ended: list[Ended] = field(default_factory=list)

    def figures(self, seconds: float) -> Figures:
        """`seconds`: how long requests came."""
        all_of = max(1, len(self.ended))
        served = [one for one in self.ended if one.upstream is not None]
        firsts = sorted(one.first for one in served if one.timed)
        paid, all_out = sum(one.paid for one in self.ended), sum(one.all_sent_out for one in self.ended)
        return Figures(
            asked=len(self.ended),
            attained=sum(met(one, one.slo) for one in self.ended) / all_of,
            chat=sum(met(one, YARDSTICK) for one in self.ended) / all_of,
            spilled=sum(away(one) for one in served) / all_of,
            refused=(len(self.ended) - len(served)) / all_of,
            flagged=sum(bool(one.demand) for one in self.ended),
            flagged_left=sum(left(one, self.zones) for one in self.ended),
            usd_per_hour=paid / seconds * 3600,
            cost=paid / all_out if all_out else 0.0,
            p50=quantile(firsts, 0.5),
            p95=quantile(firsts, 0.95),
            switches=switches(served) / seconds * 60,
        )


def away(one: Ended) -> bool:
    return one.upstream is not None and one.upstream.kind == "managed"


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def switches(served: Sequence[Ended]) -> int:
    """How often the route as a whole turned from home to the APIs or back, looked at every second."""
    seconds: dict[int, list[bool]] = {}
    for one in served:
        seconds.setdefault(int(one.at), []).append(away(one))
    turned, outside = 0, False
    for _, sent in sorted(seconds.items()):
        share = sum(sent) / len(sent)
        if share > MOSTLY_AWAY if not outside else share < MOSTLY_HOME:
            turned, outside = turned + 1, not outside
    return turned

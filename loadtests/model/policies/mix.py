"""Who asks for what: the same traffic for every folder, put in the words that the folder knows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from gateway.model import Demand, GenRequest, Policy, Priority, Tenant
from gateway.money.keys import ANYBODY
from gateway.routing.plan import may_use
from gateway.routing.residency import strictest
from loadtests.model.scenarios import mean_work
from loadtests.model.traffic import Ask, Source, paced

CAPS = (256, 512, 1024, 2048)
"""What callers send as `max_tokens`: the lowest of these that their answer fits."""
RANK: Mapping[Priority, int] = {"batch": 0, "standard": 1, "interactive": 2}
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Pattern:
    """`phases` of (seconds, offered load), beginning at `hour` of a Tuesday (UTC). Load 1: what the local workers can
    compute at a healthy batch, which is more than a strict SLO lets them hold."""

    name: str
    phases: tuple[tuple[float, float], ...]
    hour: float = 14.0
    cv: float = 1.0
    nightly: float = math.inf
    """Second from which the jobs of the night run."""

    @property
    def seconds(self) -> float:
        return sum(seconds for seconds, _ in self.phases)


BATCH_AT_NIGHT = 0.4
"""Share of the requests that these jobs are, all of them batch, beside the usual ones."""
PREFIX_BITS = 8
"""So many different beginnings of prompts are about."""
_EVENING = tuple((60.0, load) for load in (1.3, 1.25, 1.2, 1.1, 1.0, 0.9, 0.8, 0.75, 0.7, 0.8, 1.0, 1.1, 1.1, 1.0, 0.9))
PATTERNS = (
    Pattern("steady 0.7", ((150.0, 0.7),)),
    Pattern("steady 1.2", ((150.0, 1.2),)),
    Pattern("square wave", ((30.0, 0.3), (30.0, 1.6)) * 4),
    Pattern("burst", ((60.0, 0.5), (20.0, 2.5), (70.0, 0.5))),
    Pattern("evening", _EVENING, hour=20.875, nightly=450.0),
)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the requests."""

    classes: Mapping[Priority, float] = field(
        default_factory=lambda: {"interactive": 0.3, "standard": 0.5, "batch": 0.2}
    )
    flagged: float = 0.1
    """Send X-Data-Residency: half of them `local`, half a zone that some worker of the folder lies in."""
    capped: float = 0.7
    """Send max_tokens."""
    streamed: float = 0.9
    main_model: float = 0.8
    """Ask for the first model that they may use; the others for any of the rest."""


MIX = Mix()


@dataclass(frozen=True, slots=True)
class Wish:
    """One request as the gateway sees it, and what it turns out to be."""

    ask: Ask
    request: GenRequest
    demand: Demand
    """Every demand on its data: header, tenant and model."""


def wishes(policy: Policy, pattern: Pattern, src: Source, rng: Random, mix: Mix = MIX) -> Iterator[Wish]:
    """In order of arrival. The same seed gives every folder with the same workers the same arrivals and lengths."""
    local = [one for one in policy.upstreams.values() if one.kind == "local"]
    rate = sum(1 / mean_work(src, one.speed) for one in local)
    asks = paced(src, tuple((seconds, load * rate) for seconds, load in pattern.phases), pattern.cv, rng)
    zones = sorted({zone for one in local for zone in policy.zones.get(one.zone, ()) if zone != one.zone})
    crowd = Crowd(policy, mix, zones, list(policy.tenants.values()) or [ANYBODY])
    for number, ask in enumerate(asks):
        yield crowd.wish(str(number), ask, ask.at >= pattern.nightly, rng)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The callers of one folder. `zones`: those that a worker lies in."""

    policy: Policy
    mix: Mix
    zones: Sequence[str]
    tenants: Sequence[Tenant]

    def wish(self, name: str, ask: Ask, night: bool, rng: Random) -> Wish:
        tenant, asked, header = rng.choice(self.tenants), self._priority(night, rng), self._header(rng)
        models = [model for model in self.policy.models if may_use(tenant, model)]
        model = models[0] if rng.random() < self.mix.main_model else rng.choice(models[1:] or models)
        capped = rng.random() < self.mix.capped
        request = GenRequest(
            id=name,
            endpoint="chat/completions",
            model=model,
            tenant=tenant,
            body=bytes(ask.text),
            prompt_bytes=ask.text,
            max_tokens=next((cap for cap in CAPS if cap >= ask.output), None) if capped else None,
            stream=rng.random() < self.mix.streamed,
            residency=header,
            priority=min(asked, tenant.priority, key=RANK.__getitem__),
            prefix=rng.getrandbits(PREFIX_BITS) if self.policy.affine else None,
        )
        return Wish(ask, request, strictest(header, tenant.residency, self.policy.models[model].residency))

    def _priority(self, night: bool, rng: Random) -> Priority:
        if night and rng.random() < BATCH_AT_NIGHT:
            return "batch"
        classes = self.mix.classes
        return rng.choices(list(classes), list(classes.values()))[0]

    def _header(self, rng: Random) -> Demand:
        drawn, half, zone = rng.random(), rng.random() < 0.5, rng.random()
        if drawn >= self.mix.flagged:
            return Demand()
        if half or not self.zones:
            return Demand(local=True)
        return Demand(zones=frozenset({self.zones[int(zone * len(self.zones))]}))

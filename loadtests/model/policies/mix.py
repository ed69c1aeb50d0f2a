"""Who asks for what: the same traffic for every folder, put in the words that the folder knows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

from gateway.model import Demand, GenRequest, Policy, Priority, Tenant
from gateway.money.keys import ANYBODY
from gateway.routing.plan import may_use
from loadtests.model.scenarios import mean_work
from loadtests.model.traffic import Ask, Source, paced

CAPS = (256, 512, 1024, 2048)
"""What callers send as `max_tokens`: the lowest of these that their answer fits."""
_RANK: Mapping[Priority, int] = {"batch": 0, "standard": 1, "interactive": 2}
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
    """Second from which the jobs of the night run: BATCH_AT_NIGHT of the requests are batch."""

    @property
    def seconds(self) -> float:
        return sum(seconds for seconds, _ in self.phases)


BATCH_AT_NIGHT = 0.5
_EVENING = tuple((120.0, load) for load in (1.3, 1.25, 1.2, 1.1, 1.0, 0.9, 0.8, 0.75, 0.7, 0.8, 1.0, 1.1, 1.1, 1.0, 0.9))
PATTERNS = (
    Pattern("steady 0.7", ((150.0, 0.7),)),
    Pattern("steady 1.2", ((150.0, 1.2),)),
    Pattern("square wave", ((30.0, 0.3), (30.0, 1.6)) * 4),
    Pattern("burst", ((60.0, 0.5), (20.0, 2.5), (70.0, 0.5))),
    Pattern("evening", _EVENING, hour=21.75, nightly=900.0),
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


@dataclass(frozen=True, slots=True)
class Wish:
    """One request as the gateway sees it, and what it turns out to be."""

    ask: Ask
    request: GenRequest
    demand: Demand
    """Every demand on its data: header, tenant and model."""


def wishes(policy: Policy, pattern: Pattern, src: Source, rng: Random, mix: Mix | None = None) -> Iterator[Wish]:
    """In order of arrival. The same seed gives every folder of as many workers the same arrivals and lengths."""
    mix = mix or Mix()
    local = [one for one in policy.upstreams.values() if one.kind == "local"]
    rate = sum(1 / mean_work(src, one.speed) for one in local)
    asks = paced(src, tuple((seconds, load * rate) for seconds, load in pattern.phases), pattern.cv, rng)
    zones = sorted({zone for one in local for zone in policy.zones.get(one.zone, ()) if zone != one.zone})
    tenants = list(policy.tenants.values()) or [ANYBODY]
    for number, ask in enumerate(asks):
        night = ask.at >= pattern.nightly
        yield _wish(number, ask, policy, _classes(mix, night), zones, rng.choice(tenants), mix, rng)


def _classes(mix: Mix, night: bool) -> Mapping[Priority, float]:
    if not night:
        return mix.classes
    others = sum(share for name, share in mix.classes.items() if name != "batch")
    day = {name: share * (1 - BATCH_AT_NIGHT) / others for name, share in mix.classes.items() if name != "batch"}
    return {**day, "batch": BATCH_AT_NIGHT}


def _wish(
    number: int,
    ask: Ask,
    policy: Policy,
    classes: Mapping[Priority, float],
    zones: list[str],
    tenant: Tenant,
    mix: Mix,
    rng: Random,
) -> Wish:
    asked = rng.choices(list(classes), list(classes.values()))[0]
    header = _header(zones, mix, rng)
    models = [name for name in policy.models if may_use(tenant, name)]
    model = models[0] if rng.random() < mix.main_model else rng.choice(models[1:] or models)
    cap = next((cap for cap in CAPS if cap >= ask.output), None) if rng.random() < mix.capped else None
    request = GenRequest(
        id=str(number),
        endpoint="chat/completions",
        model=model,
        tenant=tenant,
        body=bytes(ask.text),
        prompt_bytes=ask.text,
        max_tokens=cap,
        stream=rng.random() < mix.streamed,
        residency=header,
        priority=min(asked, tenant.priority, key=_RANK.__getitem__),
        prefix=rng.getrandbits(16) if policy.affine else None,
    )
    demands = (header, tenant.residency, policy.models[model].residency)
    zones_asked = frozenset().union(*(one.zones for one in demands))
    return Wish(ask, request, Demand(any(one.local for one in demands), zones_asked))


def _header(zones: list[str], mix: Mix, rng: Random) -> Demand:
    drawn, half, zone = rng.random(), rng.random() < 0.5, rng.random()
    if drawn >= mix.flagged:
        return Demand()
    return Demand(local=True) if half or not zones else Demand(zones=frozenset({zones[int(zone * len(zones))]}))

"""What was saved: the same traffic all bought, and all on our own GPUs, beside what it did cost. Pure; docs/reports.md.

Traffic is what tenants got (payer `tenant`): it would be bought, or served, once. What it did cost holds all attempts,
and the rent of our own GPUs with the hours in which they stood idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from gateway.model import US_PER_HOUR, Policy, micro_usd, usd
from gateway.reports.doubts import Doubts
from gateway.reports.elsewhere import MEDIA, Cost, Traffic, Unknown, bought_instead, served_instead, worker_of
from gateway.reports.fleet_cost import Fleet, part_of, per_unit, priced_at, shown

UTILISATION = Fraction(3, 4)
"""Of further GPUs, unless told otherwise: what the GMI architecture guide (2026-05-28) reckons with."""


@dataclass(frozen=True, slots=True)
class OfModel:
    """One model. Each way is its cost, or why that is not known."""

    model: str
    requests: int
    actual: Cost | Unknown
    all_managed: Cost | Unknown
    all_local: Cost | Unknown


@dataclass(frozen=True, slots=True)
class Own:
    """What one model cost on one backend of ours: its part of the rent in micro-dollars, and pico-dollars for one of
    each unit that was made, as it was and as it would be at a utilisation of 1."""

    model: str
    backend: str
    cost: int
    utilisation: Fraction
    each: Mapping[str, int]
    each_at_full: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Sum:
    """What one way would have cost more than what was done, over the models of which both are known; micro-dollars,
    below 0 where it would have been cheaper. `without`: the models left out."""

    contract: int
    list: int
    models: tuple[str, ...]
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    models: tuple[OfModel, ...]
    beside_managed: Sum
    beside_local: Sum
    utilisation: Fraction
    """That further GPUs are reckoned with."""
    own: tuple[Own, ...]
    fleets: tuple[Mapping[str, Any], ...]
    """By `fleet_cost.shown`."""
    idle_rent: int
    """Micro-dollars of backends that delivered nothing: in no model's cost, so in no comparison."""
    doubts: Doubts = field(default_factory=Doubts)


def saved(
    got: Sequence[Traffic],
    tried: Sequence[Traffic],
    fleets: Mapping[str, Fleet],
    policy: Policy,
    utilisation: Fraction = UTILISATION,
) -> Saved:
    """`got`: what tenants pay for. `tried`: what the operator pays for. `fleets` by backend, with their work."""
    models = tuple(
        _model(name, got, tried, fleets, policy, utilisation) for name in sorted({one.model for one in (*got, *tried)})
    )
    return Saved(
        models,
        _beside((one.model, one.all_managed, one.actual) for one in models),
        _beside((one.model, one.all_local, one.actual) for one in models),
        utilisation,
        tuple(_owned(got, fleets)),
        tuple(shown(fleet) for fleet in fleets.values()),
        sum(fleet.rent or 0 for fleet in fleets.values() if not fleet.work_us),
    )


def with_work(fleets: Mapping[str, Fleet], traffic: Iterable[Traffic]) -> dict[str, Fleet]:
    """The same with the work that the ledger knows of; a backend without worker-hours has a fleet without time."""
    made = dict(fleets)
    for one in traffic:
        if one.kind == "local":
            before = made.get(one.backend) or Fleet(one.backend, workers=0, gpus=0)
            made[one.backend] = replace(before, work_us=before.work_us + one.gpu_us)
    return made


def _model(
    name: str,
    got: Sequence[Traffic],
    tried: Sequence[Traffic],
    fleets: Mapping[str, Fleet],
    policy: Policy,
    utilisation: Fraction,
) -> OfModel:
    own = [one for one in got if one.model == name]
    lost = [one for one in tried if one.model == name]
    local, managed = _of(own, "local"), _of(own, "managed")
    model = policy.models.get(name)
    rent = _total([_own_cost(one, fleets, policy, utilisation) for one in (*local, *_of(lost, "local"))])
    paid = _paid((*managed, *_of(lost, "managed")))
    if model is None:
        gone = Unknown("the policy in force does not have this model")
        ways: tuple[Cost | Unknown, Cost | Unknown] = (gone, gone)
    else:
        there = [bought_instead(model, policy, one) for one in local]
        here = [served_instead(model, policy, one, local, utilisation) for one in managed]
        ours = [_own_cost(one, fleets, policy, utilisation) for one in local]
        ways = (_total([_paid(managed), *there]), _total([*ours, *here]))
    return OfModel(name, sum(one.requests for one in own), _total([paid, rent]), *ways)


def _owned(got: Sequence[Traffic], fleets: Mapping[str, Fleet]) -> Iterator[Own]:
    for one in _of(got, "local"):
        fleet = fleets.get(one.backend)
        if fleet is None or fleet.rent is None or fleet.full_hour is None or not one.gpu_us:
            continue
        cost, full = part_of(fleet.rent, one.gpu_us, fleet.work_us), priced_at(one.gpu_us, fleet.full_hour, Fraction(1))
        used = fleet.utilisation or Fraction(0)
        tokens = {"tokens": one.input_tokens + one.output_tokens}
        units = {**tokens, **{name: getattr(one, name) for name in MEDIA}}
        yield Own(one.model, one.backend, cost, used, per_unit(cost, units), per_unit(full, units))


def _of(traffic: Iterable[Traffic], kind: str) -> list[Traffic]:
    return [one for one in traffic if one.kind == kind]


def _paid(managed: Iterable[Traffic]) -> Cost | Unknown:
    found = list(managed)
    unpriced = sum(one.unpriced for one in found)
    if unpriced:
        return Unknown(f"{unpriced} attempts have no price")
    said = "bought" if found else ""
    return Cost(sum(one.charged for one in found), sum(one.at_list for one in found), said)


def _own_cost(one: Traffic, fleets: Mapping[str, Fleet], policy: Policy, utilisation: Fraction) -> Cost | Unknown:
    """Its part of its backend's rent by work; without worker-hours its work at `$/hour / utilisation`."""
    if not one.gpu_us:
        return Unknown(f"no work was recorded for it on {one.backend}") if one.counted else Cost(0, 0, "")
    fleet = fleets.get(one.backend)
    if fleet is not None and fleet.rent is not None:
        cost = part_of(fleet.rent, one.gpu_us, fleet.work_us)
        share, used = one.gpu_us / fleet.work_us, float(fleet.utilisation or 0)
        said = f"{share:.1%} of the rent of {one.backend}, {usd(fleet.rent, 2)} at {used:.1%} utilisation"
        return Cost(cost, cost, said)
    worker = worker_of(policy, one.backend)
    if worker is None or worker.usd_per_hour is None:
        return Unknown(f"{one.backend} has no gpu.usd_per_hour")
    cost = priced_at(one.gpu_us, micro_usd(worker.usd_per_hour), utilisation)
    hours = one.gpu_us / US_PER_HOUR
    said = (
        f"{hours:.3f} worker-hours of {one.backend} x ${worker.usd_per_hour:.2f} / {float(utilisation):.2f} "
        "utilisation, assumed for want of worker-hours"
    )
    return Cost(cost, cost, said)


def _total(parts: Sequence[Cost | Unknown]) -> Cost | Unknown:
    unknown = [part.why for part in parts if isinstance(part, Unknown)]
    if unknown:
        return Unknown("; ".join(dict.fromkeys(unknown)))
    known = [part for part in parts if isinstance(part, Cost)]
    working = " + ".join(part.working for part in known if part.working)
    return Cost(sum(part.contract for part in known), sum(part.list for part in known), working)


def _beside(ways: Iterable[tuple[str, Cost | Unknown, Cost | Unknown]]) -> Sum:
    contract = at_list = 0
    models, without = [], []
    for model, way, actual in ways:
        if isinstance(way, Unknown) or isinstance(actual, Unknown):
            without.append(model)
            continue
        models.append(model)
        contract += way.contract - actual.contract
        at_list += way.list - actual.list
    return Sum(contract, at_list, tuple(models), tuple(without))

"""What was saved, and advice, as text for people: made of the JSON that the admin API answers with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.model import PICO_PER_USD, usd

Told = Mapping[str, Any]


def tell_saved(told: Told) -> str:
    return "\n".join(_saved(told))


def tell_advice(told: Told) -> str:
    return "\n".join(_advice(told))


def _saved(told: Told) -> Iterator[str]:
    for fleet in told["fleets"]:
        yield from _fleet(fleet)
    yield from map(_own, told["own"])
    for model in told["models"]:
        yield f"{model['model']}: {model['requests']:,} requests"
        for name, title in (("actual", "as it was"), ("all_managed", "all bought"), ("all_local", "all our own")):
            yield f"  {title:<11}  {_cost(model[name])}"
    yield _sum("beside buying all", told["beside_managed"])
    yield _sum("beside serving all", told["beside_local"])
    if told["idle_rent"]:
        yield f"{usd(told['idle_rent'])} was the rent of backends that delivered nothing: in none of the above"
    yield from _doubts(told["doubts"])
    yield f"Further GPUs are reckoned at {told['utilisation']:.0%} utilisation (--utilisation)."


def _fleet(fleet: Told) -> Iterator[str]:
    rent, up = fleet["rent"], fleet["up"]
    if not up:
        yield f"{fleet['backend']}: no worker-hours are known"
        return
    said = "a guide's price" if fleet["assumed"] else "the policy's price"
    overhead = f", overhead x{fleet['overhead']:g}" if fleet["overhead"] != 1 else ""
    paid = "rent unknown: no gpu.usd_per_hour" if rent is None else f"rent {usd(rent)} ({said}{overhead})"
    yield (
        f"{fleet['backend']}: {fleet['workers']} workers, {fleet['gpus']} {fleet['gpu_kind'] or 'GPUs'}, "
        f"{up / 60:,.1f} worker-hours, {paid}, utilisation {fleet['utilisation']:.1%}"
    )
    if fleet["delivered_hour"] is not None:
        full, delivered = usd(fleet["full_hour"]), usd(fleet["delivered_hour"])
        yield f"  an hour of work cost {delivered}: {full} / {fleet['utilisation']:.1%}"


_MEANT: Mapping[str, tuple[int, str]] = {
    "tokens": (10**6, "million tokens"),
    "images": (1, "image"),
    "seconds": (1, "second"),
    "characters": (1000, "1,000 characters"),
}
"""How many of a unit a price is told for."""


def _own(own: Told) -> str:
    prices = [
        f"{_price(pico * _MEANT[unit][0])} per {_MEANT[unit][1]} "
        f"({_price(own['each_at_full'][unit] * _MEANT[unit][0])} at 100%)"
        for unit, pico in own["each"].items()
    ]
    said = ", ".join(prices) or "no units were counted"
    return f"{own['model']} on {own['backend']}: {said} at {own['utilisation']:.1%} utilisation"


def _price(pico: int) -> str:
    """Four digits that count: prices of single things are small."""
    return f"${pico / PICO_PER_USD:,.4g}" if pico < PICO_PER_USD else f"${pico / PICO_PER_USD:,.2f}"


def _cost(way: Told) -> str:
    if "why" in way:
        return f"unknown: {way['why']}"
    listed = f" ({usd(way['list'])} at list)" if way["list"] != way["contract"] else ""
    return f"{usd(way['contract'])}{listed}" + (f" = {way['working']}" if way["working"] else "")


def _sum(title: str, found: Told) -> str:
    said = "saved" if found["contract"] >= 0 else "lost"
    listed = f" ({usd(found['list'])} at list)" if found["list"] != found["contract"] else ""
    without = f"; without {_names(found['without'])}" if found["without"] else ""
    if not found["models"]:
        return f"{title}: unknown{without}"
    return f"{title}: {said} {usd(abs(found['contract']))}{listed}{without}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)


def _advice(told: Told) -> Iterator[str]:
    for one in told["advice"]:
        yield (
            f"{one['says']} (" + ("rent unknown" if one["worth"] is None else f"worth {usd(one['worth'])} a day") + ")"
        )
        yield f"  {one['working']}"
    if not told["advice"]:
        yield "no advice"
    for note in told["notes"]:
        yield f"note: {note}"
    yield from _doubts(told["doubts"])


def _doubts(told: Told) -> Iterator[str]:
    """What is left out of the figures, and what is in them although it is not certain."""
    if told["all_simulated"]:
        yield "what was bought is simulated money"
    left_out = (
        ("unreconciled", "booked at what was set aside: their gateway died"),
        *(() if told["all_simulated"] else (("simulated", "simulated money"),)),
    )
    for name, said in left_out:
        if told[name]:
            yield f"left out: {told[name]} attempts ({usd(told[f'{name}_cost'])}) that are {said}"
    for name, said in (("estimated", "counted from what passed"), ("marked", "at old or doubtful prices")):
        if told[name]:
            yield f"held: {told[name]} attempts ({usd(told[f'{name}_cost'])}) that are {said}"

"""Checks of what bought models cost: nothing is sent to a price that nobody knows, unless the folder says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from gateway.model import Gpus, Origin
from gateway.policy.hardware import hardware, workers
from gateway.policy.price_schema import RatesIn
from gateway.policy.pricing import Pricing, Quote
from gateway.policy.references import matching, unknown
from gateway.policy.schema import LocalBackend, ManagedBackend, ModelIn, ServedIn
from gateway.policy.source import Document, Fault, Path
from gateway.policy.sources import Sources
from gateway.policy.validate import nearest
from gateway.prices import book
from gateway.prices.marks import earliest
from gateway.routing.globs import fits

_AHEAD: Final = timedelta(days=1)
"""In the east it is tomorrow already."""


def names_of(served: ServedIn) -> tuple[tuple[str, str | None, float], ...]:
    """What the model is called there: name, version and weight of each."""
    if served.as_ is not None:
        return ((served.as_, None, 1.0),)
    return tuple((one.as_, one.name, one.weight) for one in served.versions or ())


def quotes(sources: Sources, pricing: Pricing) -> Iterator[tuple[Path, ModelIn, str, str, Quote]]:
    """Each bought way to serve a model: where it is written, the model, the backend, its name there, what it costs."""
    for index, model in sources.models.sound.items():
        for j, served in enumerate(model.served_by):
            backend = sources.backend(served.backend)
            if isinstance(backend, ManagedBackend):
                for name, _, _ in names_of(served):
                    at: Path = ("models", index, "served_by", j, "price")
                    yield at, model, backend.name, name, pricing.quote(backend, name, served.price, model.modality)


def price_faults(sources: Sources, pricing: Pricing) -> Iterator[Fault]:
    yield from _provider_faults(sources)
    yield from _backend_faults(sources)
    yield from _future_faults(sources, pricing.today)
    for at, model, backend, _, quote in quotes(sources, pricing):
        if quote.price is not None:
            continue
        if sources.unknown_price == "refuse":
            said = f"is required: write what it costs, 0 if nothing; `{backend}` is a bought API, and {quote.why}"
            yield sources.models.document.fault(at, said, key=True)
        else:
            yield from _bounded(sources, model.name, backend)


def _provider_faults(sources: Sources) -> Iterator[Fault]:
    """Providers that neither the book nor prices.yaml knows."""
    globs = [glob for one in sources.prices.sound.values() for glob in one.provider or ()]
    for index, backend in sources.backends.sound.items():
        name = backend.provider if isinstance(backend, ManagedBackend) else None
        if name is not None and not (globs and fits(name, globs)) and name not in book.providers():
            said = f"unknown provider `{name}`; {nearest(name, book.providers())}"
            yield sources.backends.document.fault(("backends", index, "provider"), said)


def _backend_faults(sources: Sources) -> Iterator[Fault]:
    """Globs of prices.yaml that stand for no backend."""
    names = sources.backends.names
    for index, one in sources.prices.sound.items() if names is not None else ():
        for j, glob in enumerate(one.backend or ()):
            if not matching((glob,), names or ()):
                yield from unknown(sources.prices.document, ("prices", index, "backend", j), "backend", glob, names)


def _future_faults(sources: Sources, today: date) -> Iterator[Fault]:
    """Prices that were read on a day that is not yet: they would stay young for too long."""
    written: list[tuple[Document, Path, RatesIn | None]] = [
        (sources.models.document, ("models", index, "served_by", j, "price", "as_of"), served.price)
        for index, model in sources.models.sound.items()
        for j, served in enumerate(model.served_by)
    ]
    written += [
        (sources.prices.document, ("prices", index, "price", "as_of"), one.price)
        for index, one in sources.prices.sound.items()
    ]
    for document, path, rates in written:
        if rates is not None and rates.as_of is not None and earliest(rates.as_of) > today + _AHEAD:
            yield document.fault(path, f"lies in the future: today is {today}")


def _bounded(sources: Sources, model: str, backend: str) -> Iterator[Fault]:
    """Rules that bound money and would send to a price that nobody knows."""
    for index, rule in sources.rules.sound.items():
        route = sources.route(rule)
        spill = route.spill
        leaves = (*(spill.backends if spill else ()), *route.fallback)
        bounded = spill is not None and spill.budget_usd_per_hour is not None
        if bounded and backend in leaves and matching(rule.match.model, (model,)):
            said = f"bounds money, and nobody knows what `{model}` costs at `{backend}`; write its price"
            yield sources.rules.document.fault(sources.route_path(index, "spill"), said, key=True)


def price_warnings(sources: Sources, pricing: Pricing) -> Iterator[Fault]:
    """Prices that should not be trusted blindly, those that nobody knows, and those that are nobody's."""
    yield from _without_effect(sources, pricing)
    for at, _, backend, name, quote in quotes(sources, pricing):
        if quote.price is None:
            said = f"nobody knows what `{name}` costs at `{backend}`: receipts and ledger will not say"
            yield sources.models.document.fault(at, said, key=True)
        elif quote.price.origin.marks:
            said = f"`{name}` at `{backend}` costs what {_doubt(quote.price.origin)}"
            yield sources.models.document.fault(at, said, key=True)
    for index, backend_in in sources.backends.sound.items():
        for gpus in rented(backend_in, pricing) if isinstance(backend_in, LocalBackend) else ():
            hourly = f"${gpus.usd_per_hour:.2f} is what {_doubt(gpus.priced)}"
            said = f"`{gpus.kind}` has no `usd_per_hour`: {hourly}"
            yield sources.backends.document.fault(("backends", index, "gpu"), said, key=True)


def _without_effect(sources: Sources, pricing: Pricing) -> Iterator[Fault]:
    """Entries of prices.yaml by which nothing is priced."""
    used: set[int | None] = set()
    beaten: dict[int, str] = {}
    for _, _, at, name, quote in quotes(sources, pricing):
        used.add(quote.by)
        backend = sources.backend(at)
        for index in pricing.fitting(backend, name) if isinstance(backend, ManagedBackend) else ():
            first = "`price` in models.yaml goes" if quote.by is None else f"prices[{quote.by}] fits too and stands"
            beaten[index] = f"{first} before it for `{name}` at `{at}`"
    for index in sources.prices.sound.keys() - used:
        why = beaten.get(index, "nothing that is bought here is what it names")
        yield sources.prices.document.fault(("prices", index), f"has no effect: {why}")


def rented(backend: LocalBackend, pricing: Pricing) -> list[Gpus]:
    """One of each kind of GPU whose hour the policy leaves to the book."""
    stated = [hardware(backend, worker) for _, worker in workers(backend)]
    found = [pricing.rented(gpus) for gpus in stated if gpus.usd_per_hour is None]
    return list({gpus.kind: gpus for gpus in found if gpus.usd_per_hour is not None}.values())


def _doubt(where: Origin) -> str:
    words = {"old": "is old", "low_confidence": f"is not sure ({where.confidence})"}
    doubts = " and ".join(words[mark] for mark in where.marks)
    day = f" on {where.as_of}" if where.as_of else ""
    return f"{where.source} said{day}" + (f", which {doubts}" if doubts else "")

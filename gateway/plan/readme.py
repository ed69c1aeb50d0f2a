"""The README of a plan's folder: what it is, and what to fill in."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.plan.decide import NAMES
from gateway.plan.making import Plan
from gateway.plan.site import Site
from gateway.plan.words import money, rate, span, title

_USE = "```\ngateway check .\ngateway test .\ngateway serve --policies .\n```\n"


def readme(plan: Plan, site: Site) -> str:
    usd = next(cost.usd for cost in plan.costs if cost.chosen)
    head = f"# {title(NAMES[plan.decision.architecture])}\n"
    cost = span(money(usd.least), money(usd.most))
    said = f"Written by `gateway plan`: {cost} a month by its assumptions. To make it yours:\n"
    return "\n".join([head, said, *(f"- {line}" for line in _to_do(plan, site)), "", *_known(plan, site), _USE])


def _to_do(plan: Plan, site: Site) -> Iterator[str]:
    if site.fleets:
        yield "`backends.yaml`: your workers' addresses, the networks they are in, and each node's DCGM page (`dcgm`)."
    if site.private:
        yield "`backends.yaml`: the address of the private endpoint, the network of its link, the zone it is in."
    if site.buys:
        yield "`GMI_API_KEY` in the environment: the API's key. Prices in `models.yaml`: those of your contract."
        if any(each != "text" for each in site.media):
            yield "Media have the price book's until then: `gateway prices check .` says how sure those are."
    yield "`models.yaml`: the names that clients send."
    if site.fleets:
        yield "`routing.yaml`: the SLO" + (", and what may be spent in an hour." if site.spills else ".")
    if site.buys:
        yield "`budgets.yaml`: what may be spent in a month."
    yield "`tenants.yaml`: `tenants: [{name: acme, keys: [HASH]}]` by `gateway keys hash`; else this host alone."
    if plan.decision.architecture == "evaluate":
        kinds = sorted({(fleet.line.worker.kind, rate(fleet.line.worker.usd_per_hour)) for fleet in plan.fleets})
        rented = " and ".join(f"{kind} at {usd}/h" for kind, usd in kinds)
        yield f"To evaluate self-deployment: rent {rented}, measure what it makes, and run `gateway plan` with that."


def _known(plan: Plan, site: Site) -> Iterator[str]:
    if not site.fleets and not site.private:
        yield "`gateway check` warns that flagged data (`X-Data-Residency`) is refused: here is nowhere for it to go.\n"

"""What can be asked of the ledger, as SQL for any of its databases. Values are bound, names come from the tables here.

An attempt belongs to the moment at which it ended, and days are UTC days.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, and_, case, distinct, func, select, true

from gateway.ledger.hours import fleet_hours
from gateway.ledger.tables import MICRO_PER_DAY, attempts
from gateway.model import US_PER_HOUR
from gateway.reports.ask import DAY, FILTERS, HOUR, LISTED, TAG, Ask

EARLIEST = 1_577_836_800 * 10**6
"""2020: microseconds since the epoch."""
_c = attempts.c
CHARGED: ColumnElement[int] = func.coalesce(_c.cost, _c.reserved)
"""What an attempt is booked at: its cost, or what was set aside where nobody could tell."""
AT_LIST: ColumnElement[int] = func.coalesce(_c.list_cost, _c.cost, _c.reserved)
GROUPS: Mapping[str, ColumnElement[Any]] = {
    **{name: _c[name] for name in FILTERS},
    DAY: _c.ended // MICRO_PER_DAY,
    HOUR: _c.ended // US_PER_HOUR,
    TAG: _c.tags,
}


def _count(when: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((when, 1), else_=0))


def _cost(when: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((when, CHARGED), else_=0))


_UNRECONCILED = _c.state == "unreconciled"
_MARKED = _c.price_marks != "[]"
COUNTS: Mapping[str, ColumnElement[Any]] = {
    "requests": func.count(distinct(func.nullif(_c.request, ""))),
    "attempts": func.count(),
    "input_tokens": func.sum(_c.input_tokens),
    "output_tokens": func.sum(_c.output_tokens),
    "cached_tokens": func.sum(_c.cached_tokens),
    "cache_write_tokens": func.sum(_c.cache_write_tokens),
    "reasoning_tokens": func.sum(_c.reasoning_tokens),
    "images": func.sum(_c.images),
    "seconds": func.sum(_c.seconds),
    "characters": func.sum(_c.characters),
    "gpu_us": func.sum(_c.gpu_us),
    "estimated": _count(_c.estimated),
    "unreconciled": _count(_UNRECONCILED),
    "unpriced": _count(and_(_c.cost.is_(None), _c.reserved == 0, _c.state == "settled")),
    "marked": _count(_MARKED),
    "simulated": _count(_c.demo),
}
MONEY: Mapping[str, ColumnElement[Any]] = {
    "cost": func.sum(CHARGED),
    "list_cost": func.sum(AT_LIST),
    "bought_cost": _cost(_c.kind == "managed"),
    "own_cost": _cost(_c.kind == "local"),
    "tenant_cost": _cost(_c.payer == "tenant"),
    "operator_cost": _cost(_c.payer == "operator"),
    "estimated_cost": _cost(_c.estimated),
    "unreconciled_cost": _cost(_UNRECONCILED),
    "marked_cost": _cost(_MARKED),
    "simulated_cost": _cost(_c.demo),
}
"""Micro-dollars."""
MEASURES: Mapping[str, ColumnElement[Any]] = {**COUNTS, **MONEY}


def summed(ask: Ask, most: int) -> Select[Any]:
    """One line per group, at most so many."""
    groups = [GROUPS[name].label(name) for name in ask.by]
    sums = [column.label(name) for name, column in MEASURES.items()]
    return select(*groups, *sums).where(_where(ask)).group_by(*groups).order_by(*groups).limit(most)


def total(ask: Ask) -> Select[Any]:
    return select(*(column.label(name) for name, column in MEASURES.items())).where(_where(ask))


def listed(ask: Ask) -> Select[Any]:
    """Single attempts, the newest first; one more than the page, which tells that there are more."""
    columns = [_c[name] for name in LISTED]
    order = (_c.ended.desc(), _c.attempt)
    return select(*columns).where(_where(ask)).order_by(*order).limit(ask.limit + 1).offset(ask.offset)


def span(ask: Ask, now: int) -> Select[Any]:
    """First and last end of what is asked for. One before there were gateways, or one that is not yet, is of a clock
    that was off: it would make years of a day."""
    return select(func.min(_c.ended), func.max(_c.ended)).where(_where(ask), _c.ended.between(EARLIEST, now))


def worker_hours(ask: Ask, most: int) -> Select[Any]:
    """Every hour of every worker that the time asked for touches, at most so many."""
    found = select(fleet_hours).order_by(fleet_hours.c.hour, fleet_hours.c.backend, fleet_hours.c.worker).limit(most)
    if ask.since is not None:
        found = found.where(fleet_hours.c.hour >= ask.since // US_PER_HOUR)
    if ask.until is not None:
        found = found.where(fleet_hours.c.hour < -(-ask.until // US_PER_HOUR))
    return found


def _where(ask: Ask) -> ColumnElement[bool]:
    wanted: list[ColumnElement[bool]] = [true()]
    if ask.since is not None:
        wanted.append(_c.ended >= ask.since)
    if ask.until is not None:
        wanted.append(_c.ended < ask.until)
    wanted += [_c[name].in_(values) for name, values in ask.where.items()]
    wanted += [_tagged(tag) for tag in ask.tags]
    if ask.settled is not None:
        wanted.append(_c.state == "settled")
    if ask.settled == "real":
        wanted.append(_c.demo.is_(False))
    return and_(*wanted)


def _tagged(tag: str) -> ColumnElement[bool]:
    """In JSON text a quote within a string is escaped, so that only a whole tag stands between bare ones. By `replace`,
    which knows case and no wildcards on either database."""
    word = msgspec.json.encode(tag).decode()
    return (func.replace(_c.tags, f"[{word}", "") != _c.tags) | (func.replace(_c.tags, f",{word}", "") != _c.tags)

"""A plan as text, at most 80 columns wide, and as data for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import date
from fractions import Fraction
from typing import Any, Final

from gateway.plan.answers import UNIT, Answers
from gateway.plan.assumptions import assumptions
from gateway.plan.costs import (
    GUIDE_FACTORS,
    GUIDE_GPU_USD,
    GUIDE_PER_1M,
    GUIDE_TOKENS,
    HOURS,
    Line,
    Option,
    guide_break_even,
)
from gateway.plan.decide import NAMES
from gateway.plan.making import Cost, Fleet, Plan
from gateway.plan.volume import tokens_each
from gateway.plan.words import about, cents, count, money, number, pays, percent, rate, span, title

WIDTH: Final = 80
_OPTIONS: Final[Mapping[Option, str]] = {
    "managed": "managed API, list price",
    "private": "private endpoints",
    "hybrid": "hybrid",
    "self": "self-deployment",
}


def text(plan: Plan) -> str:
    parts = (_head, _walk, _models, _fleet, _costs, _break_even, _cautions, _assumed)
    blocks = ["\n".join(part(plan)) for part in parts]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(plan: Plan) -> Iterator[str]:
    yield title(NAMES[plan.decision.architecture])
    if plan.decision.private and plan.decision.architecture != "private":
        yield "what is bought goes through private endpoints"


def _walk(plan: Plan) -> Iterator[str]:
    yield "Why"
    yield from _table([(step.asked, step.answer, f"-> {step.so}") for step in plan.decision.steps])
    size = plan.answers.team_size
    team = "" if size is None else f"; a team of {size:,}"
    yield f"  in all {count(plan.decision.tokens)} tokens-equivalents a month{team}"


def _models(plan: Plan) -> Iterator[str]:
    yield "Start with"
    bought = plan.lines if plan.decision.buys else ()
    verb = "try" if plan.decision.architecture == "evaluate" else "serve"
    rows = [("buy", each.medium, each.bought.model, each.bought.sold) for each in bought]
    served = [(verb, one.line.medium, one.line.worker.model.model) for one in plan.fleets]
    yield from _table([*rows, *((*row, "") for row in served)])


def _fleet(plan: Plan) -> Iterator[str]:
    if not plan.fleets:
        return
    where = f" in {plan.answers.zone}, no route out" if plan.decision.architecture == "isolated" else ""
    yield f"GPUs{where}"
    yield from _table([_hardware(fleet) for fleet in plan.fleets])
    for fleet in plan.fleets:
        made = fleet.line.worker
        fits = f"{number(made.model.gb)} GB x {number(plan.answers.memory_headroom)} = {number(made.needs_gb)} GB"
        makes = f"{count(fleet.line.capacity)} {UNIT[fleet.line.medium]} a month each"
        busy = f"{percent(fleet.use)} busy"
        yield from _wrapped(f"{fleet.line.medium}: {busy}; {fits} of {number(made.has_gb)} GB; {makes}", "    ")


def _hardware(fleet: Fleet) -> tuple[str, ...]:
    made = fleet.line.worker
    workers = "1 worker" if fleet.workers == 1 else f"{fleet.workers:,} workers"
    return (
        fleet.line.medium,
        f"{fleet.gpus:,} {made.kind}",
        f"{workers} of {made.gpus}",
        f"{rate(made.usd_per_hour)}/h each",
    )


def _costs(plan: Plan) -> Iterator[str]:
    answers = plan.answers
    over = f"{number(answers.overhead_min)}x to {number(answers.overhead_max)}x overhead"
    yield f"Cost in a month, own GPUs at {percent(answers.utilisation)} utilisation and {over}"
    width = max(len(_range(cost)) for cost in plan.costs)
    for cost in plan.costs:
        said = f"({cost.but})" if cost.but else ""
        yield f"{'*' if cost.chosen else ' '} {_OPTIONS[cost.option]:<24}{_range(cost):>{width}}  {said}".rstrip()


def _range(cost: Cost) -> str:
    return span(money(cost.usd.least), money(cost.usd.most))


def _break_even(plan: Plan) -> Iterator[str]:
    yield "Break-even: the volume a month whose list price is one worker's cost"
    least, most = (f"{number(factor)}x" for factor in (plan.answers.overhead_min, plan.answers.overhead_max))
    rows: list[tuple[str, ...]] = [("", f"at {least}", f"at {most}", "at which utilisation")]
    rows += [_even(each) for each in plan.lines]
    yield from _table(rows, right=(1, 2))
    if any(cost.option == "hybrid" and cost.chosen for cost in plan.costs):
        yield f"  As a whole the hybrid {pays(*plan.hybrid_pays_above)}."
    for each in plan.lines:
        if each.breaks_even.least > each.capacity:
            at = percent(plan.answers.utilisation)
            yield f"  {each.medium}: a worker at {at} makes {about(each.capacity)}, less than breaks even."
    yield from _guide()


def _guide() -> Iterator[str]:
    low, high = GUIDE_FACTORS
    even = guide_break_even()
    month = f"{rate(GUIDE_GPU_USD)} x {HOURS} h x {number(low)} = {money(GUIDE_GPU_USD * HOURS * low)}"
    buys = f"that buys {about(even.least)}, and at {number(high)}x {about(even.most)}"
    theirs = f"The guide's {about(Fraction(GUIDE_TOKENS))} tokens, recomputed"
    yield from _wrapped(f"{theirs}: one H100 at {month}; at {rate(GUIDE_PER_1M)} per 1M {buys}.")


def _even(each: Line) -> tuple[str, ...]:
    unit = UNIT[each.medium]
    return unit, about(each.breaks_even.least), about(each.breaks_even.most), pays(*each.pays_above)


def _cautions(plan: Plan) -> Iterator[str]:
    if plan.cautions:
        yield "Mind"
    for caution in plan.cautions:
        yield from _wrapped(caution)


def _assumed(plan: Plan) -> Iterator[str]:
    yield "Assumptions, and the flags that replace them"
    told = [
        (f"  --{each.key.replace('_', '-')} {each.value}", each.how) for each in assumptions(plan.answers, plan.lines)
    ]
    left = max(len(flag) for flag, _ in told) + 2
    for flag, how in told:
        first, *others = textwrap.wrap(how, WIDTH - left, break_on_hyphens=False)
        yield f"{flag:<{left}}{first}"
        yield from (f"{'':<{left}}{other}" for other in others)
    for line in plan.lines:
        yield from _wrapped(f"{line.bought.model}: {line.bought.sold} ({line.bought.source})", "    ")
    for model in (fleet.line.worker.model for fleet in plan.fleets):
        yield from _wrapped(f"{model.model}: {number(model.gb)} GB ({model.source})", "    ")


def _wrapped(said: str, hanging: str = "  ") -> list[str]:
    return textwrap.wrap(said, WIDTH, initial_indent="  ", subsequent_indent=hanging, break_on_hyphens=False)


def _table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Columns as wide as their widest cell, two apart, the whole indented by two."""
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def data(plan: Plan) -> dict[str, Any]:
    """The same as JSON can hold it. Money in USD a month, rounded up to cents."""
    return {
        "architecture": plan.decision.architecture,
        "name": NAMES[plan.decision.architecture],
        "private_endpoints": plan.decision.private,
        "tokens_equivalent": plan.decision.tokens,
        "steps": [step._asdict() for step in plan.decision.steps],
        "media": [_medium(plan.answers, each) for each in plan.lines],
        "gpus": [_gpus(fleet) for fleet in plan.fleets],
        "costs": [_cost(cost) for cost in plan.costs],
        "hybrid_pays_above_utilisation": [round(float(share), 4) for share in plan.hybrid_pays_above],
        "guide_break_even_tokens": [round(tokens) for tokens in guide_break_even()],
        "cautions": list(plan.cautions),
        "assumptions": [each._asdict() for each in assumptions(plan.answers, plan.lines)],
        "answers": {field.name: _plain(getattr(plan.answers, field.name)) for field in fields(Answers)},
    }


def _medium(answers: Answers, each: Line) -> dict[str, Any]:
    return {
        "medium": each.medium,
        "unit": UNIT[each.medium],
        "volume": each.volume,
        "tokens_each": _plain(tokens_each(answers, each.medium)),
        "buy": {"model": each.bought.model, "usd_each": float(each.bought.usd), "source": each.bought.source},
        "serve": each.worker.model.model,
        "break_even": [round(units) for units in each.breaks_even],
        "pays_above_utilisation": [round(float(share), 4) for share in each.pays_above],
    }


def _gpus(fleet: Fleet) -> dict[str, Any]:
    made = fleet.line.worker
    return {
        "medium": fleet.line.medium,
        "model": made.model.model,
        "kind": made.kind,
        "gpus": fleet.gpus,
        "workers": fleet.workers,
        "gpus_per_worker": made.gpus,
        "needs_gb": float(made.needs_gb),
        "has_gb": float(made.has_gb),
        "usd_per_worker_hour": float(made.usd_per_hour),
        "units_per_worker_month": int(fleet.line.capacity),
        "use": round(float(fleet.use), 4),
    }


def _cost(cost: Cost) -> dict[str, Any]:
    usd = [cents(amount) for amount in cost.usd]
    return {"option": cost.option, "usd_per_month": usd, "chosen": cost.chosen, "but": cost.but or None}


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value

"""The whole answer: the walk, who serves what on how many GPUs, what each way costs, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from gateway.plan import costs
from gateway.plan.answers import Answers
from gateway.plan.costs import SPARE_WORKERS, Line, Option, Range
from gateway.plan.decide import Architecture, Decision, decide
from gateway.plan.gpus import GPUS_PER_NODE
from gateway.plan.words import money, pays, span

CHOSEN: Final[Mapping[Architecture, Option]] = {
    "managed": "managed",
    "private": "private",
    "evaluate": "managed",
    "hybrid": "hybrid",
    "self": "self",
    "isolated": "self",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way in a month, in USD."""

    option: Option
    usd: Range
    chosen: bool
    but: str = ""
    """Why it is not open to this team; the cost is there to compare."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers of one medium that the plan asks for."""

    line: Line
    workers: int
    makes: Fraction
    """Units a month."""

    @property
    def gpus(self) -> int:
        return self.workers * self.line.worker.gpus

    @property
    def use(self) -> Fraction:
        """Share of the time that they work: whole workers are seldom as busy as it is assumed of one."""
        return self.makes / (self.workers * self.line.worker.per_hour * costs.HOURS)


@dataclass(frozen=True, slots=True)
class Plan:
    answers: Answers
    decision: Decision
    lines: tuple[Line, ...]
    fleets: tuple[Fleet, ...]
    """Own GPUs; of `evaluate` what a trial takes: one worker for each medium."""
    costs: tuple[Cost, ...]
    hybrid_pays_above: Range
    cautions: tuple[str, ...] = ()

    def cost(self, option: Option) -> Cost:
        return next(cost for cost in self.costs if cost.option == option)


def plan(answers: Answers) -> Plan:
    """Raises BadAnswer where a model fits no worker."""
    decision = decide(answers)
    lines = tuple(costs.line(answers, medium) for medium in answers.media)
    made = Plan(
        answers=answers,
        decision=decision,
        lines=lines,
        fleets=_fleets(answers, decision, lines),
        costs=_costs(answers, decision, lines),
        hybrid_pays_above=costs.hybrid_pays_above(answers, lines),
    )
    return replace(made, cautions=tuple(_cautions(made)))


def _fleets(answers: Answers, decision: Decision, lines: tuple[Line, ...]) -> tuple[Fleet, ...]:
    if decision.architecture in ("self", "isolated"):
        return tuple(Fleet(each, each.workers(Fraction(1), SPARE_WORKERS), Fraction(each.volume)) for each in lines)
    share = answers.baseline_share
    if decision.architecture == "hybrid":
        made = costs.worth_making(answers, lines)
        return tuple(Fleet(each, each.workers(share), each.volume * share) for each in made)
    if decision.architecture == "evaluate":
        return tuple(Fleet(each, 1, min(each.volume * share, each.capacity)) for each in lines)
    return ()


def _costs(answers: Answers, decision: Decision, lines: tuple[Line, ...]) -> tuple[Cost, ...]:
    by_private = answers.compliance == "compliance"
    chosen = "private" if decision.architecture == "evaluate" and by_private else CHOSEN[decision.architecture]
    amounts: Mapping[Option, Range] = {
        "managed": costs.managed(lines),
        "private": costs.private(answers, lines),
        "hybrid": costs.hybrid(answers, lines, by_private=by_private),
        "self": costs.self_deployed(answers, lines),
    }
    return tuple(
        Cost(option, usd, option == chosen, "" if option == chosen else _but(answers, option))
        for option, usd in amounts.items()
    )


def _but(answers: Answers, option: Option) -> str:
    if option != "self" and answers.compliance == "localisation":
        return f"must stay in {answers.zone}"
    if option != "self" and answers.fine_tuned is not None:
        return "a standard model"
    if option == "managed" and answers.compliance == "compliance":
        return "public endpoints"
    return "nobody to run it" if option in ("hybrid", "self") and answers.engineers == "none" else ""


def _cautions(made: Plan) -> Iterator[str]:
    answers, decision = made.answers, made.decision
    if decision.own_gpus and answers.engineers == "none":
        yield "Nobody here runs GPUs yet: find that first. The overhead range takes somebody for granted."
    for fleet in made.fleets:
        if not fleet.line.volume:
            least = f"{fleet.workers} workers are the least there can be"
            yield f"Nobody said how much {fleet.line.medium} is made: {least}."
    if decision.architecture == "evaluate":
        yield "Rent one worker, measure what it makes, plan again with that."
    if decision.architecture in ("hybrid", "evaluate"):
        yield from _of_hybrid(made)
    own, bought = made.cost("self").usd, made.cost("managed").usd
    if decision.architecture in ("managed", "private") and own.most < bought.least:
        yield (
            f"Own GPUs would cost less ({span(money(own.least), money(own.most))} a month), "
            "but somebody must run them: hire first, then plan again."
        )
    if decision.architecture == "self" and any(each.medium != answers.fine_tuned for each in made.lines):
        yield "What standard models make may be bought instead: only the fine-tuned one needs own GPUs."
    if any(fleet.line.worker.gpus > GPUS_PER_NODE for fleet in made.fleets):
        yield f"A worker spans several nodes of {GPUS_PER_NODE} GPUs: it needs a fast network between them."


def _of_hybrid(made: Plan) -> Iterator[str]:
    """Where the guide's bands and the prices of this case disagree, both are told: of the hybrid that is chosen, and of
    the one that may follow a trial."""
    at, above = made.answers.utilisation, made.hybrid_pays_above
    hybrid, bought = made.cost("hybrid").usd, made.cost("private" if made.decision.private else "managed").usd
    yield from _bought_whole(made)
    if above.least > 1:
        yield "At these prices own GPUs never pay, however busy: stay with the API whatever the volume."
    elif above.least > at:
        yield "At this utilisation own GPUs cost more than buying: stay with the API until they are busier."
    elif hybrid.least > bought.least:
        yield "The volume is below break-even: stay with the API until it has grown to what one worker costs."
    else:
        if made.cost("self").usd.least < hybrid.least:
            yield (
                "Self-deployment costs less on paper, but what comes above "
                f"{float(1 / at):.2g} times the mean waits there: that is what the overflow buys."
            )
        if hybrid.most > bought.most:
            yield "A hybrid pays at the least overhead, not at the most: know yours before you commit."
        elif made.decision.architecture == "evaluate":
            yield f"A hybrid {pays(*above)}."


def _bought_whole(made: Plan) -> Iterator[str]:
    chosen = costs.worth_making(made.answers, made.lines)
    verb = "is bought" if made.decision.architecture == "hybrid" else "would be bought in a hybrid too,"
    for each in made.lines:
        if each not in chosen:
            few = each.pays_above.least <= made.answers.utilisation
            why = "too little of it to fill a worker" if few else "own GPUs would cost more"
            yield f"{each.medium.capitalize()} {verb} whole: {why}."

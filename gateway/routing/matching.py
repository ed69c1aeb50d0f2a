"""Which rule a request meets: the first whose match holds. Pure.

Most of a match depends on names, enumerations and the instant alone, and is worked out once per board. What depends on
the very request (its size, its headers, `when`) is asked rule by rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.model import Demand, GenRequest, Match, Model, Rule, TokenBounds, Window
from gateway.routing.board import Asked, Board, Course
from gateway.routing.estimate import output_tokens, prompt_tokens
from gateway.routing.facts import Reads, facts, sorted_out
from gateway.routing.globs import fits


def courses(asked: Asked, model: Model, demand: Demand, board: Board) -> tuple[Course, ...]:
    """The rules that requests asking so may meet, in order: none behind the first that asks nothing further."""
    found: list[Course] = []
    for rule in board.policy.rules:
        if matches(rule.match, asked, model, demand, board.policy.zones) and in_time(rule.match, board.snapshot.at):
            ask = further(rule)
            found.append(Course(rule, ask))
            if ask is None:
                break
    return tuple(found)


def matches(match: Match, asked: Asked, model: Model, demand: Demand, zones: Mapping[str, frozenset[str]]) -> bool:
    """What of `match` depends on names and enumerations."""
    return (
        fits(asked.model, match.model)
        and (not match.modality or model.modality in match.modality)
        and (not match.endpoint or asked.endpoint in match.endpoint)
        and (not match.tenant or asked.tenant.name in match.tenant)
        and match.tags <= asked.tenant.tags
        and (match.residency is None or under(match.residency, demand, zones))
        and (not match.priority or asked.priority in match.priority)
        and (match.stream is None or match.stream is asked.stream)
    )


def under(wanted: str, demand: Demand, zones: Mapping[str, frozenset[str]]) -> bool:
    """Whether `demand` is one of those that `match.residency` speaks of. What must stay in `de` must stay in `eu` too
    where `de` lies in it."""
    if wanted in ("any", "none"):
        return (wanted == "any") is bool(demand)
    if wanted == "local":
        return demand.local
    return any(wanted in zones.get(zone, ()) for zone in demand.zones)


def in_time(match: Match, at: float) -> bool:
    """Whether one of the windows is open; `at`: seconds since the epoch."""
    return not match.time or any(is_open(window, at) for window in match.time)


def is_open(window: Window, at: float) -> bool:
    """By the clock on the wall there: where it is put forward or back, a window is shorter or longer by as much."""
    there = datetime.fromtimestamp(at, window.timezone)
    today, minute = there.weekday(), there.hour * 60 + there.minute
    if window.begin < window.end:
        return today in window.days and window.begin <= minute < window.end
    yesterday = (today - 1) % 7
    return (today in window.days and minute >= window.begin) or (yesterday in window.days and minute < window.end)


@dataclass(frozen=True, slots=True)
class Further:
    """What of a rule's match must be asked of every request."""

    rule: Rule
    reads: Reads
    """What its `when` looks at."""

    def __call__(self, request: GenRequest, board: Board) -> bool:
        match = self.rule.match
        learned = board.known(request.model)
        return (
            (match.prompt_tokens is None or between(prompt_tokens(request, learned), match.prompt_tokens))
            and (match.output_tokens is None or between(output_tokens(request, learned), match.output_tokens))
            and all(name in request.headers and fits(request.headers[name], (glob,)) for name, glob in match.headers)
            and (match.when is None or match.when(facts(self.reads, request, self.rule, board)))
        )


def further(rule: Rule) -> Further | None:
    """None where the match has nothing to ask of the very request."""
    match = rule.match
    if match.prompt_tokens is None and match.output_tokens is None and not match.headers and match.when is None:
        return None
    return Further(rule, sorted_out(match.when.reads if match.when else frozenset()))


def between(tokens: int, bounds: TokenBounds) -> bool:
    lowest, highest = bounds
    return (lowest is None or tokens >= lowest) and (highest is None or tokens <= highest)

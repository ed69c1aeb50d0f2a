"""Who of a pool is asked: a sample of those that this request leaves in it, and the group that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import NamedTuple

from gateway.errors import InvalidRequest
from gateway.model import GenRequest, Group, Outcome, Reason, UpstreamState
from gateway.routing.affinity import PLACES, Circle, carries, owners, session_key
from gateway.routing.board import Board, Plan, Pool
from gateway.routing.candidates import Candidates, class_share
from gateway.routing.estimate import estimate
from gateway.routing.filters import call_drop
from gateway.routing.forecast import AS_ASSUMED
from gateway.routing.pickers import MAX_SAMPLED, dealt, lifts, native_first, sample
from gateway.routing.scene import Scene
from gateway.routing.terms import cheapest
from gateway.routing.thresholds import forecast_break
from gateway.routing.worth import LEFT_TO_CHEAP

Unable = Mapping[tuple[str, str], InvalidRequest]
"""Upstream and the model's name there -> why it cannot do this request, where that was found out only as it was to be
sent."""
NOBODY: Unable = {}


class Draw(NamedTuple):
    """One request that is being decided; `excluded` names upstreams that already failed it, `unable` those that cannot
    do it. `stays`: there is nobody to whom it could leave."""

    request: GenRequest
    board: Board
    plan: Plan
    rng: Random
    excluded: frozenset[str]
    unable: Unable = NOBODY
    stays: bool = False

    @property
    def cheap(self) -> bool:
        """Whether it leaves the last of the room to what is dearer to buy: what cannot leave does not."""
        return self.plan.cheap and not self.stays

    def left(self, pool: Pool) -> Pool:
        """What is left of `pool` for this very request: without those that failed it before or that its filters leave
        out, and empty where a call filter drops the backend. Who leaves is counted in its drops."""
        if self.excluded:
            fresh = tuple(state for state in pool.states if state.upstream.name not in self.excluded)
            pool = without(pool, fresh, "failed_before")
        if self.unable:
            able = tuple(state for state in pool.states if (state.upstream.name, pool.served.name) not in self.unable)
            pool = without(pool, able, "capability")
        if pool.foreign and (self.request.reworded is None or self.request.reworded.obstacle() is not None):
            native = tuple(state for state in pool.states if state.upstream.name not in pool.foreign)
            pool = without(pool, native, "capability")
        why = call_drop(self.plan.rule, self.request, pool.kind, pool.served)
        if why is not None:
            return without(pool, (), why)
        return self._foreseen(pool) if self.plan.terms.foresees else pool

    def _foreseen(self, pool: Pool) -> Pool:
        """Looks at as many, in random order, as it takes to find a whole sample that breaks no threshold: all of them
        where there are not so many."""
        basics, found, drops = self._basics(pool), list[UpstreamState](), dict(pool.drops)
        for state in dealt(pool.states, self.rng):
            why = forecast_break(self.plan.terms.foresees, basics, state)
            if why is not None:
                drops[why] = drops.get(why, 0) + 1
            else:
                found.append(state)
                if len(found) == MAX_SAMPLED:
                    break
        return replace(pool, states=tuple(found), drops=drops)

    def group(self, pool: Pool, outcome: Outcome, reason: Reason) -> Group:
        terms, learned, share = self.plan.terms, self.board.known(self.plan.model.name), self.share(pool)
        scoring = terms.scoring
        if terms.plain:
            states = sample(pool.states, self.rng)
            lifted = native_first((), states, pool.foreign, scoring.load) if pool.foreign else ()
            candidates = Candidates(self.request, pool.served, states, learned, share, lifts=lifted)
        else:
            scene = self.scene(pool)
            states = drawn(pool, self.rng, scene)
            lifted = lifts(terms.picker, len(states), scoring.total, self.rng)
            if pool.foreign:
                lifted = native_first(lifted, states, pool.foreign, scoring.total + scoring.load)
            candidates = Candidates(self.request, pool.served, states, learned, share, scene, scoring.static, lifted)
        last = candidates.within(class_share(pool.kind, self.plan.share)) if self.cheap else None
        return Group(pool.backend, outcome, reason, candidates, scoring.load, last)

    def share(self, pool: Pool) -> float:
        """What of its upstreams' limits the request may fill."""
        return class_share(pool.kind, self.plan.share * LEFT_TO_CHEAP if self.cheap else self.plan.share)

    def scene(self, pool: Pool) -> Scene:
        """What scorers look at, with those that the session and the prompt's beginning belong to, where they ask."""
        basics, terms, request, circle = self._basics(pool), self.plan.terms, self.request, pool.circle
        if circle is None or not pool.states:
            return basics

        def passes(state: UpstreamState) -> bool:
            name = state.upstream.name
            return not (name in self.excluded or (name, pool.served.name) in self.unable) and (
                not terms.foresees or forecast_break(terms.foresees, basics, state) is None
            )

        key = session_key(request.tenant.name, request.session) if request.session else request.prefix
        session = owners(circle, key, passes) if terms.session and key is not None else []
        prefix = self._readers(circle, passes) if terms.prefix else []
        return basics._replace(session=names(session), prefix=names(prefix)) if session or prefix else basics

    def _readers(self, circle: Circle, passes: Callable[[UpstreamState], bool]) -> list[UpstreamState]:
        """Who read the prompt's beginning before, then whom it belongs to; PLACES of them."""
        before = [state for name in self.request.read_by if (state := carries(circle, name, circle.kept)) is not None]
        found = [state for state in before if passes(state)]
        if self.request.prefix is not None and len(found) < PLACES:
            further = owners(circle, self.request.prefix, passes, circle.fresh)
            found += [state for state in further if state not in found]
        return found[:PLACES]

    def _basics(self, pool: Pool) -> Scene:
        """All that does not depend on the ring."""
        request, board, plan = self.request, self.board, self.plan
        model, learned = plan.model.name, board.known(plan.model.name)
        pace = board.paces.get((pool.backend, model), AS_ASSUMED)
        ask = estimate(request, pool.served, learned, pace.first)
        return Scene(
            ask=ask,
            model=model,
            learned=learned,
            n=request.n,
            pace=pace,
            share=self.share(pool),
            ttft=plan.rule.slo.ttft,
            bought=cheapest(plan.terms.prices, request, ask),
            since=board.since(plan.rule),
            near=board.near(),
        )


def drawn(pool: Pool, rng: Random, scene: Scene) -> list[UpstreamState]:
    """A sample of `pool` in which those that something belongs to have a place: owners before the others, who are next
    on their ring behind them."""
    states = sample(pool.states, rng)
    if pool.circle is None or not (scene.session or scene.prefix):
        return states
    first = dict.fromkeys((*scene.session[:1], *scene.prefix[:1]))
    last = dict.fromkeys(name for name in (*scene.session[1:], *scene.prefix[1:]) if name not in first)
    others = [state for state in states if state.upstream.name not in first and state.upstream.name not in last]
    members, room = pool.circle.members, MAX_SAMPLED - len(first) - len(last)
    return [*(members[name] for name in first), *others[:room], *(members[name] for name in last)]


def names(states: list[UpstreamState]) -> tuple[str, ...]:
    return tuple([state.upstream.name for state in states])


def without(pool: Pool, left: tuple[UpstreamState, ...], why: str) -> Pool:
    gone = len(pool.states) - len(left)
    return replace(pool, states=left, drops={**pool.drops, why: pool.drops.get(why, 0) + gone}) if gone else pool

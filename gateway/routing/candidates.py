"""From the sampled upstreams of one backend to the rows of the atomic pick, worked out when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import overload

from gateway.model import Candidate, GenRequest, Group, Kind, Learned, Served, UpstreamState
from gateway.routing.estimate import estimate, work_for
from gateway.routing.ramp import filled
from gateway.routing.scene import Scene
from gateway.routing.scorers import Scorer

_row = partial(tuple.__new__, Candidate)
"""`Candidate(...)` without a Python-level call for each of many."""


class Candidates(Sequence[Candidate]):
    """The candidates of one group, one for each of `states`, made at the first look and then kept.

    All that they are made of is immutable, and chance has had its say in the order of `states` and in `lifts`: it does
    not matter when they are made, or whether. `static` are the rule's scorers and their weights, `scene` what they
    look at; without them live load alone counts.
    """

    __slots__ = ("_learned", "_lifts", "_made", "_request", "_served", "_share", "_static", "scene", "states")

    def __init__(
        self,
        request: GenRequest,
        served: Served,
        states: Sequence[UpstreamState],
        learned: Learned,
        share: float,
        scene: Scene | None = None,
        static: Sequence[tuple[Scorer, float]] = (),
        lifts: Sequence[float] = (),
    ) -> None:
        self._request, self._served, self.states, self._learned = request, served, states, learned
        self._share, self.scene, self._static, self._lifts = share, scene, static, lifts
        self._made: tuple[Candidate, ...] | None = None

    def within(self, share: float) -> Candidates:
        """The same ones, of whose limits the request may fill so much."""
        scene = None if self.scene is None else self.scene._replace(share=share)
        return Candidates(
            self._request, self._served, self.states, self._learned, share, scene, self._static, self._lifts
        )

    def _all(self) -> tuple[Candidate, ...]:
        if self._made is None:
            made = make_candidates(
                self._request, self._served, self.states, self._learned, self._share, self.scene, self._static
            )
            if self._lifts:
                made = tuple([_row((*one[:-1], lift)) for one, lift in zip(made, self._lifts, strict=True)])
            self._made = made
        return self._made

    def __len__(self) -> int:
        return len(self.states)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self._all()[index]


def make_candidates(
    request: GenRequest,
    served: Served,
    states: Sequence[UpstreamState],
    learned: Learned,
    share: float,
    scene: Scene | None = None,
    static: Sequence[tuple[Scorer, float]] = (),
) -> tuple[Candidate, ...]:
    """What depends on the request alone is worked out once, work and limit once for each kind of worker in a row.
    `share`: what of a worker's limit the request's class may fill."""
    ask = estimate(request, served, learned) if scene is None else scene.ask
    made, speed, seats, work, whole, most = [], None, 0, 0, -1, 0
    for state in states:
        upstream = state.upstream
        if upstream.speed is not speed or upstream.seats != seats:
            speed, seats, work = upstream.speed, upstream.seats, work_for(upstream, ask)
        full = upstream.limit if state.limit is None else state.limit
        if full != whole:
            whole, most = full, int(full * share) or 1
        limit, ramp = most, state.ramp
        if ramp < 1:
            limit = filled(most, ramp, work)
            ramp = limit / most
        here, score = work if work < limit else limit, 0.0
        if scene is not None:
            for scorer, weight in static:
                score += weight * scorer(scene, state, here, limit)
        room = seats if state.seats is None else state.seats
        made.append(_row((upstream, served, score, here, limit, room, state.outside, state.life, ask, ramp, 0.0)))
    return tuple(made)


def class_share(kind: Kind, share: float) -> float:
    """What of an upstream's limit a class with this share may fill; classes do not share a bought API."""
    return share if kind == "local" else 1.0


def uncapped(group: Group) -> Group:
    """Its candidates with the whole limits of their workers, whatever part of them the request's class may fill."""
    found = group.candidates
    return replace(group, candidates=found.within(1.0), last=None) if isinstance(found, Candidates) else group

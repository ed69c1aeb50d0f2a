"""From the sampled upstreams of one backend to the rows of the atomic pick, worked out when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from gateway.model import Candidate, GenRequest, Kind, Learned, Served, UpstreamState
from gateway.routing.estimate import estimate, work_of
from gateway.routing.scorers import score


class Candidates(Sequence[Candidate]):
    """The candidates of one group, one for each of `states`, made at the first look and then kept.

    All that they are made of is immutable, and chance has had its say in the order of `states`: it does not matter when
    they are made, or whether.
    """

    __slots__ = ("_learned", "_made", "_request", "_served", "_share", "_states")

    def __init__(
        self, request: GenRequest, served: Served, states: Sequence[UpstreamState], learned: Learned, share: float
    ) -> None:
        self._request, self._served, self._states, self._learned = request, served, states, learned
        self._share = share
        self._made: tuple[Candidate, ...] | None = None

    def _all(self) -> tuple[Candidate, ...]:
        if self._made is None:
            self._made = make_candidates(self._request, self._served, self._states, self._learned, self._share)
        return self._made

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self._all()[index]


def make_candidates(
    request: GenRequest, served: Served, states: Sequence[UpstreamState], learned: Learned, share: float
) -> tuple[Candidate, ...]:
    """`share`: what of a worker's limit the request's class may fill. What depends on the request alone is worked out
    once, and the work once for each kind of worker in a row."""
    ask = estimate(request, served, learned)
    made, speed, seats, work = [], None, 0, 0
    for state in states:
        upstream = state.upstream
        if upstream.speed is not speed or upstream.seats != seats:
            speed, seats, work = upstream.speed, upstream.seats, work_of(upstream, ask.input_tokens, ask.output_tokens)
        limit = limit_for(upstream.kind, share, upstream.limit if state.limit is None else state.limit)
        made.append(
            Candidate(
                upstream,
                served,
                score(ask, state),
                min(work, limit),
                limit,
                seats,
                state.outside,
                state.life,
                ask.price,
                ask.price_most,
            )
        )
    return tuple(made)


def limit_for(kind: Kind, share: float, limit: int) -> int:
    """What of an upstream's limit a class with this share may fill; classes do not share a bought API."""
    return max(1, int(limit * share)) if kind == "local" else max(1, limit)

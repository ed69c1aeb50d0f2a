"""Where else a request may go while its first attempt runs, or after its stream broke off. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from gateway.edge.account import Attempt
from gateway.edge.delivered import Delivered
from gateway.errors import GatewayError, Incapable, InvalidRequest, NoCapacity, UpstreamFault, UpstreamTimeout
from gateway.model import Candidate, Decision, GenRequest, Group, Lease, Policy, Rule
from gateway.routing.board import Board
from gateway.routing.capability import asked_at, continues
from gateway.routing.fields import action

_LASTING = frozenset({"store", "background", "kv_transfer_params"})
"""Body fields that leave something behind at their upstream, or take it up there: asking two of them is not the same as
asking one."""


def repeatable(request: GenRequest, rule: Rule) -> bool:
    """Whether it may be asked of two upstreams at once: never pictures, films or sound, which are minutes of a GPU, and
    of which some are late by what they ask for."""
    return request.media is None and all(
        action(rule, "local", name) == "remove" for name in request.fields if name in _LASTING
    )


@contextmanager
def sayable(attempt: Attempt) -> Iterator[None]:
    """Around what is made for one upstream of the caller's words. Raises Incapable where they cannot be said to it, so
    that somebody else is asked; not once anything has left, or was ordered before: that may be bought already."""
    try:
        yield
    except InvalidRequest as refusal:
        if not attempt.free:
            raise
        raise Incapable(refusal) from None


def beside(
    newest: Callable[[frozenset[str]], Decision], late: Lease, failed: Collection[str], policy: Policy
) -> Decision | None:
    """The decision for a second attempt beside the one under `late`: other workers of ours at home, and beyond it what
    `spill` allows; not `fallback`, because nothing has failed. Of the two at most one is bought, and both are one
    version.

    `newest` decides anew without the upstreams that it is given. None: there is nobody.
    """
    spill, name = late.decision.rule.spill, late.candidate.upstream.name
    buys = late.candidate.upstream.kind == "local"
    try:
        decision = newest(frozenset((*failed, name)))
        if not decision.primary and spill is not None:
            decision = newest(frozenset(failed))
    except GatewayError:
        if spill is None or not buys:
            return None
        # Its only worker is the late one: what has no room there may leave.
        decision = newest(frozenset(failed))

    version = late.candidate.served.version

    def other(one: Candidate) -> bool:
        alike = version is None or one.served.version in (None, version)
        return alike and one.upstream.name != name

    home = narrowed((group for group in decision.primary if policy.kind(group.backend) == "local"), other)
    beyond = [group for group in decision.overflow if group.outcome != "fallback"]
    away = narrowed((group for group in beyond if buys or policy.kind(group.backend) == "local"), other)
    return replace(decision, primary=home, overflow=away) if home or away else None


def rescuable(lease: Lease, fault: UpstreamFault, delivered: Delivered) -> bool:
    """Whether the stream that broke off under `lease` may be ended by another worker: only what one of our own workers
    wrote, and never because its reader was the slow one, or its time was up."""
    if isinstance(fault, UpstreamTimeout) and (fault.held or fault.phase == "total"):
        return False
    return lease.candidate.upstream.kind == "local" and delivered.open


def on_alike(decision: Decision, broken: Lease, endpoint: str, board: Board) -> Decision:
    """Only workers of ours that serve the very model whose stream broke off, and can go on with it; nobody else is
    asked, and nothing is bought. Raises NoCapacity."""
    served, backend = broken.candidate.served, broken.candidate.upstream.backend

    def alike(one: Candidate) -> bool:
        engine = engine_of(one, board)
        native = asked_at(one.upstream, endpoint, engine) == endpoint  # a translated stream cannot be gone on with
        return native and one.upstream.kind == "local" and one.served == served and continues(endpoint, engine)

    groups = [group for group in (*decision.primary, *decision.overflow) if group.backend == backend]
    home = tuple([replace(group, reason="rescued") for group in narrowed(groups, alike)])
    if not home:
        raise NoCapacity("no other worker can go on with it")
    return replace(decision, primary=home, overflow=())


def engine_of(one: Candidate, board: Board) -> str | None:
    """What its worker was found to be, else what it is said to be."""
    state = board.snapshot.states.get(one.upstream.name)
    found = state.reading.engine if state is not None and state.reading is not None else None
    return found or one.upstream.engine


def narrowed(groups: Iterable[Group], keep: Callable[[Candidate], bool]) -> tuple[Group, ...]:
    """The groups with only those candidates; none that has nobody left."""
    found = []
    for group in groups:
        candidates = tuple([one for one in group.candidates if keep(one)])
        last = None if group.last is None else tuple([one for one in group.last if keep(one)])
        if candidates:
            found.append(replace(group, candidates=candidates, last=last))
    return tuple(found)

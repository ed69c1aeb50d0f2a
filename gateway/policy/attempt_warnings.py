"""Hedges and rescues that a rule asks for and that cannot happen."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.policy.route_schema import RouteIn
from gateway.policy.schema import LocalBackend
from gateway.policy.sources import Sources
from gateway.routing.capability import CONTINUES_CHATS


def idle_attempts(sources: Sources, route: RouteIn) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Key below the route, and why it has no effect."""
    home = [backend for name in route.backends or () if isinstance(backend := sources.backend(name), LocalBackend)]
    if route.hedge is not None and (why := _unhedged(route, home)) is not None:
        yield ("hedge",), why
    if route.rescue and (why := _unsaved(route, home)) is not None:
        yield ("rescue",), why


def _unhedged(route: RouteIn, home: list[LocalBackend]) -> str | None:
    if route.attempts == 1:
        return "with `attempts: 1`: the second attempt is one of them"
    if not home:
        return "where no worker of ours serves: of two attempts at most one is bought"
    if _alone(home) and route.spill is None:
        return "with one worker and no `spill`: there is nobody for a second attempt"
    return None


def _unsaved(route: RouteIn, home: list[LocalBackend]) -> str | None:
    if route.attempts == 1:
        return "with `attempts: 1`: to go on elsewhere is a second one"
    if not home:
        return "where no worker of ours serves: nothing is continued on a bought API"
    if all(_alone([backend]) for backend in home):
        return "with one worker in each backend: there is nobody to go on"
    engines = {worker.engine for backend in home for worker in backend.upstreams}
    known = engines and not any(backend.discover for backend in home) and "auto" not in engines
    if known and engines.isdisjoint(CONTINUES_CHATS):
        able = ", ".join(sorted(CONTINUES_CHATS))
        return f"on chats: none of its engines goes on with one ({able} do); completions are rescued"
    return None


def _alone(home: list[LocalBackend]) -> bool:
    """Whether there is one worker in all of them, and none is discovered."""
    return sum(len(backend.upstreams) for backend in home) < 2 and not any(backend.discover for backend in home)

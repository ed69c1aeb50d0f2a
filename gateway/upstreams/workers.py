"""Looks at workers: finds out once which engine each one is, reads its load, and now and then what else it tells. The
probe function that `app` hands to `fleet/probes.py`."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gateway.errors import BadPage, ConnectFailed, UpstreamFault
from gateway.model import Policy, Scrape, Upstream
from gateway.upstreams.client import Client, TooLong
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told
from gateway.upstreams.dialects.engines.table import ENGINES, candidates, paths, recognise

DETAIL_SECONDS = 0.95
"""How often models and health are asked for at most, so that a change is noticed within 2 s."""
DETAIL_PAGES = 2
"""And with every so many pages at most, so that a large fleet, whose pages are read less often, is spared too."""
TICK_SECONDS = 0.1
"""Pages come a little earlier or later than due."""
LIST_SECONDS = 10.0
"""A list of models that could not be read again for so long, and for two times that it was asked for, is unknown."""
DETAIL_BYTES = 256 << 10
MOVED_SECONDS = 1.0
"""A start time that moved by more is that of another process (as in `fleet/reading.lua`)."""
NOT_FOUND = 404
_GONE = (NOT_FOUND, 405, 501)
"""A page that this worker does not have: not asked for again in its life."""
_LISTS = ("models", "adapters")
_BLANK = Scrape()
_REASONS = {401: "key_refused", 403: "key_refused", 503: "not_ready"}

_log = logging.getLogger("gateway")


@dataclass(slots=True)
class Known:
    """What is remembered of one worker for as long as its process lives."""

    upstream: Upstream
    engine: Engine
    page: Page
    started: float | None = None
    told: dict[str, tuple[float, Told]] = field(default_factory=dict)
    """Path of a detail -> when it told something last, and what."""
    gone: set[str] = field(default_factory=set)
    """Paths that are not asked again: told once, or not there."""
    detailed: float = float("-inf")
    looked: float = float("-inf")
    pace: float = DETAIL_SECONDS
    """Seconds between two looks at the details."""
    missing: tuple[str, ...] = ()
    """As logged last."""

    def born(self, started: float | None) -> bool:
        """Books the start time; True where it is that of another process."""
        before, self.started = self.started, started if started is not None else self.started
        return before is not None and started is not None and abs(started - before) > MOVED_SECONDS

    def forget(self) -> None:
        self.detailed, self.missing = float("-inf"), ()
        self.told.clear()
        self.gone.clear()

    def due(self, now: float) -> list[Detail]:
        gap, self.looked = now - self.looked, now
        self.pace = max(DETAIL_SECONDS, DETAIL_PAGES * gap - TICK_SECONDS)
        if now - self.detailed < self.pace:
            return []
        self.detailed = now
        return [detail for detail in self.engine.details if detail.path not in self.gone]

    def facts(self) -> dict[str, object]:
        """What its details told, without a list of models that is too old."""
        facts: dict[str, object] = {}
        for detail in self.engine.details:
            at, told = self.told.get(detail.path, (0.0, Told()))
            old = not detail.once and self.looked - at > max(LIST_SECONDS, 2 * self.pace)
            facts |= {name: value for name, value in told.items() if not (old and name in _LISTS)}
        return facts


class Workers:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, Known] = {}
        self._strange: dict[str, str] = {}
        """Upstream -> the other engine that it was found to be, as logged."""

    def keep(self, policy: Policy) -> None:
        """Forgets the workers that `policy`, now in force, does not have."""
        self._known = {name: known for name, known in self._known.items() if name in policy.upstreams}
        self._strange = {name: engine for name, engine in self._strange.items() if name in policy.upstreams}

    async def look(self, upstream: Upstream) -> Scrape:
        """All that the worker tells now. Raises UpstreamFault."""
        known = self._known.get(upstream.name)
        if known is not None and known.upstream is not upstream and not _alike(known.upstream, upstream):
            known = None
        try:
            known, body = await (self._find(upstream) if known is None else self._again(known, upstream))
        except UpstreamFault as fault:
            if fault.processed is False or isinstance(fault, BadPage):
                self._known.pop(upstream.name, None)  # whatever answers next may be another one
            raise
        self._known[upstream.name], known.upstream = known, upstream
        scrape = known.page.read(body)
        if known.born(scrape.started):
            known.forget()
        await self._details(known, known.due(time.monotonic()))
        self._tell_missing(known, scrape.missing)
        return _joined(scrape, known)

    async def _again(self, known: Known, upstream: Upstream) -> tuple[Known, bytes]:
        body = await self._page(upstream, known.page.path)
        if known.page.mine(body):
            return known, body
        if upstream.engine not in ENGINES:
            return await self._find(upstream)
        raise self._stranger(upstream, body)

    async def _find(self, upstream: Upstream) -> tuple[Known, bytes]:
        """Asks for the pages of the engines that it may be, until one of them is there. Raises the first page's fault
        where none is."""
        engines, first = candidates(upstream.engine), None
        tried: set[str] = set()
        for path in paths(engines):
            tried.add(path)
            try:
                body = await self._page(upstream, path)
            except BadPage as fault:
                first = first or fault
                continue
            found = recognise(engines, body, None if upstream.metrics else path)
            if found is not None:
                known, body = await self._better(Known(upstream, *found), body, tried)
                self._strange.pop(upstream.name, None)
                fields = {"upstream": upstream.name, "engine": known.engine.name, "page": known.page.path}
                _log.info("engine found", extra={"fields": fields})
                return known, body
            first = first or self._stranger(upstream, body)
            if upstream.metrics:
                break  # one address stands for all paths
        raise first or BadPage("it has no page of any engine", "no_metrics")

    async def _better(self, known: Known, body: bytes, tried: set[str]) -> tuple[Known, bytes]:
        """A page that its engine would rather have read, where it is there and was not asked for yet."""
        for page in known.engine.pages:
            if page is known.page or known.upstream.metrics:
                break
            if page.path in tried:
                continue
            with suppress(BadPage):
                other = await self._page(known.upstream, page.path)
                if page.mine(other):
                    return replace(known, page=page), other
        return known, body

    def _stranger(self, upstream: Upstream, body: bytes) -> BadPage:
        """The fault of a page that is not the one expected."""
        found = recognise(ENGINES.values(), body)
        if found is None:
            return BadPage("its page holds no engine's metrics", "not_metrics")
        stated, name = upstream.engine, found[0].name
        if stated in ENGINES and self._strange.get(upstream.name) != name:
            self._strange[upstream.name] = name
            fields = {"upstream": upstream.name, "stated": stated, "found": name}
            _log.error("worker is another engine than it is said to be", extra={"fields": fields})
        return BadPage(f"its page is that of {name}", "other_engine")

    async def _page(self, upstream: Upstream, path: str) -> bytes:
        if upstream.metrics is None:
            status, body = await self._client.look_at(upstream, path)
        else:
            status, body = await self._client.look(upstream.metrics, upstream.networks, upstream.tls)
        if status == 200:
            return body
        reason = "redirected" if 300 <= status < 400 else _REASONS.get(status, "no_metrics")
        raise BadPage(f"answered {status}", reason)

    async def _details(self, known: Known, due: list[Detail]) -> None:
        await asyncio.gather(*(self._detail(known, detail) for detail in due))

    async def _detail(self, known: Known, detail: Detail) -> None:
        """Books what it says there. That it does not answer, the page of its load will tell in time."""
        try:
            status, body = await self._client.look_at(known.upstream, detail.path, most=DETAIL_BYTES)
        except TooLong:
            known.told.pop(detail.path, None)
            return
        except ConnectFailed:
            known.detailed = float("-inf")
            return
        except UpstreamFault:
            return
        if status in _GONE or (detail.once and status == 200):
            known.gone.add(detail.path)
        if told := detail.read(status, body):
            known.told[detail.path] = (known.looked, told)

    def _tell_missing(self, known: Known, missing: tuple[str, ...]) -> None:
        """A line for each metric that is not there, once in a life of its worker."""
        new = [name for name in missing if name not in known.missing]
        if new:
            known.missing += tuple(new)
            fields = {"upstream": known.upstream.name, "engine": known.engine.name, "missing": new}
            _log.warning("metrics missing: unknown, not zero", extra={"fields": fields})


def _alike(one: Upstream, other: Upstream) -> bool:
    """Whether a policy that was read again still means the same server."""
    return all(getattr(one, name) == getattr(other, name) for name in ("url", "engine", "metrics", "key", "tls"))


def _joined(scrape: Scrape, known: Known) -> Scrape:
    """The page's own word goes before that of the others."""
    others = {name: value for name, value in known.facts().items() if getattr(scrape, name) == getattr(_BLANK, name)}
    return replace(scrape, engine=known.engine.name, **others)  # type: ignore[arg-type]

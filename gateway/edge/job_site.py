"""All that jobs need in one process, built and run as one: the desk, the runner and its work, webhooks, old files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import APIRouter

from gateway.edge.job_desk import JobDesk, allowed_hosts, trusted
from gateway.edge.job_routes import job_routes
from gateway.edge.job_work import JobWork
from gateway.edge.services import Services
from gateway.errors import ArtefactFault
from gateway.jobs.artefacts import Artefacts
from gateway.jobs.hooks import Hooks
from gateway.jobs.place import lies, open_artefacts
from gateway.jobs.record import Job
from gateway.jobs.room import Room
from gateway.store.connection import Store
from gateway.upstreams.webhooks import post_once

SWEEP_SECONDS = 600.0
_log = logging.getLogger("gateway")


class JobSite:
    """`runs` run for as long as the process does, between `check` and `aclose`; the first of them hands all jobs over
    where it is cancelled. Raises StartupFault where the artefacts have no place."""

    def __init__(self, services: Services, room: Room, store: Store) -> None:
        self._s, self._room, self.shelf = services, room, room.shelf
        self._artefacts: Artefacts = open_artefacts(services.settings)
        place = lies(services.settings)
        self.desk = JobDesk(services, room.shelf, self._artefacts, place)
        work = JobWork(services, room.shelf, self._artefacts, place)
        runner = room.runner(work, services.telemetry, money=services.till.kept, gone=self.desk.gone)
        news = room.news(runner, self.desk.watch)
        hooks = Hooks(store, self._find, self._post, services.telemetry.count_job_webhook)
        self.runs: tuple[Callable[[], Awaitable[None]], ...] = (runner.run, news.run, hooks.run, self._sweep)

    def routes(self) -> APIRouter:
        return job_routes(self._s, self.desk)

    async def check(self) -> None:
        """Raises StartupFault for a store that jobs cannot be trusted to."""
        await self._room.check()

    async def aclose(self) -> None:
        await self._room.aclose()
        await self._artefacts.aclose()

    async def _find(self, id: str) -> Job | None:
        return next(iter(await self._room.shelf.find([id])), None)

    async def _post(self, job: Job, id: str, body: bytes) -> bool:
        settings, tenant = self._s.settings, self._s.policy.tenants.get(job.tenant)
        general = settings.webhook_secret
        secret = None if tenant is None else tenant.hook.secret
        if secret is None and general is not None:
            secret = general.get_secret_value()
        if secret is None or job.webhook is None:
            return False  # there was one when the job came
        private = trusted(job.webhook, allowed_hosts(settings.webhook_hosts))
        return await post_once(job.webhook, id, body, secret, at=int(time.time()), allow_private=private)

    async def _sweep(self) -> None:
        """What no record names any more goes too: its name says when."""
        while True:
            with suppress(ArtefactFault):
                gone = await self._artefacts.sweep(time.time())
                if gone:
                    _log.info("old artefacts are gone", extra={"fields": {"files": gone}})
            await asyncio.sleep(SWEEP_SECONDS)

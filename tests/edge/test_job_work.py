"""How the work of a job ends: what became of its newest try is told with its outcome, in no write of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.edge.job_work import JobWork
from gateway.jobs.folder import Folder
from gateway.jobs.record import Job, Try
from gateway.jobs.work import Outcome
from gateway.model import Artefact
from tests.edge.test_job_views import of

MOST = 1 << 16


class Record:
    """`jobs.work.Log` without a store."""

    def __init__(self, job: Job) -> None:
        self.job, self.stopped = job, None
        self.told: list[str] = []

    async def tried(self, result: str) -> None:
        self.told.append(result)


class Filled(JobWork):
    """`_forward` ends as the test says; all around it is the real thing."""

    result = "answered"

    async def _asked(self, job: Job) -> Any:
        return None

    async def _forward(self, one: Any, wire: Any) -> None:
        wire.account = SimpleNamespace(attempts=[SimpleNamespace(upstream="u", ended=1.0, result=self.result)])
        if self.result == "answered":
            wire.kept.append(Artefact("f", "video/mp4", 3, "d", "video"))
        else:
            wire.answer(502, [], b'{"error": {"code": "upstream_error", "message": "tried u: gone"}}')


@pytest.mark.parametrize(("result", "state"), [("answered", "succeeded"), ("OrderLost", "failed")])
async def test_the_last_try_ends_with_its_job(tmp_path: Path, result: str, state: str) -> None:
    board = SimpleNamespace(policy=SimpleNamespace(upstreams={"u"}))
    services: Any = SimpleNamespace(policy=None, settings=SimpleNamespace(artefact_bytes=MOST), board=lambda: board)
    work = Filled(services, cast("Any", None), Folder(tmp_path, MOST), cast("Any", None))
    work.result = result
    placed = Try(attempt="a1", upstream="u", backend="b", managed=True, at=0.0, ticket="t")
    log = Record(of(endpoint="videos", tries=(placed,)))
    outcome: Outcome = await work.run(log.job, cast("Any", log))
    assert (outcome.state, outcome.tried, log.told) == (state, result, [])

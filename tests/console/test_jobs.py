"""What operators see of jobs."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from gateway.cli.jobs import HEAD, cells
from gateway.console.jobs import job_admin_routes
from gateway.store.connection import Store
from tests.jobs.shelves import Site, attempt


async def test_what_is_not_over_and_what_may_have_been_bought(valkey: Store) -> None:
    site = Site(valkey)
    app = FastAPI()
    app.include_router(job_admin_routes(site.shelf))
    waiting, lost = await site.accept(body=b"a secret prompt"), await site.accept("other")
    fences = site.fences("r")
    (claim,) = [one for one in (await fences.take(2)).claims if one.job.id == lost.id]
    ended = {"state": "failed", "error": ("unknown_outcome", "?"), "tries": (attempt("a7"),)}
    await fences.write(claim.fence, msgspec.structs.replace(claim.job, **ended))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        unfinished = (await http.get("/jobs")).json()["jobs"]
        unknown = await http.get("/jobs", params={"state": "unknown_outcome"})
        refused = await http.get("/jobs", params={"state": "whatever"})
    assert [one["id"] for one in unfinished] == [waiting.id]
    (row,) = unknown.json()["jobs"]
    assert (row["id"], row["tries"][0]["attempt"], row["error"]["code"]) == (lost.id, "a7", "unknown_outcome")
    assert "secret" not in unknown.text
    assert refused.status_code == 422
    assert cells(row)[0] == lost.id
    assert len(cells(row)) == len(HEAD)


@pytest.mark.parametrize("tries", [[], [{"upstream": "u", "attempt": "a"}]])
def test_a_row_of_the_table(tries: list[dict[str, str]]) -> None:
    row = {"id": "i", "state": "s", "tenant": "t", "model": "m", "created": 0.0, "tries": tries}
    assert cells(row)[4] == "1970-01-01T00:00:00Z"

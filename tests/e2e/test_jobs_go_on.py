"""A gateway that ends, or is killed, while a worker makes a film: the next one goes on with it, at that worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.money.till import STREAM
from tests.conftest import LEDGER
from tests.gateways import Lane, Site, eventually, gateway_on, start_lanes

FILM = Lane(
    "film",
    workers=2,
    seats=4,
    cloud=False,
    worker={"engine": "vllm-omni"},
    sim={"engine": "vllm-omni", "unit_s": 1.0},
    model={"modality": "video"},
)
NOWHERE = "sqlite:////proc/no-such-place/ledger.db"
"""A ledger that cannot be written: its rows stay on the stream."""
ENV = {"GATEWAY_ARTEFACTS_FLOOR": "0", LEDGER: NOWHERE}
BODY = {"model": "film", "prompt": "a cat", "seconds": "3"}
"""Three seconds of work: nobody is done before the first gateway is gone."""


def rows_of(site: Site, attempt: str) -> list[dict[str, Any]]:
    with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as client:
        client.set_response_callback("XRANGE", lambda told, **_: told)  # else a dict, but all fields are `row`
        entries: Any = client.execute_command("XRANGE", STREAM, "-", "+")
    rows = [json.loads(each) for _, pairs in entries for each in pairs[1::2]]
    return [row for row in rows if row["attempt"] == attempt]


def placed(site: Site, id: str) -> list[dict[str, Any]]:
    tries: list[dict[str, Any]] = site.http.get(f"/v1/gateway/jobs/{id}").json()["tries"]
    return [one for one in tries if one["placed"]]


@pytest.mark.parametrize("killed", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_another_process_goes_on(tmp_path: Path, killed: bool) -> None:
    with start_lanes([FILM]) as fleet:
        with gateway_on([fleet], [FILM], tmp_path, ENV) as site:
            id = site.http.post("/v1/videos", json=BODY).json()["id"]
            eventually(lambda: placed(site, id), "a worker has it")
            before = placed(site, id)
            if killed:
                site.gateway.kill()
        with gateway_on([fleet], [FILM], tmp_path, ENV) as site:
            ended = site.http.get(f"/v1/videos/{id}", params={"wait": 19}).json()
            assert ended["status"] == "completed", site.http.get(f"/v1/gateway/jobs/{id}").text
            assert [one["id"] for one in placed(site, id)] == [one["id"] for one in before]
            assert site.http.get(f"/v1/videos/{id}/content").content
            (row,) = eventually(lambda: rows_of(site, before[0]["id"]), "its row")
            assert (row["result"], row["payer"], row["seconds"]) == ("answered", "tenant", 3.0)
            assert row["request"] == site.http.get(f"/v1/gateway/jobs/{id}").json()["receipt"]
            site.quiet("film")
        posts = [
            one
            for name in FILM.worker_names
            for one in fleet.requests(name)
            if one["path"].endswith("/videos") and one.get("method", "POST") == "POST"
        ]
        assert len(posts) == 1, "it was ordered once"


def test_a_worker_that_lost_the_film_is_replaced(tmp_path: Path) -> None:
    with start_lanes([FILM]) as fleet, gateway_on([fleet], [FILM], tmp_path, ENV) as site:
        id = site.http.post("/v1/videos", json={**BODY, "seconds": "1"}).json()["id"]
        eventually(lambda: placed(site, id), "a worker has it")
        first = placed(site, id)[0]["upstream"]
        fleet.config(first, die=True)
        fleet.config(first, alive=True)  # as it is after a restart: it knows of nothing
        ended = eventually(
            lambda: (found := site.http.get(f"/v1/gateway/jobs/{id}").json())["ended_at"] and found, "it ends", 20
        )
        assert ended["state"] == "succeeded", ended
        assert len({one["upstream"] for one in ended["tries"]}) == 2
        assert ended["tries"][0]["result"] not in (None, "answered")


def test_what_is_cancelled_while_nobody_works_on_it_is_cancelled_at_its_worker_by_the_next(tmp_path: Path) -> None:
    with start_lanes([FILM]) as fleet:
        with gateway_on([fleet], [FILM], tmp_path, ENV) as site:
            id = site.http.post("/v1/videos", json={**BODY, "seconds": "300"}).json()["id"]
            eventually(lambda: placed(site, id), "a worker has it")
            (first,) = placed(site, id)
            site.gateway.kill()
        with gateway_on([fleet], [FILM], tmp_path, ENV) as site:
            asked = site.http.post(f"/v1/gateway/jobs/{id}/cancel").json()
            assert (asked["state"], asked["cancel_requested"]) == ("running", True), "its owner is not known to be dead"
            ended = site.http.get(f"/v1/gateway/jobs/{id}", params={"wait": 15}).json()
            assert (ended["state"], ended["tries"][0]["result"] is None) == ("cancelled", False), ended
            eventually(lambda: fleet.state(first["upstream"])["running"] == 0, "its worker has stopped")
            site.quiet("film")

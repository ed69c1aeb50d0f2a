"""Pictures, sound and films that must stay: the bought API beside our workers is the witness, and so is the disk."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways import KEY, LOCAL, OTHER_KEY, ZONES, Lane, Site, eventually, gateway_on, start_lanes
from tests.hook_receiver import hearing
from tests.studio import Gallery, Studio, dies, gallery, refuses, studio

ENV = {"GATEWAY_ARTEFACTS_FLOOR": "0", "GATEWAY_ZONE": "onprem"}
DOWN = {502, 503, 403, 429}
BRIEFLY = {"X-Gateway-Max-Wait-Ms": "300"}
"""The same workers fail in one test after the other: their circuits stay open for longer each time, and who demands
them waits for them."""
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(300)
FILM: dict[str, Any] = {"model": "film", "prompt": "must stay", "seconds": "5"}
FILMS = Lane(
    "film",
    workers=1,
    seats=4,
    worker={"engine": "vllm-omni"},
    sim={"engine": "vllm-omni", "unit_s": 1.0},
    model={"modality": "video"},
    managed={"dialect": "fal", "zone": "de", "private_endpoint_in": ["de"], "networks": ["127.0.0.0/8"]},
    route={"fallback": ["film-api"]},
    flagged={"max_wait": "500ms", "fallback": ["film-api"], "spill": {"backends": ["film-api"]}},
)
"""Its rules name the bought API wherever they can: a private endpoint, which `local` rules out all the same."""
PRICED = {"per_second": 0.1}


@contextmanager
def hybrid(place: Path, env: dict[str, str] | None = None) -> Iterator[tuple[Site, Studio]]:
    """Films at home, and a bought API that would take them: whatever it is sent is kept."""
    with (
        start_lanes([FILMS]) as fleet,
        studio() as bought,
        gateway_on([fleet], [FILMS], place, env or ENV, lambda files: _bought(files, bought.url)) as site,
    ):
        yield site, bought


def _bought(files: dict[str, Any], url: str) -> dict[str, Any]:
    for one in files["backends.yaml"]["backends"]:
        if one["name"] == "film-api":
            one["upstreams"] = [{"name": "film-api", "url": url, "key": "k"}]
    (model,) = files["models.yaml"]["models"]
    for served in model["served_by"]:
        if served["backend"] == "film-api":
            served |= {"as": "fal-ai/kling-video/v2.1/text-to-video", "price": PRICED}
    files["backends.yaml"]["zones"] = {**ZONES, "onprem": {"within": ["de"]}, "de": {"within": ["eu"]}, "eu": {}}
    return files


def job(site: Site, id: str) -> dict[str, Any]:
    found: dict[str, Any] = site.http.get(f"/v1/gateway/jobs/{id}").json()
    return found


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with gallery(tmp_path_factory.mktemp("media")) as made:
        yield made


@pytest.mark.parametrize("act", [refuses(500), refuses(503), dies], ids=["500", "503", "dead"])
@pytest.mark.parametrize("kind", ["speech", "pictures", "sound"])
def test_home_fails_and_nothing_leaves(rooms: Gallery, kind: str, act: Any) -> None:
    """Of each kind a request without a demand shows that the API would have taken it."""
    rooms.rehearse()
    for one in rooms.ours:
        one.acts[:] = [act] * 8
    demanding = ask(rooms, kind, {"X-Data-Residency": "local"})
    assert demanding.status_code in DOWN, demanding.text
    assert rooms.theirs.seen == [], "the bought API was never asked"
    rooms.rehearse()
    for one in rooms.ours:
        one.acts[:] = [refuses(503)] * 8
    free = ask(rooms, kind, {})
    assert rooms.theirs.seen, free.text


def ask(rooms: Gallery, kind: str, demand: dict[str, str]) -> httpx.Response:
    http, headers = rooms.site.http, {**BRIEFLY, **demand}
    if kind == "speech":
        return http.post(
            "/v1/audio/speech", json={"model": "voice-both", "input": "stay", "voice": "a"}, headers=headers
        )
    if kind == "pictures":
        return http.post("/v1/images/generations", json={"model": "pic-both", "prompt": "stay"}, headers=headers)
    file = {"file": ("stay.wav", WAV, "audio/wav")}
    return http.post("/v1/audio/transcriptions", data={"model": "voice-both"}, files=file, headers=headers)


def test_a_form_says_its_demand_too(rooms: Gallery) -> None:
    rooms.rehearse()
    for one in rooms.ours:
        one.acts[:] = [refuses(503)] * 8
    for said in ({"metadata": '{"data_residency": "local"}'}, {"metadata[data_residency]": "local"}):
        file = {"file": ("stay.wav", WAV, "audio/wav")}
        form = {"model": "voice-both", **said}
        answer = rooms.site.http.post("/v1/audio/transcriptions", data=form, files=file, headers=BRIEFLY)
        assert answer.status_code in DOWN
    assert rooms.theirs.seen == []


def test_a_film_whose_worker_dies_is_not_bought(tmp_path: Path) -> None:
    with hybrid(tmp_path) as (site, bought):
        made = site.http.post("/v1/videos", json=FILM, headers={**LOCAL, "X-Gateway-Deadline-Ms": "2000"})
        id = made.json()["id"]
        eventually(lambda: any(one["placed"] for one in job(site, id)["tries"]), "a worker has it")
        site.fleet.config("film-1", die=True)
        eventually(lambda: job(site, id)["state"] not in ("queued", "running"), "it ends", 12.0)
        ended = job(site, id)
        assert ended["state"] in ("failed", "expired"), ended
        assert {one["upstream"] for one in ended["tries"]} == {"film-1"}
        assert bought.seen == []
        site.http.post("/v1/videos", json=FILM)
        eventually(lambda: bought.seen, "without a demand it would have been bought")


SECRET = "whsec_" + base64.b64encode(b"a secret of these tests alone...").decode()


def test_who_takes_it_over_after_a_kill_keeps_its_demand_and_tells_nothing_of_it(tmp_path: Path) -> None:
    env = {**ENV, "GATEWAY_WEBHOOK_SECRET": SECRET, "GATEWAY_WEBHOOK_HOSTS": "127.0.0.1"}
    with start_lanes([FILMS]) as fleet, studio() as bought, hearing(200) as hook:
        with gateway_on([fleet], [FILMS], tmp_path, env, lambda files: _bought(files, bought.url)) as site:
            headers = {**LOCAL, "X-Gateway-Deadline-Ms": "15000", "X-Gateway-Webhook": hook.url}
            id = site.http.post("/v1/videos", json=FILM, headers=headers).json()["id"]
            eventually(lambda: any(one["placed"] for one in job(site, id)["tries"]), "a worker has it")
            site.gateway.kill()
        with gateway_on([fleet], [FILMS], tmp_path, env, lambda files: _bought(files, bought.url)) as site:
            ended = site.http.get(f"/v1/videos/{id}", params={"wait": 18}).json()
            assert ended["status"] == "completed", job(site, id)
            assert {one["upstream"] for one in job(site, id)["tries"]} == {"film-1"}
            eventually(lambda: hook.seen, "it is told how it ended")
    assert bought.seen == []
    assert not [body for _, body in hook.seen if b"must stay" in body]


@pytest.mark.parametrize(
    ("env", "demand", "status"),
    [
        ({"GATEWAY_ZONE": "onprem"}, "local", 200),
        ({"GATEWAY_ZONE": "onprem"}, "eu", 200),
        ({"GATEWAY_ZONE": "onprem", "GATEWAY_ARTEFACTS_ZONE": "us"}, "eu", 403),
        ({}, "eu", 403),
    ],
    ids=["own disk", "inside", "elsewhere", "nobody knows where"],
)
def test_where_its_result_would_lie_has_a_say(env: dict[str, str], demand: str, status: int, tmp_path: Path) -> None:
    with hybrid(tmp_path, {"GATEWAY_ARTEFACTS_FLOOR": "0", **env}) as (site, bought):
        body = {**FILM, "seconds": "1"}
        made = site.http.post("/v1/videos", params={"wait": 15}, json=body, headers={"X-Data-Residency": demand})
        assert made.status_code == status, made.text
        files = [path for path in (site.data / "artefacts").rglob("*") if path.is_file()]
        if status == 403:
            assert made.json()["error"]["code"] == "residency_refused"
            assert "GATEWAY_ARTEFACTS_ZONE" in made.json()["error"]["message"]
            assert (files, [one for one in site.fleet.requests("film-1") if "videos" in one["path"]]) == ([], [])
        else:
            assert (made.json()["status"], len(files)) == ("completed", 1)
            path = f"/v1/videos/{made.json()['id']}/content"
            assert site.http.get(path, headers={"Authorization": f"Bearer {OTHER_KEY}"}).status_code == 404
            assert site.http.get(path, headers={"Authorization": f"Bearer {KEY}"}).content == files[0].read_bytes()
        assert bought.seen == []

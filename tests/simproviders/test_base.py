"""A simulated provider over real HTTP: its jobs, its faults, its bill."""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal

import httpx
import pytest
from PIL import Image

from loadtests.simproviders.base import Ask, Faults, Job, Made, Provider, Rate, Refuse, Reply, Route, Wrong
from loadtests.simproviders.samples import mp3, mp4, png, wav
from loadtests.simproviders.serving import Running, serve


class Toy(Provider):
    name = "toy"
    rates = (Rate("m*", "second", Decimal("0.05")),)

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/jobs", self.submit, submits=True),
            Route("GET", "/jobs/(?P<id>[^/]+)", self.look, polls=True),
        ]

    def submit(self, ask: Ask) -> Reply:
        return self._show(self.take("m1", ask.json, [Made("video/mp4", mp4())], "second", 5))

    def look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        return self._show(self.job(ask.match["id"]))

    def _show(self, job: Job) -> Reply:
        return Reply({"id": job.id, "state": job.state, "urls": self.urls(job)})

    def wrong(self, fault: Wrong) -> object:
        return {"error": fault.message, "code": fault.code}


@pytest.fixture
def toy() -> Iterator[Running[Toy]]:
    with serve(Toy(job_s=0.0)) as running:
        yield running


@pytest.fixture
def client(toy: Running[Toy]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=toy.url, headers={"authorization": "Bearer sim-key"}, trust_env=False) as made:
        yield made


def test_a_job_is_made_shown_fetched_and_charged(toy: Running[Toy], client: httpx.Client) -> None:
    made = client.post("/jobs", json={}).json()
    assert client.get(f"/jobs/{made['id']}").json()["state"] == "succeeded"
    assert httpx.get(made["urls"][0], trust_env=False).content == mp4()
    assert (toy.provider.submits, toy.provider.bill()) == (1, Decimal("0.25"))


def test_a_lost_answer_has_made_its_job(toy: Running[Toy], client: httpx.Client) -> None:
    toy.provider.faults.lose_answers = 1
    with pytest.raises(httpx.TransportError):
        client.post("/jobs", json={})
    assert toy.provider.submits == 1
    assert client.post("/jobs", json={}).status_code == 200


def test_faults_are_set_from_another_process_too(toy: Running[Toy], client: httpx.Client) -> None:
    given = {"refuse": {"status": 429, "code": "slow", "retry_after": 2, "times": 1}, "stuck": True}
    assert client.post("/sim/faults", json=given).status_code == 200
    refused = client.post("/jobs", json={})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert client.post("/jobs", json={}).json()["state"] == "queued"
    assert client.get("/sim/state").json()["submits"] == 1


@pytest.mark.parametrize(
    ("faults", "state", "left"),
    [
        (Faults(), "succeeded", 1),
        (Faults(stuck=True), "queued", 1),
        (Faults(fail="no"), "failed", 1),
        (Faults(filtered=True), "succeeded", 0),
    ],
)
def test_what_becomes_of_a_job(toy: Running[Toy], client: httpx.Client, faults: Faults, state: str, left: int) -> None:
    toy.provider.faults = faults
    made = client.post("/jobs", json={}).json()
    assert (made["state"], len(made["urls"])) == (state, left)
    assert (toy.provider.bill() > 0) == (state == "succeeded" and left > 0)


def test_refusals(toy: Running[Toy], client: httpx.Client) -> None:
    made = client.post("/jobs", json={}).json()
    toy.provider.faults = Faults(result_status=403, poll_status=503, refuse=Refuse(status=402, code="spend"))
    assert httpx.get(made["urls"][0], trust_env=False).status_code == 403
    assert client.get(f"/jobs/{made['id']}").status_code == 503
    assert client.post("/jobs", json={}).json()["code"] == "spend"
    assert client.get("/jobs/x", headers={"authorization": "Bearer other"}).status_code == 401
    assert client.get("/nowhere").status_code == 404


def test_the_files_are_real() -> None:
    with Image.open(io.BytesIO(png(4, 6))) as image:
        image.load()
        assert image.size == (4, 6)
    assert wav()[:4] == b"RIFF"
    assert mp3()[:2] == b"\xff\xfb"
    film = mp4(2.0)
    at = int.from_bytes(film[film.index(b"stco") + 12 :][:4], "big")
    assert film[at : at + 8] == b"\x89PNG\r\n\x1a\n"

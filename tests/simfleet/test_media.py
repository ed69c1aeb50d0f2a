"""The media servers over real HTTP: jobs, their queue and their load are real."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.simfleet.harness import Server, SimFleet, start
from loadtests.simfleet.studios import MEDIA

WORKER = {"unit_s": 0.05, "max_queued": 2}
LONG = 400
"""Units of a job that does not end within a test: 20 s."""
LOAD = {
    "vllm-omni": ("vllm_omni:num_requests_running", "vllm_omni:num_requests_waiting"),
    "sglang-diffusion": ("sglang:diffusion_num_running_reqs", "sglang:diffusion_num_queue_reqs"),
}
VIDEOS = tuple(LOAD)


@pytest.fixture(scope="module")
def shared_studios() -> Iterator[SimFleet]:
    workers = [{"engine": engine, "name": engine, "model": "wan"} for engine in MEDIA]
    with start(workers=workers, managed=0, worker=WORKER) as fleet:
        yield fleet


@pytest.fixture
def studios(shared_studios: SimFleet) -> Iterator[SimFleet]:
    """Each test finds new processes: the jobs of the last one are gone."""
    yield shared_studios
    for worker in shared_studios.workers:
        shared_studios.config(worker.name, die=True)
        shared_studios.config(worker.name, alive=True, clear=True)


def server(fleet: SimFleet, engine: str) -> Server:
    return next(worker for worker in fleet.workers if worker.name == engine)


def video(http: httpx.Client, at: Server, seconds: int = 1) -> dict[str, Any]:
    """Ask for a video by multipart, which both servers take."""
    answer = http.post(f"{at.url}/v1/videos", data={"seconds": str(seconds)}, files={"prompt": (None, "a cat")})
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def shown(http: httpx.Client, at: Server, job: dict[str, Any]) -> tuple[int, str]:
    answer = http.get(f"{at.url}/v1/videos/{job['id']}")
    return answer.status_code, answer.json()["status"]


def gauge(http: httpx.Client, at: Server, name: str) -> float:
    families = text_string_to_metric_families(http.get(at.metrics).text)
    return next(family.samples[0].value for family in families if family.name == name)


@pytest.mark.parametrize("engine", VIDEOS)
def test_a_video_job_runs_to_its_content(studios: SimFleet, http: httpx.Client, engine: str) -> None:
    at = server(studios, engine)
    job = video(http, at)
    assert (job["object"], job["seconds"]) == ("video", "1.0")
    assert http.get(f"{at.url}/v1/videos/{job['id']}/content").status_code == 404
    studios.wait(engine, lambda _: shown(http, at, job) == (200, "completed"))
    content = http.get(f"{at.url}/v1/videos/{job['id']}/content")
    assert (content.headers["content-type"], content.content[4:8]) == ("video/mp4", b"ftyp")
    assert http.get(f"{at.url}/v1/videos/nonesuch").status_code == 404


@pytest.mark.parametrize("engine", VIDEOS)
def test_one_runs_the_others_wait_and_a_full_queue_refuses(studios: SimFleet, http: httpx.Client, engine: str) -> None:
    at = server(studios, engine)
    jobs = [video(http, at, LONG) for _ in range(3)]
    assert [shown(http, at, job)[1] for job in jobs] == ["in_progress", "queued", "queued"]
    assert [gauge(http, at, name) for name in LOAD[engine]] == [1, 2]
    assert http.post(f"{at.url}/v1/videos", files={"prompt": (None, "one more")}).status_code == 503


@pytest.mark.parametrize(("engine", "status"), [("vllm-omni", 500), ("sglang-diffusion", 200)])
def test_a_failed_job_and_its_own_status(studios: SimFleet, http: httpx.Client, engine: str, status: int) -> None:
    at = server(studios, engine)
    studios.config(engine, fail_jobs=1.0)
    job = video(http, at)
    studios.wait(engine, lambda _: shown(http, at, job) == (status, "failed"))


@pytest.mark.parametrize(("engine", "left"), [("vllm-omni", 0), ("sglang-diffusion", 1)])
def test_only_vllm_stops_the_work_of_a_deleted_job(
    studios: SimFleet, http: httpx.Client, engine: str, left: int
) -> None:
    at = server(studios, engine)
    job = video(http, at, LONG)
    assert http.delete(f"{at.url}/v1/videos/{job['id']}").status_code == 200
    assert studios.state(engine)["running"] == left
    assert http.get(f"{at.url}/v1/videos/{job['id']}").status_code == 404


@pytest.mark.parametrize("engine", VIDEOS)
def test_an_image_is_waited_for(studios: SimFleet, http: httpx.Client, engine: str) -> None:
    at = server(studios, engine)
    body = {"prompt": "a cat", "n": 2, "model": "wan", "response_format": "b64_json"}
    answer = http.post(f"{at.url}/v1/images/generations", json=body)
    assert len(answer.json()["data"]) == 2
    assert http.post(f"{at.url}/v1/images/generations", json=body | {"model": "other"}).status_code == 400
    assert http.get(f"{at.url}/v1/models").json()["data"][0]["id"] == "wan"


def test_a_restart_forgets_the_jobs(studios: SimFleet, http: httpx.Client) -> None:
    at = server(studios, "vllm-omni")
    job = video(http, at, LONG)
    studios.config("vllm-omni", die=True)
    studios.config("vllm-omni", alive=True)
    assert http.get(f"{at.url}/v1/videos/{job['id']}").status_code == 404


def test_sglang_says_what_it_makes_and_when_it_is_warm(studios: SimFleet, http: httpx.Client) -> None:
    at = server(studios, "sglang-diffusion")
    assert http.get(f"{at.url}/model_info").json()["model_type"] == "diffusion"
    studios.config("sglang-diffusion", loading=True)
    assert http.get(f"{at.url}/health").status_code == 503


GRAPH = {"5": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 2}}}
SLOW = {"5": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": LONG}}}


def test_comfyui_queues_graphs_and_keeps_their_history(studios: SimFleet, http: httpx.Client) -> None:
    url = server(studios, "comfyui").url
    mine = "4a4dfb4f-0000-4000-8000-000000000001"
    asked = http.post(f"{url}/prompt", json={"prompt": GRAPH, "prompt_id": mine}).json()
    assert asked == {"prompt_id": mine, "number": 0, "node_errors": {}}
    studios.wait("comfyui", lambda _: mine in http.get(f"{url}/history/{mine}").json())
    past = http.get(f"{url}/api/history/{mine}").json()[mine]
    assert past["status"] == {"status_str": "success", "completed": True, "messages": []}
    (first, _) = past["outputs"]["9"]["images"]
    assert http.get(f"{url}/view", params=first).content.startswith(b"\x89PNG")
    refused = http.post(f"{url}/prompt", json={"prompt": {}})
    assert (refused.status_code, refused.json()["node_errors"]) == (400, {})


def test_comfyuis_load_is_in_its_queue(studios: SimFleet, http: httpx.Client) -> None:
    at = server(studios, "comfyui")
    assert at.metrics == ""
    assert http.get(f"{at.url}/metrics").status_code == 404
    ids = [http.post(f"{at.url}/prompt", json={"prompt": SLOW}).json()["prompt_id"] for _ in range(3)]
    assert http.get(f"{at.url}/prompt").json() == {"exec_info": {"queue_remaining": 3}}
    queue = http.get(f"{at.url}/queue").json()
    assert [[each[1] for each in queue[key]] for key in ("queue_running", "queue_pending")] == [ids[:1], ids[1:]]
    http.post(f"{at.url}/queue", json={"delete": [ids[1]]})
    http.post(f"{at.url}/interrupt", json={"prompt_id": ids[2]})  # it waits: nothing happens
    http.post(f"{at.url}/interrupt", json={"prompt_id": ids[0]})
    assert http.get(f"{at.url}/prompt").json() == {"exec_info": {"queue_remaining": 1}}
    assert http.get(f"{at.url}/system_stats").json()["devices"][0]["vram_total"] > 0

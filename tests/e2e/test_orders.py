"""Pictures of workers that take orders: ComfyUI by a workflow of the policy folder, through the official client."""

from __future__ import annotations

import base64
import io
import threading
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from tests.gateways import WEIGHTS, Lane, Site, eventually

GRAPH = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}"}},
    "2": {"class_type": "KSampler", "inputs": {"seed": "{{seed}}", "steps": "{{steps:20}}"}},
    "3": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": "{{width:256}}", "height": "{{height:256}}", "batch_size": "{{n}}"},
    },
}
PICTURED = {**GRAPH, "4": {"class_type": "LoadImage", "inputs": {"image": "{{image}}"}}}
UNIT_S = 0.1


def lane(name: str, template: str, workers: int = 1, unit_s: float = UNIT_S) -> Lane:
    served = [{"backend": name, "as": WEIGHTS, "workflow": template}]
    return Lane(
        name,
        workers=workers,
        cloud=False,
        model={"modality": "image", "served_by": served},
        worker={"engine": "comfyui"},
        sim={"engine": "comfyui", "unit_s": unit_s},
    )


LANES = [
    lane("draw", "flux.json"),
    lane("edit", "pictured.json"),
    lane("leave", "flux.json", unit_s=30.0),
    lane("pair", "flux.json", workers=2, unit_s=1.0),
    Lane(
        "sglang",
        cloud=False,
        model={"modality": "image"},
        sim={"engine": "sglang-diffusion", "unit_s": UNIT_S},
        worker={"engine": "sglang-diffusion"},
    ),
]


def written(files: dict[str, Any]) -> dict[str, Any]:
    return {**files, "flux.json": GRAPH, "pictured.json": PICTURED}


def opened(data: str | None) -> Image.Image:
    assert data is not None
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    image.load()
    return image


def test_pictures_come_back_as_the_official_client_reads_them(site: Site) -> None:
    with site.sdk() as client:
        answer = client.images.with_raw_response.generate(model="draw", prompt="a cat", n=2, size="512x768")  # type: ignore[call-overload]
    made = answer.parse()
    assert [opened(one.b64_json).size for one in made.data] == [(512, 768)] * 2
    receipt = site.receipt(answer.headers["x-request-id"])
    assert [(one["upstream"], one["result"], one["status"]) for one in receipt["attempts"]] == [
        ("draw-1", "answered", 200)
    ]
    assert (receipt["outcome"], answer.headers["x-gateway-upstream"]) == ("local", "draw-1")
    site.quiet("draw")


def test_a_picture_goes_along(site: Site) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    with site.sdk() as client:
        made = client.images.edit(model="edit", prompt="a dog", image=("in.png", picture.getvalue(), "image/png"))
    assert made.data is not None
    assert opened(made.data[0].b64_json).size == (256, 256)
    assert [one["path"] for one in site.fleet.requests("edit-1")].count("/upload/image") == 1
    assert site.fleet.state("edit-1")["jobs"]["completed"] == 1


def test_what_the_workflow_cannot_do_is_refused_and_named(site: Site) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    with site.sdk() as client, pytest.raises(openai.BadRequestError) as refused:
        client.images.edit(model="draw", prompt="x", image=("in.png", picture.getvalue(), "image/png"))
    assert refused.value.param == "image"
    with site.sdk() as client, pytest.raises(openai.BadRequestError) as needed:
        client.images.generate(model="edit", prompt="x")
    assert needed.value.param == "image"


def test_a_caller_who_leaves_has_its_job_interrupted(site: Site) -> None:
    with pytest.raises(httpx.ReadTimeout):
        site.http.post("/v1/images/generations", json={"model": "leave", "prompt": "a cat"}, timeout=1.0)
    eventually(lambda: site.fleet.state("leave-1")["jobs"]["cancelled"] == 1, "the job was interrupted")
    site.quiet("leave")


def test_a_worker_that_lost_its_job_is_followed_by_another(site: Site) -> None:
    """Every look goes to the worker that has the job. One that was started anew does not know it."""
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(site.http.post("/v1/images/generations", json={"model": "pair", "prompt": "a cat"}))

    asking = threading.Thread(target=ask)
    asking.start()
    names = ("pair-1", "pair-2")
    first = eventually(lambda: next((name for name in names if site.fleet.state(name)["running"]), None), "a job runs")
    second = next(name for name in names if name != first)
    assert not [one for one in site.fleet.requests(second) if one["path"].startswith(("/history", "/queue"))]
    site.fleet.config(first, die=True)
    site.fleet.config(first, alive=True)
    asking.join(20)
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].headers["x-gateway-upstream"] == second
    receipt = site.receipt(answers[0])
    assert [(one["upstream"], one["result"]) for one in receipt["attempts"]] == [
        (first, "OrderLost"),
        (second, "answered"),
    ]
    assert site.fleet.state(second)["jobs"] == {"completed": 1, "failed": 0, "cancelled": 0}
    site.quiet("pair")


def test_pictures_of_sglang_come_in_the_answer_and_not_as_an_address(site: Site) -> None:
    """Its own default is an address that only the worker knows; the client does not say which it wants."""
    with site.sdk() as client:
        made = client.images.generate(model="sglang", prompt="a cat", size="1024x1536")
    assert made.data is not None
    assert opened(made.data[0].b64_json).size == (1024, 1536)

"""ComfyUI by templates: what is filled in, what is refused, and the three places where a job may be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadAnswer, InvalidRequest, OrderLost, Refused
from gateway.model import BadWorkflow, MediaAsk, Speed, Upstream, Workflow, read_workflow
from gateway.upstreams.dialects.ordering import Answer, Order, Picture
from gateway.upstreams.dialects.workers.comfyui import COMFYUI
from gateway.upstreams.dialects.workers.videos import JOB_LOST

WORKER = Upstream("w", "b", "local", "http://h:1", "openai", "z", (), Speed(1, 1, 1), 1, 1, engine="comfyui")
ID = "4a4dfb4f-0000-4000-8000-000000000001"
PICTURE = Picture(data=b"\x89PNG", media_type="image/png")


def node(**inputs: object) -> dict[str, Any]:
    return {"class_type": "Some", "inputs": inputs}


TEXT = node(text="{{prompt}}")
FULL = {
    "1": node(text="best quality, {{ prompt }}", clip=["4", 1]),
    "2": node(text="{{negative_prompt}}"),
    "3": node(seed="{{seed}}", steps="{{steps:20}}", cfg=7.5),
    "5": node(width="{{width:1024}}", height="{{height:768}}", batch_size="{{n}}"),
}


def workflow(graph: object) -> Workflow:
    return read_workflow(json.dumps(graph))


def order(graph: object = FULL, *pictures: Picture, ask: MediaAsk | None = None, **fields: object) -> Order:
    return Order(
        endpoint="images/generations",
        model="flux",
        ask=ask or MediaAsk(),
        prompt='a "cat"\n{{seed}}',
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()},
        pictures=pictures,
        workflow=workflow(graph),
        mark="mark-1",
    )


def sent(order: Order) -> dict[str, Any]:
    call = COMFYUI.submit(WORKER, order)
    assert (call.method, call.path) == ("POST", "prompt")
    body: dict[str, Any] = json.loads(call.body)
    return body


def test_what_a_request_does_not_say_is_the_templates_or_ours() -> None:
    graph = sent(order())["prompt"]
    assert graph["1"]["inputs"] == {"text": 'best quality, a "cat"\n{{seed}}', "clip": ["4", 1]}
    assert graph["2"]["inputs"] == {"text": ""}
    assert graph["5"]["inputs"] == {"width": 1024, "height": 768, "batch_size": 1}
    assert (graph["3"]["inputs"]["steps"], graph["3"]["inputs"]["cfg"]) == (20, 7.5)
    assert 0 <= graph["3"]["inputs"]["seed"] < 2**31


def test_what_a_request_says_is_filled_in_as_what_it_is() -> None:
    ask = MediaAsk(n=2, size="512x640", steps=4)
    graph = sent(order(ask=ask, negative_prompt="dogs", seed="7"))["prompt"]
    assert graph["5"]["inputs"] == {"width": 512, "height": 640, "batch_size": 2}
    assert graph["3"]["inputs"] == {"seed": 7, "steps": 4, "cfg": 7.5}
    assert graph["2"]["inputs"] == {"text": "dogs"}


def test_every_try_has_the_same_id_and_seed() -> None:
    assert sent(order()) == sent(order())
    assert sent(order())["prompt_id"] == sent(order())["client_id"]


@pytest.mark.parametrize(
    ("ask", "fields", "param"),
    [
        (MediaAsk(size="512x512"), {}, "size"),
        (MediaAsk(n=2), {}, "n"),
        (MediaAsk(steps=3), {}, "num_inference_steps"),
        (MediaAsk(seconds=4.0), {}, "seconds"),
        (MediaAsk(), {"negative_prompt": "x"}, "negative_prompt"),
        (MediaAsk(), {"seed": 1}, "seed"),
        (MediaAsk(), {"seed": "many"}, "seed"),
        (MediaAsk(), {"negative_prompt": ["x"]}, "negative_prompt"),
    ],
)
def test_a_wish_without_a_place_is_refused(ask: MediaAsk, fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        COMFYUI.submit(WORKER, order({"1": TEXT}, ask=ask, **fields))
    assert refused.value.param == param


def test_a_picture_is_uploaded_before_and_named() -> None:
    asked = order({"1": TEXT, "2": node(image="{{image}}")}, PICTURE)
    (upload,) = COMFYUI.before(WORKER, asked)
    name = sent(asked)["prompt"]["2"]["inputs"]["image"]
    assert upload.path == "upload/image"
    assert f'filename="{name}"'.encode() in upload.body
    assert PICTURE.data in upload.body
    assert COMFYUI.before(WORKER, order()) == ()


@pytest.mark.parametrize(
    ("graph", "pictures", "param"),
    [
        ({"1": TEXT}, (PICTURE,), "image"),
        ({"1": TEXT, "2": node(image="{{image}}")}, (), "image"),
        ({"1": TEXT, "2": node(image="{{image}}")}, (PICTURE, PICTURE), "image"),
    ],
)
def test_pictures_and_places_belong_together(graph: object, pictures: tuple[Picture, ...], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        COMFYUI.submit(WORKER, order(graph, *pictures))
    assert refused.value.param == param


def test_seconds_are_frames_where_the_template_has_those() -> None:
    graph = {"1": TEXT, "2": node(length="{{frames:81}}", fps="{{fps:16}}")}
    assert sent(order(graph, ask=MediaAsk(seconds=2.0, fps=24)))["prompt"]["2"]["inputs"] == {"length": 48, "fps": 24}


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, (), json.dumps(body).encode())


def past(files: object, status: str = "success") -> Answer:
    return answer({ID: {"outputs": {"9": files}, "status": {"status_str": status, "completed": True, "messages": []}}})


class TestWhereAJobIs:
    def test_it_is_looked_for_in_the_history_then_in_the_queue_then_once_more(self) -> None:
        asked = order()
        told = COMFYUI.submitted(asked, answer({"prompt_id": ID, "number": 1, "node_errors": {}}))
        paths = []
        nowhere: dict[str, Any] = {"queue_running": [], "queue_pending": []}
        waiting = {"queue_running": [], "queue_pending": [[1, ID, {}, {}, []]]}
        for body in ({}, waiting, {}, nowhere):
            assert told.ticket is not None
            paths.append(COMFYUI.poll(WORKER, asked, told.ticket).path)
            told = COMFYUI.polled(asked, told.ticket, answer(body))
            assert told.state == "queued"
        assert paths == [f"history/{ID}", "queue", f"history/{ID}", "queue"]
        assert told.ticket is not None
        with pytest.raises(Refused) as lost:
            COMFYUI.polled(asked, told.ticket, answer({}))
        assert lost.value.code == JOB_LOST

    def test_it_runs(self) -> None:
        told = COMFYUI.polled(order(), f"open {ID}", answer({"queue_running": [[1, ID]], "queue_pending": []}))
        assert (told.state, told.ticket) == ("running", f"ended {ID}")

    def test_its_files(self) -> None:
        files = {
            "images": [
                {"filename": "a b.png", "subfolder": "x/y", "type": "output"},
                {"filename": "p.png", "type": "temp"},
            ],
            "text": ["not a file"],
        }
        told = COMFYUI.polled(order(), f"ended {ID}", past(files))
        (piece,) = told.pieces
        assert piece.call is not None
        assert piece.call.path == "view?filename=a+b.png&subfolder=x%2Fy&type=output"
        assert (piece.media_type, piece.name) == ("image/png", "image-0")

    def test_a_film(self) -> None:
        (piece,) = COMFYUI.polled(order(), f"ended {ID}", past({"gifs": [{"filename": "v.mp4"}]})).pieces
        assert (piece.media_type, piece.name) == ("video/mp4", "video")

    def test_a_preview_is_a_result_where_there_is_no_other(self) -> None:
        told = COMFYUI.polled(order(), f"ended {ID}", past({"images": [{"filename": "p.png", "type": "temp"}]}))
        assert len(told.pieces) == 1

    @pytest.mark.parametrize("answered", [past({"images": []}), past({"images": [{"filename": "a.png"}]}, "error")])
    def test_it_failed(self, answered: Answer) -> None:
        told = COMFYUI.polled(order(), f"ended {ID}", answered)
        assert told.state == "failed"
        assert told.fault is not None

    @pytest.mark.parametrize("odd", [b"", b"<html>", b"[]", b'{"queue_running": 1}', b"\xff"])
    @pytest.mark.parametrize("step", ["ended", "open", "last"])
    def test_odd_answers(self, odd: bytes, step: str) -> None:
        with pytest.raises(BadAnswer):
            COMFYUI.polled(order(), f"{step} {ID}", Answer(200, (), odd))

    def test_an_odd_id_is_never_asked_for(self) -> None:
        told = COMFYUI.submitted(order(), answer({"prompt_id": "../queue"}))
        assert told.ticket is not None
        with pytest.raises(OrderLost):
            COMFYUI.poll(WORKER, order(), told.ticket)

    def test_it_is_taken_out_of_the_queue_and_interrupted_by_its_id(self) -> None:
        waiting, running = COMFYUI.stops(WORKER, order(), f"ended {ID}")
        assert (waiting.path, json.loads(waiting.body)) == ("queue", {"delete": [ID]})
        assert (running.path, json.loads(running.body)) == ("interrupt", {"prompt_id": ID})

    def test_a_graph_that_the_worker_refuses(self) -> None:
        with pytest.raises(Refused) as refused:
            COMFYUI.submitted(order(), answer({"error": {"type": "prompt_no_outputs"}, "node_errors": {}}, 400))
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "API format"),
        ("{}", "API format"),
        ('{"nodes": [], "links": []}', "API format"),
        (json.dumps({"1": node(text="a cat")}), "no place for the prompt"),
        (json.dumps({"1": TEXT, "2": node(x="{{strength:1}}")}), "{{strength}}"),
        (json.dumps({"1": TEXT, "2": node(x="{{width}}")}), "needs a default, such as {{width:1024}}"),
    ],
)
def test_a_template_that_is_no_good_says_why(text: str, said: str) -> None:
    with pytest.raises(BadWorkflow, match=said.replace("{", r"\{")):
        read_workflow(text)


@given(st.text())
def test_a_prompt_is_never_read_as_a_template(prompt: str) -> None:
    graph = workflow({"1": node(text="{{prompt}}", more="x {{prompt}} y")}).filled({"prompt": prompt, "seed": 1})
    assert graph["1"]["inputs"] == {"text": prompt, "more": f"x {prompt} y"}

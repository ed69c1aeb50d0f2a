"""The videos wire of our own servers: calls made, answers read, the odd ones too."""

from __future__ import annotations

import json
from email import message_from_bytes
from typing import Any

import msgspec
import pytest

from gateway.errors import BadAnswer, InvalidRequest, Refused, UpstreamFault
from gateway.model import MediaAsk, Speed, Upstream
from gateway.upstreams.desk import target
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Picture
from gateway.upstreams.dialects.workers.videos import JOB_LOST, SGLANG, TRTLLM, VLLM_OMNI, Videos

WORKER = Upstream("w", "b", "local", "http://h:1", "openai", "z", (), Speed(1, 1, 1), 1, 1, engine="auto")
PICTURE = Picture(data=b"\x89PNG \r\n--bytes", media_type="image/png", role="first_frame")
ALL = pytest.mark.parametrize("dialect", [VLLM_OMNI, SGLANG, TRTLLM], ids=lambda one: one.name)


def order(*pictures: Picture, **fields: object) -> Order:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    return Order(endpoint="videos", model="wan", ask=MediaAsk(), prompt="a cat", fields=raw, pictures=pictures)


def form_of(call: Call) -> dict[str, tuple[str | None, bytes]]:
    """Field -> its file name and its bytes."""
    kind = dict(call.headers)[b"content-type"]
    message = message_from_bytes(b"content-type: %b\r\n\r\n%b" % (kind, call.body))
    found = {}
    for part in message.walk():
        name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            found[name] = (part.get_filename(), data)
    return found


def test_who_speaks_it() -> None:
    for engine, dialect in (("vllm-omni", VLLM_OMNI), ("sglang-diffusion", SGLANG), ("trtllm", TRTLLM)):
        assert dialect_of(WORKER, "videos", engine) is dialect
        assert dialect_of(WORKER, "images/generations", engine) is None


def test_vllm_omni_gets_a_form_always() -> None:
    call = VLLM_OMNI.submit(
        WORKER, order(model="ours", prompt="no", seconds="4", num_frames=81, aspect_ratio=[16, 9], seed=None)
    )
    assert (call.method, target(WORKER, call.path)) == ("POST", "/v1/videos")
    assert form_of(call) == {
        "model": (None, b"wan"),
        "prompt": (None, b"a cat"),
        "seconds": (None, b"4"),
        "num_frames": (None, b"81"),
        "aspect_ratio": (None, b"[16,9]"),
    }


@pytest.mark.parametrize("dialect", [SGLANG, TRTLLM], ids=lambda one: one.name)
def test_the_others_get_json_until_there_is_a_picture(dialect: Videos) -> None:
    call = dialect.submit(WORKER, order(seconds="4", background=True, webhook="x"))
    assert json.loads(call.body) == {"model": "wan", "prompt": "a cat", "seconds": "4"}
    assert dict(call.headers)[b"content-type"] == b"application/json"
    form = form_of(dialect.submit(WORKER, order(PICTURE, seconds="4")))
    assert form["input_reference"] == ("input.png", PICTURE.data)
    assert form["seconds"] == (None, b"4")


@pytest.mark.parametrize(
    "name", ["reference_url", "extra_body", "lora", "output_path", "image_path", "video_reference"]
)
def test_nobody_leads_a_worker_to_its_own_disk_or_elsewhere(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        SGLANG.submit(WORKER, order(**{name: "/etc/passwd"}))  # type: ignore[arg-type]
    assert refused.value.param == name


@ALL
def test_a_picture_goes_up_only_as_it_was_checked(dialect: Videos) -> None:
    call = dialect.submit(WORKER, order(input_reference="/etc/passwd", image="http://10.0.0.1/"))
    assert b"passwd" not in call.body
    assert b"10.0.0.1" not in call.body


def test_one_picture_at_most() -> None:
    with pytest.raises(InvalidRequest) as refused:
        SGLANG.submit(WORKER, order(PICTURE, PICTURE))
    assert refused.value.param == "input_reference"


def answer(code: int, /, **body: Any) -> Answer:
    return Answer(code, (), json.dumps(body).encode())


@ALL
@pytest.mark.parametrize("status", [200, 201, 202])
def test_the_ticket_is_the_id(dialect: Videos, status: int) -> None:
    told = dialect.submitted(order(), answer(status, id="video_1", status="queued", progress=0))
    assert (told.state, told.ticket, told.percent) == ("queued", "video_1", 0)
    assert dialect.poll(WORKER, order(), "video_1").path == "v1/videos/video_1"


@ALL
def test_an_id_cannot_lead_elsewhere(dialect: Videos) -> None:
    path = dialect.poll(WORKER, order(), "../../v1/models?x= y\r\nz").path
    assert path == "v1/videos/..%2F..%2Fv1%2Fmodels%3Fx%3D%20y%0D%0Az"


@ALL
@pytest.mark.parametrize(
    "odd",
    [
        Answer(200, (), b"<html>"),
        Answer(200, (), b""),
        Answer(200, (), b"[1]"),
        Answer(200, (), b"\xff" * 9),
        answer(200, id="", status="queued"),
        answer(200, id="x" * 300, status="queued"),
        answer(200, id=7, status="queued"),
        answer(200, status="queued"),
        answer(200, id="a", status="dreaming"),
        Answer(200, (), b'{"id":' + b"[" * 100_000),
    ],
)
def test_odd_answers_to_the_submit(dialect: Videos, odd: Answer) -> None:
    with pytest.raises(BadAnswer):
        dialect.submitted(order(), odd)


@ALL
@pytest.mark.parametrize(("status", "body"), [(503, {"detail": "full"}), (400, {"error": "no"}), (307, {})])
def test_a_refused_submit(dialect: Videos, status: int, body: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        dialect.submitted(order(), answer(status, **body))
    assert refused.value.status == status


@ALL
@pytest.mark.parametrize(
    ("said", "state", "percent"),
    [
        ({"status": "queued"}, "queued", None),
        ({"status": "in_progress", "progress": 40}, "running", 40),
        ({"status": "in_progress", "progress": 99.5}, "running", 99),
        ({"status": "in_progress", "progress": "much"}, "running", None),
        ({"status": "in_progress", "progress": -3}, "running", None),
        ({"status": "IN_PROGRESS", "progress": True}, "running", None),
        ({"status": "completed", "progress": 100}, "succeeded", 100),
        ({"status": "deleted"}, "cancelled", None),
    ],
)
def test_what_a_look_tells(dialect: Videos, said: dict[str, Any], state: str, percent: int | None) -> None:
    told = dialect.polled(order(), "video_1", answer(200, id="video_1", **said))
    assert (told.state, told.percent) == (state, percent)
    if state == "succeeded":
        (piece,) = told.pieces
        assert piece.call == Call("GET", "v1/videos/video_1/content")


@ALL
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (500, {"code": 500, "message": "out of memory"}, ""),  # vLLM-Omni: the job comes with its own status
        (200, {"message": "out of memory"}, ""),  # SGLang
        (200, "out of memory", ""),  # TensorRT-LLM
        (422, {"code": "content_policy_violation"}, "content_policy_violation"),
        (200, None, ""),
    ],
)
def test_a_failed_job_is_read_whatever_its_status(dialect: Videos, status: int, error: object, code: str) -> None:
    told = dialect.polled(order(), "v", answer(status, id="v", status="failed", error=error))
    assert isinstance(told.fault, Refused)
    assert (told.state, told.fault.code) == ("failed", code)
    assert "memory" not in told.fault.message


@ALL
@pytest.mark.parametrize(
    ("odd", "kind", "code"),
    [
        (answer(404, detail="Not Found"), Refused, JOB_LOST),
        (answer(404, id="v", status="completed"), Refused, JOB_LOST),
        (answer(503, detail="warming up"), Refused, ""),
        (Answer(502, (), b"<html>"), Refused, ""),
        (Answer(200, (), b"{}"), BadAnswer, ""),
    ],
)
def test_odd_looks(dialect: Videos, odd: Answer, kind: type[UpstreamFault], code: str) -> None:
    with pytest.raises(kind) as fault:
        dialect.polled(order(), "v", odd)
    assert getattr(fault.value, "code", "") == code


def test_only_those_that_stop_are_told_to() -> None:
    assert SGLANG.cancel(WORKER, order(), "v") is None
    for dialect in (VLLM_OMNI, TRTLLM):
        call = dialect.cancel(WORKER, order(), "v")
        assert call is not None
        assert (call.method, call.path) == ("DELETE", "v1/videos/v")

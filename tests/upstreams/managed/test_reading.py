"""What answers mean: states, tickets, addresses; and that no answer at all can do more than be a fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadAnswer, Refused, UpstreamFault
from gateway.model import EndpointName, MediaAsk
from gateway.upstreams import answers
from gateway.upstreams.dialects.ordered import BY_DIALECT
from gateway.upstreams.dialects.ordering import Told
from tests.simproviders.buying import answer, dialect_at, order, upstream

MINE = ("fal", "replicate", "kling", "elevenlabs", "minimax", "gemini")
ROWS = sorted((name, endpoint) for name, endpoint in BY_DIALECT if name in MINE)
URL = "https://v3.fal.media/files/a/b.png"
TICKETS = {
    "fal": '{"status":"/a/b/requests/1/status","result":"/a/b/requests/1","cancel":"/a/b/requests/1/cancel"}',
    "minimax": '{"task":"t-1"}',
    "gemini": "models/veo-3.1-generate-001/operations/o-1",
}
MODELS = {"minimax": "MiniMax-Hailuo-02"}
ASK = MediaAsk(voice="JBFqnCBsd6RMkjVDRZzb")


def polled(name: str, body: object, status: int = 200, model: str | None = None, ticket: str | None = None) -> Told:
    account, endpoint = upstream(name, "https://api"), "videos"
    asked = order("videos", model or MODELS.get(name, "a/b"))
    return dialect_at(account, endpoint).polled(asked, ticket or TICKETS.get(name, "t-1"), answer(body, status))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "body", "state"),
    [
        ("fal", {"status": "IN_QUEUE", "queue_position": 3}, "queued"),
        ("fal", {"status": "IN_PROGRESS", "logs": None}, "running"),
        ("fal", {"status": "COMPLETED", "error": "x", "error_type": "runner_disconnected"}, "failed"),
        ("fal", {"status": "COMPLETED", "error_type": "client_cancelled"}, "cancelled"),
        ("replicate", {"id": "t-1", "status": "starting"}, "queued"),
        ("replicate", {"id": "t-1", "status": "processing", "logs": " 50%|## | 1/2\n 75%|### | 3/4\n"}, "running"),
        ("replicate", {"id": "t-1", "status": "succeeded", "output": ["https://replicate.delivery/a"]}, "succeeded"),
        ("replicate", {"id": "t-1", "status": "succeeded", "output": None}, "failed"),
        ("replicate", {"id": "t-1", "status": "failed", "error": None}, "failed"),
        ("replicate", {"id": "t-1", "status": "canceled"}, "cancelled"),
        ("kling", {"code": 0, "data": {"task_id": "1", "task_status": "submitted"}}, "queued"),
        ("kling", {"code": 0, "data": {"task_id": "1", "task_status": "processing"}}, "running"),
        ("kling", {"code": 0, "data": {"task_id": "1", "task_status": "failed", "task_status_msg": ""}}, "failed"),
        ("kling", {"code": 0, "data": {"task_id": "1", "task_status": "succeed", "task_result": {"videos": [
            {"url": "https://p1.klingai.com/a.mp4", "duration": "5.1"}]}}}, "succeeded"),
        ("minimax", {"status": "Preparing", "base_resp": {"status_code": 0}}, "queued"),
        ("minimax", {"status": "Queueing", "base_resp": {"status_code": 0}}, "queued"),
        ("minimax", {"status": "Processing", "base_resp": {"status_code": 0}}, "running"),
        ("minimax", {"status": "Fail", "base_resp": {"status_code": 0}}, "failed"),
        ("gemini", {"name": "x"}, "running"),
        ("gemini", {"name": "x", "done": False}, "running"),
        ("gemini", {"done": True, "error": {"code": 8, "status": "RESOURCE_EXHAUSTED"}}, "failed"),
        ("gemini", {"done": True, "response": {"generateVideoResponse": {}}}, "failed"),
    ],
)  # fmt: skip
def test_states(name: str, body: object, state: str) -> None:
    assert polled(name, body).state == state


@pytest.mark.parametrize(
    ("status", "state"), [("queued", "queued"), ("running", "running"), ("failed", "failed"),
                          ("cancelled", "cancelled"), ("expired", "expired")],
)  # fmt: skip
def test_states_of_minimaxs_newer_films(status: str, state: str) -> None:
    assert polled("minimax", {"status": status}, model="MiniMax-H3").state == state


def test_replicate_tells_how_far_it_is() -> None:
    assert polled("replicate", {"id": "t-1", "status": "processing", "logs": " 5%|# |\n 75%|### |"}).percent == 75


def test_a_result_of_minimax_is_asked_for_in_a_third_step() -> None:
    account, asked = upstream("minimax", "https://api.minimax.io/v1"), order("videos", "MiniMax-Hailuo-02")
    dialect = dialect_at(account, "videos")
    told = polled("minimax", {"status": "Success", "file_id": "17"})
    assert (told.state, told.after) == ("running", 0.0)
    assert told.ticket is not None
    assert dialect.poll(account, asked, told.ticket).path == "/v1/files/retrieve?file_id=17"
    last = dialect.polled(asked, told.ticket, answer({"file": {"download_url": "https://x.minimax.io/a.mp4"}}))
    assert (last.state, last.pieces[0].url) == ("succeeded", "https://x.minimax.io/a.mp4")


def submitted(name: str, body: object, endpoint: EndpointName = "videos", model: str = "a/b") -> Told:
    account = upstream(name, "https://api")
    return dialect_at(account, endpoint).submitted(order(endpoint, model), answer(body))


def _fal(**urls: str) -> dict[str, str]:
    base = "https://queue.fal.run/a/b/requests/r-1"
    usual = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
    return {"request_id": "r-1", **usual, **urls}


def test_what_fal_says_of_its_addresses_is_asked_at_the_upstream_alone() -> None:
    told = submitted("fal", _fal(status_url="http://169.254.169.254/a/b/requests/r-1/status?x=1"))
    assert told.ticket is not None
    assert "169.254" not in told.ticket
    assert "//" not in told.ticket
    account = upstream("fal", "https://queue.fal.run")
    dialect = dialect_at(account, "videos")
    assert dialect.poll(account, order("videos", "a/b"), told.ticket).path == "/a/b/requests/r-1/status?logs=false"
    stop = dialect.cancel(account, order("videos", "a/b"), told.ticket)
    assert (stop and stop.method, stop and stop.path) == ("PUT", "/a/b/requests/r-1/cancel")


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run/a/b/requests/other/status",
        "https://queue.fal.run/a/../r-1/status",
        "https://queue.fal.run/",
        "https://queue.fal.run/a/b/requests/r-1/st atus",
        "https://queue.fal.run/a/b/requests/r-1/\r\nx: y",
        "r-1",
        "",
    ],
)
def test_an_address_that_is_none_of_the_request_is_a_bad_answer(url: str) -> None:
    with pytest.raises(BadAnswer):
        submitted("fal", _fal(status_url=url))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("replicate", {"id": "../x", "status": "starting"}),
        ("kling", {"code": 0, "data": {"task_id": "a/b", "task_status": "submitted"}}),
        ("minimax", {"task_id": "a b"}),
        ("gemini", {"name": "operations/../../x"}),
        ("gemini", {"name": "https://evil/operations/x"}),
    ],
)
def test_an_id_that_fits_in_no_path_is_a_bad_answer(name: str, body: object) -> None:
    with pytest.raises(BadAnswer):
        submitted(name, body)


def test_geminis_file_is_asked_at_the_upstream_alone() -> None:
    video = {"uri": "https://elsewhere.example/v1beta/files/f-1:download?alt=media"}
    told = polled(
        "gemini", {"done": True, "response": {"generateVideoResponse": {"generatedSamples": [{"video": video}]}}}
    )
    (piece,) = told.pieces
    assert piece.url is None
    assert piece.call is not None
    assert piece.call.path == "/v1beta/files/f-1:download?alt=media"


FAULTS = [
    ("fal", 422, {"detail": [{"loc": ["body"], "msg": "no", "type": "content_policy_violation"}]}, "content"),
    ("fal", 503, {"detail": "none", "error_type": "runner_scheduling_failure"}, "elsewhere"),
    ("fal", 504, {"detail": "late", "error_type": "request_timeout"}, "never"),
    ("fal", 403, {"detail": "User is locked. Reason: Exhausted balance."}, "account"),
    ("replicate", 402, {"title": "Insufficient credit", "status": 402}, "account"),
    ("replicate", 429, {"detail": "Request was throttled.", "status": 429}, "elsewhere"),
    ("replicate", 500, {"detail": "x"}, "never"),
    ("kling", 429, {"code": 1303, "message": "parallel task over resource pack limit"}, "elsewhere"),
    ("kling", 429, {"code": 1102, "message": "Account balance not enough"}, "account"),
    ("kling", 200, {"code": 1101, "message": "Account in arrears"}, "account"),
    ("kling", 401, {"code": 1002, "message": "Authorization is not valid"}, "account"),
    ("kling", 400, {"code": 1301, "message": "risk"}, "content"),
    ("kling", 400, {"code": 1201, "message": "duration"}, "caller"),
    ("kling", 500, {"code": 5000, "message": "internal"}, "never"),
    ("minimax", 200, {"base_resp": {"status_code": 1002}}, "elsewhere"),
    ("minimax", 200, {"base_resp": {"status_code": 1039}}, "elsewhere"),
    ("minimax", 200, {"base_resp": {"status_code": 1004}}, "account"),
    ("minimax", 200, {"base_resp": {"status_code": 2049}}, "account"),
    ("minimax", 200, {"base_resp": {"status_code": 1008}}, "account"),
    ("minimax", 200, {"base_resp": {"status_code": 1026}}, "content"),
    ("minimax", 200, {"base_resp": {"status_code": 2013}}, "caller"),
    ("minimax", 200, {"base_resp": {"status_code": 1000}}, "never"),
    ("gemini", 429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "17s"}]}},
     "elsewhere"),
    ("gemini", 400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "x"}}], "caller"),
    ("elevenlabs", 401, {"detail": {"status": "quota_exceeded", "message": "x"}}, "account"),
    ("elevenlabs", 429, {"detail": {"status": "too_many_concurrent_requests", "message": "x"}}, "elsewhere"),
    ("elevenlabs", 429, {"detail": {"status": "system_busy", "message": "x"}}, "elsewhere"),
    ("elevenlabs", 422, {"detail": {"status": "invalid_voice_settings", "message": "x"}}, "caller"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "body", "what"), FAULTS)
def test_what_a_refusal_is_about(name: str, status: int, body: object, what: str) -> None:
    endpoint: EndpointName = "audio/speech" if name == "elevenlabs" else "videos"
    account = upstream(name, "https://api")
    with pytest.raises(Refused) as caught:
        dialect_at(account, endpoint).submitted(order(endpoint, MODELS.get(name, "a/b")), answer(body, status))
    fault = caught.value
    content, again = answers.about_content(fault), answers.retryable("managed", fault)
    callers = not (content or again) and 400 <= fault.status < 500
    told = {"account": fault.account, "content": content, "caller": callers}
    told |= {"elsewhere": again and not fault.account, "never": not (content or again or callers)}
    assert [kind for kind, is_so in told.items() if is_so] == [what]


def test_seconds_that_google_asks_for() -> None:
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "17s"}]}}
    with pytest.raises(Refused) as caught:
        dialect_at(upstream("gemini", "https://api"), "videos").submitted(order("videos", "veo"), answer(body, 429))
    assert caught.value.retry_after == 17.0


@pytest.mark.parametrize(("told", "characters", "odd"), [("12", 12, False), ("x", 0, True), ("-4", 0, True)])
def test_elevenlabs_tells_what_it_charges(told: str, characters: int, odd: bool) -> None:
    dialect = dialect_at(upstream("elevenlabs", "https://api"), "audio/speech")
    said = answer(b"ID3", headers=((b"content-type", b"audio/mpeg"), (b"character-cost", told.encode())))
    usage = dialect.submitted(order("audio/speech", "eleven_v3", ask=ASK), said).usage
    assert usage is not None
    assert (usage.characters, usage.absurd) == (characters, odd)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["id", "status", "output", "error", "code", "data", "task_id", "task_status", "task_result", "videos",
             "url", "base_resp", "status_code", "file_id", "file", "content", "video_url", "audio", "extra_info",
             "name", "done", "response", "generateVideoResponse", "generatedSamples", "video", "uri", "request_id",
             "status_url", "response_url", "cancel_url", "images", "detail", "error_type", "metrics", "logs"]
        ),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
_words = st.sampled_from(["COMPLETED", "succeeded", "succeed", "Success", "failed", "processing", "x"])


@given(row=st.sampled_from(ROWS), body=_json, word=_words, status=st.sampled_from([200, 201, 400, 404, 429, 500, 302]))
def test_whatever_is_answered_is_told_or_a_fault(row: tuple[str, Any], body: Any, word: str, status: int) -> None:
    name, endpoint = row
    if isinstance(body, dict):
        body = {**body, "status": word}
    account, asked = upstream(name, "https://api"), order(endpoint, MODELS.get(name, "a/b"), ask=ASK)
    dialect, said = dialect_at(account, endpoint), answer(json.dumps(body).encode(), status)
    ways = [lambda: dialect.submitted(asked, said)]
    if name not in ("elevenlabs",) and (name, endpoint) != ("minimax", "audio/speech"):
        ways.append(lambda: dialect.polled(asked, TICKETS.get(name, "t-1"), said))
    for way in ways:
        try:
            told = way()
        except UpstreamFault:
            continue
        assert told.state != "succeeded" or told.pieces
        assert told.state != "failed" or told.fault is not None

"""Realtime sessions through a real gateway: the real `websockets` client on one side, its server on the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.gateways import eventually
from tests.realtime.conftest import KEY, Site
from tests.realtime.speaker import DONE


@contextmanager
def session(site: Site, model: str = "voice", key: str | None = KEY, **more: Any) -> Iterator[ClientConnection]:
    headers = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **more.pop("headers", {})}
    given = {"additional_headers": headers, "compression": None, "max_size": 1 << 25, "proxy": None, **more}
    with connect(f"{site.url}?model={model}", **given) as socket:
        assert json.loads(socket.recv(5))["type"] == "session.created"
        yield socket


def say(socket: ClientConnection, **event: Any) -> None:
    socket.send(json.dumps(event))


def id_of(socket: ClientConnection) -> str:
    assert socket.response is not None
    return socket.response.headers["x-request-id"]


def ended(socket: ClientConnection, within: float = 5.0) -> tuple[list[dict[str, Any]], int]:
    """What was still said, and the code it was closed with."""
    said = []
    try:
        while True:
            said.append(json.loads(socket.recv(within)))
    except ConnectionClosed as closed:
        return said, 1006 if closed.rcvd is None else closed.rcvd.code


LONG = b'{"type":"x","text":"%b"}' % (b"a" * 256_000)


def test_frames_pass_unchanged_in_both_directions(site: Site) -> None:
    with session(site) as socket:
        say(socket, type="echo", text="grüße")
        assert json.loads(socket.recv(5)) == {"type": "echo", "text": "grüße"}
        socket.send(LONG)
        assert socket.recv(5) == LONG
        socket.send([LONG[:7], LONG[7:9], LONG[9:]])
        assert socket.recv(5) == LONG
        assert socket.ping().wait(5)
        assert socket.response is not None
        headers = socket.response.headers
        assert (headers["x-gateway-outcome"], headers["x-gateway-backend"]) == ("local", "own")
    far = site.stage.sessions[0]
    assert far.path == "/v1/realtime?model=weights"
    assert "authorization" not in far.headers
    eventually(lambda: far.code, "the far end is closed")
    assert far.code == 1000
    site.quiet()


def test_usage_is_summed_and_booked_when_it_is_over(site: Site) -> None:
    with session(site, "bought", headers={"OpenAI-Beta": "realtime=v1"}) as socket:
        say(socket, type="response.create")
        assert [json.loads(socket.recv(5))["type"] for _ in range(2)] == ["response.created", "response.done"]
        say(socket, type="in pieces")
        assert json.loads(socket.recv(5)) == DONE
    far = site.stage.sessions[0]
    assert far.headers["authorization"] == "Bearer api-key"
    assert far.headers["openai-beta"] == "realtime=v1"
    told = site.receipt(id_of(socket))
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"]) == (200, 100)
    assert (told["usage"]["cached_tokens"], told["usage"]["estimated"]) == (20, False)
    # 2 x (80 sound and 20 text in, 40 sound and 10 text out) at 100, 10, 200 and 20 USD for a million.
    assert told["cost"]["usd"] == pytest.approx(2 * (80 * 100 + 20 * 10 + 40 * 200 + 10 * 20) / 1e6)
    assert [one["result"] for one in told["attempts"]] == ["answered"]


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")  # the SDK's own
def test_the_official_sdk(site: Site) -> None:
    client = openai.OpenAI(
        base_url=f"{site.gateway.url}/v1", websocket_base_url=site.url.removesuffix("/realtime"), api_key=KEY
    )
    with client, client.realtime.connect(model="voice") as connection:
        assert connection.recv().type == "session.created"
        connection.response.create()
        assert [connection.recv().type for _ in range(2)] == ["response.created", "response.done"]
    site.quiet()


def test_a_browser_says_its_key_as_a_subprotocol_which_goes_no_further(site: Site) -> None:
    offered = [Subprotocol(one) for one in ("realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1")]
    with session(site, key=None, subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"
    far = site.stage.sessions[0]
    assert far.subprotocols == ["realtime", "openai-beta.realtime-v1"]
    assert KEY not in str(far.headers)


def test_other_words_of_the_query_are_passed_along(site: Site) -> None:
    with session(site, "voice&intent=transcription"):
        pass
    assert site.stage.sessions[0].path == "/v1/realtime?model=weights&intent=transcription"


@pytest.mark.parametrize(
    ("query", "key", "headers", "status", "param"),
    [
        ("?model=voice", "nobody", {}, 401, None),
        ("?model=nothing", KEY, {}, 404, "model"),
        ("", KEY, {}, 400, "model"),
        ("?model=bought", KEY, {"X-Data-Residency": "local"}, 403, None),
        ("?model=bought", KEY, {"X-Data-Residency": "moon"}, 400, "X-Data-Residency"),
    ],
)
def test_refusals_are_plain_answers(
    site: Site, query: str, key: str, headers: dict[str, str], status: int, param: str | None
) -> None:
    given = {"Authorization": f"Bearer {key}", **headers}
    with pytest.raises(InvalidStatus) as refused, connect(site.url + query, additional_headers=given, proxy=None):
        pass
    response = refused.value.response
    assert response.status_code == status
    assert response.body is not None
    assert json.loads(response.body)["error"]["param"] == param
    assert site.stage.sessions == []


@pytest.mark.parametrize("code", [1000, 1001, 4001])
def test_either_end_closes_the_other_with_its_code(site: Site, code: int) -> None:
    with session(site) as socket:
        say(socket, type="close", code=code, reason="because")
        assert ended(socket) == ([], code)
    with session(site) as socket:
        socket.close(code)
    eventually(lambda: site.stage.sessions[1].code, "the far end is closed")
    assert site.stage.sessions[1].code == code
    site.quiet()


def test_a_far_end_that_dies_is_told_and_the_session_ends(site: Site) -> None:
    with session(site) as socket:
        say(socket, type="die")
        said, code = ended(socket)
    assert code == 1011
    assert [(one["type"], one["error"]["code"]) for one in said] == [("error", "upstream_error")]
    told = site.receipt(id_of(socket))
    assert [one["result"] for one in told["attempts"]] == ["broke_off"]
    site.quiet()


def test_a_client_that_vanishes_takes_its_session_with_it(site: Site) -> None:
    with session(site) as socket:
        socket.socket.shutdown(2)
    eventually(lambda: site.stage.sessions[0].code, "the far end is closed")
    assert site.stage.sessions[0].code in (1001, 1006)
    assert site.receipt(id_of(socket))["error"] == "client_left"
    site.quiet()


@pytest.mark.parametrize("status", [503, 429, 500])
def test_before_it_begins_another_one_is_asked(site: Site, status: int) -> None:
    site.stage.refusals.append(status)
    with session(site) as socket:
        assert len(site.stage.sessions) == 1
    assert [one["status"] for one in site.receipt(id_of(socket))["attempts"]] == [status, 101]


def test_a_refusal_about_the_request_is_passed_on(site: Site) -> None:
    site.stage.refusals.append(400)
    given = {"Authorization": f"Bearer {KEY}"}
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"{site.url}?model=voice", additional_headers=given, proxy=None),
    ):
        pass
    assert refused.value.response.status_code == 400
    site.quiet()


def test_a_worker_that_is_gone_is_passed_over(site: Site) -> None:
    for _ in range(3):
        with session(site, "half"):
            pass


def test_a_flagged_session_never_reaches_a_bought_api(site: Site) -> None:
    with session(site, "leaves") as socket:
        assert socket.response is not None
        assert socket.response.headers["x-gateway-backend"] == "cloud"
    site.stage.sessions.clear()
    for demand in ("local", "eu", "onprem"):
        given = {"Authorization": f"Bearer {KEY}", "X-Data-Residency": demand}
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(f"{site.url}?model=leaves", additional_headers=given, proxy=None),
        ):
            pass
        assert refused.value.response.status_code in (403, 503)
        with session(site, headers={"X-Data-Residency": demand}):
            pass
    assert {one.speaker for one in site.stage.sessions} <= {0, 1}
    assert len(site.stage.sessions) == 3


def item(**part: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [part]}}


INSIDE = "http://169.254.169.254/latest"
PLAIN_TEXT = item(type="input_text", text="hi")
NAMING: list[dict[str, Any]] = [
    item(type="input_image", image_url=INSIDE),
    item(type="input_image", image_url={"url": "https://example.com/a.png"}),
    item(type="input_image", image_url="/etc/passwd"),
    item(type="input_audio", audio="file:///etc/passwd"),
    item(type="video_url", video_url={"url": INSIDE}),
    item(type="image", source={"type": "url", "url": INSIDE}),
    item(type="input_image", image_url=["data:image/png;base64,aGk=", INSIDE]),
    item(type="audio", audio="/etc/passwd"),
    {"type": "session.update", "audio": "/etc/passwd"},
]
NO_EVENT: list[str | bytes] = [
    "\ufeff" + json.dumps(NAMING[0]),
    json.dumps(NAMING[0]).encode("utf-16"),
    json.dumps(NAMING[0]).encode("utf-16-le"),
    json.dumps(NAMING[0]).encode(),
    json.dumps([NAMING[0]]),
    json.dumps([PLAIN_TEXT]),
    "",
    b"\xff\xff",
    "7",
]
PLAIN: list[dict[str, Any]] = [
    {"type": "input_audio_buffer.append", "audio": "aGk="},
    item(type="input_audio", audio="aGk="),
    item(type="input_image", image_url="data:image/png;base64,aGk="),
    item(type="input_text", text=f"what is at {INSIDE}?"),
    {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}}},
]


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_worker_of_ours_hears_no_address(site: Site, pieces: int) -> None:
    with session(site) as socket:
        for event in NAMING:
            said = json.dumps(event)
            size = len(said) // pieces + 1
            socket.send(said if pieces == 1 else [said[at : at + size] for at in range(0, len(said), size)])
            told = json.loads(socket.recv(5))
            assert (told["type"], told["error"]["code"]) == ("error", "invalid_request")
            assert "169.254" not in json.dumps(told)
        for odd in (
            '{"type": "x", "image_url": NaN}',
            '{"a":' * 5000 + "1" + "}" * 5000,
            "{" + '"a":1,' * 200_000,
            *NO_EVENT,
        ):
            socket.send(odd)
            assert json.loads(socket.recv(5))["error"]["code"] == "invalid_request"
        for event in PLAIN:
            say(socket, **event)
            assert json.loads(socket.recv(5)) == event
    assert [json.loads(one) for one in site.stage.sessions[-1].heard] == PLAIN
    site.quiet()


def test_an_error_waits_for_the_end_of_a_message_in_fragments(site: Site) -> None:
    with session(site) as socket:
        say(socket, type="halting")
        fragments = socket.recv_streaming()
        said = next(fragments)
        say(socket, **NAMING[0])
        say(socket, type="go on")
        assert json.loads("".join([said, *fragments])) == {"type": "halting"}
        assert json.loads(socket.recv(5))["error"]["code"] == "invalid_request"


def test_a_bought_api_hears_what_was_said(site: Site) -> None:
    with session(site, "bought") as socket:
        say(socket, **NAMING[0])
        assert json.loads(socket.recv(5)) == NAMING[0]

"""The way back where the upstream speaks other words than the caller, from a real connection."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gateway.edge.account import Account
from gateway.edge.relay import relay
from gateway.errors import BadAnswer, UpstreamFault
from gateway.model import Usage
from gateway.upstreams.dialects.translate.table import Rewording, Translation
from gateway.upstreams.http1 import Exchange
from gateway.upstreams.sse import MAX_FRAME_BYTES
from tests.edge.test_relay import FRONT, MOST, Down, answered, attempted, chunked, whole
from tests.worlds import request

ANSWER = {
    "id": "msg_1",
    "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1},
}


def event(kind: str, **more: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **more}).encode())


START = event("message_start", message={"id": "msg_1", "model": "claude", "usage": {"input_tokens": 3}})
TEXT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
LAST = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}) + event("message_stop")


async def relayed(exchange: Exchange, down: Down, **asked: Any) -> tuple[Account, UpstreamFault | None]:
    wanted = request(arrived=time.monotonic(), **asked)
    account = Account(wanted, "v1")
    translation = Translation(wanted, {}, Rewording("chat/completions", {}), 1)
    told = await relay(exchange, account, attempted(), lambda: FRONT, down, most=MOST, translation=translation)
    return account, told


async def test_a_whole_answer_is_metered_in_the_upstreams_words_and_told_in_the_callers() -> None:
    down = Down()
    async with answered(whole(200, json.dumps(ANSWER).encode())) as exchange:
        account, _ = await relayed(exchange, down)
    told = json.loads(down.body)
    assert (told["object"], told["choices"][0]["message"]["content"]) == ("chat.completion", "hi")
    assert account.usage == Usage(5, 1, 2)


@pytest.mark.parametrize("odd", [{"content": "hi", "usage": ANSWER["usage"]}, {"usage": ANSWER["usage"]}], ids=str)
async def test_what_cannot_be_translated_is_a_fault_before_anything_is_said(odd: dict[str, Any]) -> None:
    """So that another one may be asked."""
    down = Down()
    async with answered(whole(200, json.dumps(odd).encode())) as exchange:
        with pytest.raises(BadAnswer):
            await relayed(exchange, down)
    assert not down.status


async def test_a_refusal_is_told_in_the_callers_shape() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"too long"}}'
    down = Down()
    async with answered(whole(400, body)) as exchange:
        await relayed(exchange, down)
    assert down.status == 400
    assert json.loads(down.body)["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize("asked", [True, False])
async def test_a_stream(asked: bool) -> None:
    down = Down()
    async with answered(*chunked(START, TEXT, LAST), b"0\r\n\r\n") as exchange:
        account, told = await relayed(exchange, down, stream=True, include_usage=asked)
    assert told is None
    assert (down.body.count(b'"usage":{'), down.body.endswith(b"data: [DONE]\n\n")) == (int(asked), True)
    assert account.usage is not None
    assert (account.usage.input_tokens, account.usage.output_tokens) == (3, 7)


async def test_a_stream_whose_end_never_came_says_so_in_the_callers_shape() -> None:
    down = Down()
    async with answered(*chunked(START, TEXT), b"0\r\n\r\n") as exchange:
        account, told = await relayed(exchange, down, stream=True)
    assert isinstance(told, BadAnswer)
    assert down.finished
    last = json.loads(down.body.rsplit(b"data: ", 1)[1])
    assert (last["error"]["code"], account.error) == ("upstream_error", "upstream_error")
    assert b"[DONE]" not in down.body


async def test_a_frame_that_is_too_long_to_be_translated() -> None:
    long = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x" * 3 * MAX_FRAME_BYTES})
    down = Down()
    async with answered(*chunked(START, TEXT, long + LAST), b"0\r\n\r\n") as exchange:
        _, told = await relayed(exchange, down, stream=True)
    assert isinstance(told, BadAnswer)
    assert len(down.body) < MAX_FRAME_BYTES

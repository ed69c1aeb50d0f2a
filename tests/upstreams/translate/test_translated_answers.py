"""Answers and streams, both ways: what the official SDKs make of ours is what they make of the upstream's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from gateway.errors import BadAnswer
from gateway.upstreams.dialects import anthropic, openai
from gateway.upstreams.dialects.translate import answers_to_chat, answers_to_messages, errors, reasons
from gateway.upstreams.dialects.translate.streams_to_chat import ToChat
from gateway.upstreams.dialects.translate.streams_to_messages import ToMessages
from gateway.upstreams.sse import Tap, split
from loadtests.simproviders.anthropic import Anthropic

NOW = 1_790_000_000
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 8,
    "total_tokens": 38,
    "prompt_tokens_details": {"cached_tokens": 20},
}


# of Anthropic's, to chat


def frames_of(api: Anthropic) -> list[bytes]:
    return [
        b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **event}).encode())
        for kind, event in api._events("claude")
    ]


def chunks_of(sent: bytes) -> list[dict[str, Any]]:
    data = [frame.removeprefix(b"data: ") for frame in split(sent) if frame.startswith(b"data: ")]
    assert data[-1] == b"[DONE]\n\n"
    return [json.loads(one) for one in data[:-1]]


def completion(sent: bytes) -> dict[str, Any]:
    state: Any = ChatCompletionStreamState()
    for chunk in chunks_of(sent):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    made = state.current_completion_snapshot.choices[0].to_dict()
    for call in made["message"].get("tool_calls") or ():
        del call["index"]
        call["function"].pop("parsed_arguments", None)
    return made


texts = st.text(min_size=1, max_size=30)
inputs = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=3)
contents = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts})
    | st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": st.just("s")})
    | st.fixed_dictionaries({"type": st.just("tool_use"), "name": st.just("f"), "input": inputs}),
    max_size=4,
).map(
    lambda blocks: [{**block, **({"id": f"toolu_{n}"} if "input" in block else {})} for n, block in enumerate(blocks)]
)


@given(contents, st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal"]), st.booleans())
def test_a_stream_of_messages_is_the_whole_answer_piece_by_piece(
    content: list[dict[str, Any]], reason: str, include_usage: bool
) -> None:
    api = Anthropic(content=content, stop_reason=reason)
    machine = ToChat(NOW, include_usage=include_usage)
    sent = b"".join(map(machine.feed, frames_of(api))) + machine.end()
    whole = json.dumps(api._message("claude", content, reason, 42)).encode()
    told = json.loads(answers_to_chat.to_chat(whole, NOW))
    ChatCompletion.model_validate(told)
    choice, made = told["choices"][0], completion(sent)
    for key in ("content", "reasoning_content"):
        assert (made["message"].get(key) or None) == choice["message"].get(key)
    assert (made["finish_reason"], made["message"]["role"]) == (choice["finish_reason"], "assistant")
    calls = [
        (one["id"], one["function"]["name"], one["function"]["arguments"])
        for one in made["message"].get("tool_calls") or ()
    ]
    again = [
        (one["id"], one["function"]["name"], one["function"]["arguments"])
        for one in choice["message"].get("tool_calls", ())
    ]
    assert calls == again
    usages = [chunk["usage"] for chunk in chunks_of(sent) if chunk.get("usage")]
    assert usages == [told["usage"]] * include_usage


# of chat, to Anthropic's


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish, **more.pop("choice", {})}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": NOW, "model": "m"}
    return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chat_frames(said: dict[str, Any], finish: str, size: int, *, mixed: bool) -> list[bytes]:
    """A chat answer in pieces; `mixed`: those of its tool calls in turns."""
    made = [chunk({"role": "assistant", "content": ""})]
    for key in ("reasoning_content", "content"):
        made += [chunk({key: piece}) for piece in pieces(said.get(key) or "", size)]
    calls: list[list[bytes]] = []
    for index, call in enumerate(said.get("tool_calls") or ()):
        function = call["function"]
        first = {
            "index": index,
            "id": call["id"],
            "type": "function",
            "function": {"name": function["name"], "arguments": ""},
        }
        rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces(function["arguments"], size)]
        calls.append([chunk({"tool_calls": [each]}) for each in (first, *rest)])
    if mixed:
        longest = max(map(len, calls), default=0)
        made += [call[at] for at in range(longest) for call in calls if at < len(call)]
    else:
        made += [frame for call in calls for frame in call]
    return [*made, chunk({}, finish), chunk(usage=USAGE), DONE]


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def message(sent: bytes) -> dict[str, Any]:
    snapshot: Any = None
    kinds, open_now, held = [], set(), dict[int, bytes]()
    for frame in split(sent):
        name, _, data = frame.partition(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        kinds.append(event["type"])
        if event["type"] == "content_block_start":
            assert event["index"] not in open_now
            open_now.add(event["index"])
        if event["type"] == "content_block_delta":
            assert event["index"] in open_now
        if event["type"] == "content_block_stop":
            open_now.remove(event["index"])
        snapshot = accumulate_event(event=EVENT.validate_python(event), current_snapshot=snapshot, json_bufs=held)
    assert (kinds[0], kinds[-2:], open_now) == ("message_start", ["message_delta", "message_stop"], set())
    return plainly(json.loads(snapshot.to_json()))


def plainly(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in ("id", "role", "type", "model", "content", "stop_reason", "stop_sequence")} | {
        "usage": {name: count for name, count in told["usage"].items() if count is not None}
    }


answers = st.fixed_dictionaries(
    {"content": st.none() | texts},
    optional={
        "reasoning_content": texts,
        "tool_calls": st.lists(inputs.map(json.dumps), max_size=3).map(
            lambda many: [
                {"id": f"call_{n}", "type": "function", "function": {"name": f"f{n}", "arguments": each}}
                for n, each in enumerate(many)
            ]
        ),
    },
)


@given(
    answers,
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
)
def test_a_stream_of_chat_is_the_whole_answer_piece_by_piece(
    said: dict[str, Any], finish: str, size: int, mixed: bool, thinking: bool
) -> None:
    machine = ToMessages((), thinking=thinking)
    sent = b"".join(map(machine.feed, chat_frames(said, finish, size, mixed=mixed))) + machine.end()
    choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": finish}
    whole = json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": USAGE}).encode()
    told = json.loads(answers_to_messages.to_messages(whole, (), thinking=thinking))
    Message.model_validate(told)
    assert message(sent) == plainly(told)


# both


def streams() -> Iterator[tuple[str, list[bytes]]]:
    blocks = [{"type": "text", "text": "hm, ünder 🐕"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]
    yield "chat", frames_of(Anthropic(content=blocks, stop_reason="tool_use"))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    yield "messages", chat_frames({"content": "hm, ünder 🐕", "tool_calls": [call]}, "tool_calls", 3, mixed=False)


def machine_for(way: str) -> ToChat | ToMessages:
    return ToChat(NOW, include_usage=True) if way == "chat" else ToMessages((), thinking=False)


@pytest.mark.parametrize(("way", "frames"), list(streams()), ids=["chat", "messages"])
@given(data=st.data())
def test_any_cut_of_a_stream_gives_the_same(way: str, frames: list[bytes], data: st.DataObject) -> None:
    whole, machine = b"".join(frames), machine_for(way)
    once = machine.feed(whole) + machine.end()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    tap = Tap((anthropic.MESSAGES if way == "chat" else openai.CHAT).events, drop_usage=False)
    machine = machine_for(way)
    sent = b"".join(machine.feed(tap.feed(whole[a:b])) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    assert sent + machine.end() == once
    assert tap.done
    assert tap.usage is not None


@pytest.mark.parametrize(("way", "frames"), list(streams()), ids=["chat", "messages"])
def test_a_stream_that_ends_in_its_middle_is_no_answer(way: str, frames: Sequence[bytes]) -> None:
    machine = machine_for(way)
    machine.feed(b"".join(frames[:4]))
    with pytest.raises(BadAnswer):
        machine.end()


def test_a_stream_that_is_cut_before_its_usage_has_its_end_all_the_same() -> None:
    chat = ToMessages((), thinking=False)
    sent = chat.feed(chunk({"role": "assistant", "content": "a"}) + chunk({}, "stop")) + chat.end()
    assert message(sent)["stop_reason"] == "end_turn"
    claude = ToChat(NOW, include_usage=True)
    frames = frames_of(Anthropic())
    sent = claude.feed(b"".join(frames[:-1])) + claude.end()
    assert chunks_of(sent)[-1]["usage"]["completion_tokens"] == 42
    assert claude.end() == b""


@pytest.mark.parametrize(("way", "frames"), list(streams()), ids=["chat", "messages"])
def test_an_error_event_is_the_last_that_is_said(way: str, frames: Sequence[bytes]) -> None:
    machine = machine_for(way)
    machine.feed(frames[0])
    if way == "chat":
        failed = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Busy"}}\n\n'
        shown = json.loads(machine.feed(failed).removeprefix(b"data: "))["error"]
        assert (shown["message"], shown["type"]) == ("Busy", "overloaded_error")
    else:
        sent = machine.feed(b'data: {"error":{"message":"EngineCore died","code":500}}\n\n')
        name, data = sent.strip().split(b"\n")
        assert name == b"event: error"
        assert json.loads(data.removeprefix(b"data: "))["error"] == {"type": "api_error", "message": "EngineCore died"}
    assert machine.feed(b"".join(frames)) + machine.end() == b""


@pytest.mark.parametrize("way", ["chat", "messages"])
@pytest.mark.parametrize("odd", [b"data: no json\n\n", b'data: ["a"]\n\n', b'data: {"id":1,"type":2}\n\n'])
def test_what_is_not_as_the_api_has_it(way: str, odd: bytes) -> None:
    with pytest.raises(BadAnswer):
        machine_for(way).feed(odd)


def test_comments_pings_and_events_that_came_later() -> None:
    machine = ToChat(NOW, include_usage=False)
    assert machine.feed(b'event: ping\ndata: {"type":"ping"}\n\n') == b""
    machine.feed(frames_of(Anthropic())[0])
    assert machine.feed(b'event: ping\ndata: {"type":"ping"}\n\n') == b": ping\n\n"
    assert machine.feed(b": hello\n\n") == machine.feed(b'data: {"type":"content_block_glow","index":0}\n\n') == b""


def test_a_piece_of_a_tool_call_that_never_began() -> None:
    machine = ToMessages((), thinking=False)
    with pytest.raises(BadAnswer):
        machine.feed(chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}))


def test_which_stop_sequence_it_was_where_the_engine_says_so() -> None:
    for named in ({"stop_reason": "END"}, {"matched_stop": "END"}):
        machine = ToMessages(["END"], thinking=False)
        frames = chunk({"content": "a"}) + chunk({}, "stop", choice=named) + DONE
        assert message(machine.feed(frames))["stop_sequence"] == "END"
    machine = ToMessages(["END"], thinking=False)
    assert (
        message(machine.feed(chunk({"content": "a"}) + chunk({}, "stop", choice={"stop_reason": 128009}) + DONE))[
            "stop_reason"
        ]
        == "end_turn"
    )


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_why_it_ended_for_chat(reason: str | None, finish: str) -> None:
    assert reasons.for_chat(reason) == finish


@pytest.mark.parametrize(
    ("finish", "called", "matched", "reason"),
    [
        ("stop", False, None, ("end_turn", None)),
        ("stop", True, None, ("tool_use", None)),
        ("stop", False, "END", ("stop_sequence", "END")),
        ("length", True, None, ("max_tokens", None)),
        ("tool_calls", True, None, ("tool_use", None)),
        ("content_filter", False, None, ("refusal", None)),
        ("abort", False, None, ("end_turn", None)),
        (None, False, None, ("end_turn", None)),
    ],
)
def test_why_it_ended_for_messages(
    finish: str | None, called: bool, matched: str | None, reason: tuple[str, str | None]
) -> None:
    assert reasons.for_messages(finish, called=called, matched=matched) == reason


def test_usage_leaves_the_cache_out_and_takes_it_in() -> None:
    told = {"input_tokens": 11, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 42}
    whole = json.dumps({"content": [], "usage": told, "stop_reason": "end_turn"}).encode()
    chat = json.loads(answers_to_chat.to_chat(whole, NOW))["usage"]
    assert (chat["prompt_tokens"], chat["total_tokens"]) == (36, 78)
    assert chat["prompt_tokens_details"] == {"cached_tokens": 20, "cache_write_tokens": 5}
    back = json.dumps({"choices": [{"message": {"content": "a"}}], "usage": chat}).encode()
    assert json.loads(answers_to_messages.to_messages(back, (), thinking=False))["usage"] == told


def test_arguments_that_the_cap_cut_are_no_call_to_make() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"city": "Kö'}}
    body = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "length"}]}
    made = json.loads(answers_to_messages.to_messages(json.dumps(body).encode(), (), thinking=False))
    assert (made["content"][0]["input"], made["stop_reason"]) == ({}, "max_tokens")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices":[]}', b'{"choices":[{}]}', b'{"content":"a"}', b"{"])
def test_whole_answers_that_are_none(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        answers_to_messages.to_messages(body, (), thinking=False)
    with pytest.raises(BadAnswer):
        answers_to_chat.to_chat(body, NOW)


@pytest.mark.parametrize(
    ("status", "body", "message", "kind"),
    [
        (
            400,
            b'{"type":"error","error":{"type":"invalid_request_error","message":"bad"}}',
            "bad",
            "invalid_request_error",
        ),
        (404, b'{"error":{"message":"none","type":"x","param":"model","code":404}}', "none", "not_found_error"),
        (422, b'{"detail":"no"}', "no", "invalid_request_error"),
        (413, b"too large", "too large", "request_too_large"),
    ],
)
def test_refusals_in_the_other_shape(status: int, body: bytes, message: str, kind: str) -> None:
    chat, claude = json.loads(errors.for_chat(status, body)), json.loads(errors.for_messages(status, body))
    assert chat["error"].keys() == {"message", "type", "param", "code"}
    assert chat["error"]["message"] == message
    assert claude == {"type": "error", "error": {"type": kind, "message": message}}

"""What a client reads of a stream that several workers wrote, wherever it was torn."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.edge.delivered import MOST_BYTES, Delivered
from gateway.errors import BadAnswer, NotContinued, Reset
from gateway.model import Usage
from tests.worlds import request

USER = {"role": "user", "content": "hi"}
pieces = st.lists(st.sampled_from(["a", " b", "\n\n", "  ", "é", " 🐕", "c ", ".", " "]), min_size=1, max_size=30)


def chat(most: int | None = None, **fields: Any) -> Delivered:
    given_fields = {"messages": [USER], **({} if most is None else {"max_tokens": most}), **fields}
    raws = {name: Raw(msgspec.json.encode(value)) for name, value in given_fields.items()}
    made = Delivered.of(request(stream=True, max_tokens=most), raws)
    assert made is not None
    return made


def frame(delta: dict[str, Any], finish: str | None = None, name: str = "one", **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {"id": name, "created": len(name), "model": f"m-{name}", "choices": [choice], **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def part(words: list[str], name: str, *, whole: bool) -> list[bytes]:
    frames = [frame({"role": "assistant", "content": ""}, name=name)]
    frames += [frame({"content": each}, name=name) for each in words]
    return [*frames, frame({}, "stop", name=name), b"data: [DONE]\n\n"] if whole else frames


def heard(read: bytes) -> tuple[str, list[Any]]:
    events = [event.removeprefix(b"data: ") for event in read.split(b"\n\n") if event]
    chunks = [json.loads(event) for event in events if event != b"[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]), chunks


@given(pieces, st.data())
def test_wherever_it_breaks_its_client_reads_one_answer(words: list[str], data: st.DataObject) -> None:
    """Each worker after the first is told the text without the white space at its end, as chat templates would, and
    goes on from there."""
    words = ["It is", *words]  # and never says that again: it would look like a worker that begins anew
    made, read, told = chat(), b"", ""
    left = words
    for number in range(data.draw(st.integers(1, 3), "breaks")):
        at = data.draw(st.integers(0, len(left)), "after")
        read += made.take(b"".join(part(left[:at], f"worker {number}", whole=False)))
        made.broke_off(Reset("x"))
        messages = msgspec.json.decode(made.body()["messages"])
        told = messages[1]["content"] if len(messages) > 1 else ""
        assert told == told.rstrip()
        left = list("".join(words)[len(told) :])  # character by character: tokens fall elsewhere now
    read += made.take(b"".join(part(left, "the last", whole=True)))
    text, chunks = heard(read)
    assert text == "".join(words)
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {("worker 0", 8, "m-worker 0")}
    assert sum("role" in chunk["choices"][0]["delta"] for chunk in chunks) == 1
    assert read.count(b"[DONE]") == 1


TOLD = "Once upon a time there was"


def torn() -> Delivered:
    made = chat()
    made.take(b"".join(part(["Once upon", " a time", " there was"], "one", whole=False)))
    made.broke_off(Reset("x"))
    return made


@pytest.mark.parametrize("again", [[TOLD + " a"], ["Once", " upon", " a time", " there"], [*TOLD]])
def test_a_worker_that_begins_anew_is_not_heard(again: list[str]) -> None:
    made = torn()
    assert [made.take(one) for one in part(again, "two", whole=True)] == [b""] * (len(again) + 3)
    assert isinstance(made.trouble, NotContinued)
    assert made.open
    made.broke_off(made.trouble)
    assert msgspec.json.decode(made.body()["messages"])[1]["content"] == TOLD
    assert heard(made.take(frame({"content": " a king"})))[0] == " a king"


@pytest.mark.parametrize("rest", [["Once", " more"], [" Once upon a time"], ["Once upon"], ["O"], []])
def test_what_only_looks_like_it_is_passed_on(rest: list[str]) -> None:
    made = torn()
    read = b"".join(map(made.take, part(rest, "two", whole=True)))
    assert heard(read)[0] == "".join(rest)
    assert made.trouble is None
    assert read.endswith(b"[DONE]\n\n")


def test_a_completion_may_say_what_it_said_before() -> None:
    made = Delivered.of(request(endpoint="completions", stream=True), {"prompt": Raw(b'"1"')})
    assert made is not None
    said = b'data: {"choices":[{"index":0,"text":"2 3 4 "}]}\n\n'
    made.take(said)
    made.broke_off(Reset("x"))
    assert b"2 3 4" in made.take(said)


ODD = {
    "content of parts": frame({"content": [{"type": "text", "text": "a"}]}),
    "usage in words": frame({"content": "a"}, usage={"prompt_tokens": "x"}),
    "usage of lists": frame({"content": "a"}, usage={"completion_tokens": [1]}),
    "bad UTF-8": b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n',
    "deep": b'data: {"choices":[{"index":0,"delta":{"a":' + b"[" * 9999 + b"]" * 9999 + b"}}]}\n\n",
    "no JSON": b"data: x\n\n",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_frame_that_cannot_be_read(odd: bytes) -> None:
    """In the first part it passes; in a later one its worker is not heard any more, and what came before it is kept."""
    made = chat()
    assert made.take(odd) == odd
    made = torn()
    assert heard(made.take(frame({"content": " a king"}) + odd + frame({"content": " lost"})))[0] == " a king"
    assert isinstance(made.trouble, BadAnswer)
    assert made.open
    made.broke_off(made.trouble)
    assert msgspec.json.decode(made.body()["messages"])[1]["content"] == TOLD + " a king"


def test_nor_one_that_is_too_long_to_be_looked_at() -> None:
    made = chat()
    assert made.cut(b"data: x") == b"data: x"
    assert not made.open
    made = torn()
    assert made.cut(b"data: x") == b""
    assert isinstance(made.trouble, BadAnswer)


def test_where_the_first_part_was_a_comment_the_next_one_names_the_stream() -> None:
    made = chat()
    ping = b": ping\n\n"
    assert made.take(ping) == ping
    made.broke_off(Reset("x"))
    read = made.take(b"".join(part(["a"], "two", whole=False)))
    made.broke_off(Reset("x"))
    text, chunks = heard(read + made.take(b"".join(part(["b"], "three", whole=True))))
    assert text == "ab"
    assert {chunk["id"] for chunk in chunks} == {"two"}
    assert ["role" in chunk["choices"][0]["delta"] for chunk in chunks] == [True, False, False, False]


def test_thoughts_whose_mark_is_split() -> None:
    made = chat()
    for piece in ("a <", "thi", "nk", ">"):
        assert made.open
        made.take(frame({"content": piece}))
    assert not made.open


def test_no_more_of_the_prompt_is_cached_than_there_is() -> None:
    made = torn()
    details = {"cached_tokens": 9, "audio_tokens": None}
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": details}
    told = heard(made.take(frame({}, "stop", usage=usage)))[1][0]["usage"]
    assert (told["prompt_tokens"], told["prompt_tokens_details"]) == (7, {"cached_tokens": 7, "audio_tokens": None})
    assert made.whole(Usage(10, 1, cached_tokens=9)).cached_tokens == 7


def test_a_worker_that_writes_other_white_space_is_believed() -> None:
    made = chat()
    made.take(b"".join(part(["a", "\n\n"], "one", whole=False)))
    made.broke_off(Reset("x"))
    assert heard(made.take(frame({"content": "\nb"})))[0] == "b"
    assert heard(made.take(frame({"content": "\nc"})))[0] == "\nc"


def test_a_role_beside_the_text_is_not_said_twice() -> None:
    made = chat()
    made.take(frame({"role": "assistant", "content": "a"}))
    made.broke_off(Reset("x"))
    text, chunks = heard(made.take(frame({"role": "assistant", "content": "b"})))
    assert (text, chunks[0]["choices"][0]["delta"]) == ("b", {"content": "b"})


def test_the_first_part_passes_as_it_came() -> None:
    made, frames = chat(), b"".join(part(["a", "b"], "one", whole=True))
    assert made.take(frames) == frames


def test_usage_is_that_of_the_whole() -> None:
    made = chat(most=10)
    made.take(b"".join(part(["a", "b", "c"], "one", whole=False)))
    made.broke_off(Reset("x"))
    assert msgspec.json.decode(made.body()["max_tokens"]) == 7
    usage = {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12, "prompt_tokens_details": None}
    told = heard(made.take(frame({}, "stop", usage=usage)))[1][0]["usage"]
    assert told == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "prompt_tokens_details": None}
    assert made.whole(Usage(8, 4)) == Usage(5, 7, estimated=True)
    assert (made.request().max_tokens, made.request().prompt_bytes, made.request().whole) == (7, 403, (400, 10))


def test_frames_of_several_tokens_are_counted_by_their_bytes() -> None:
    made = chat(most=1000)
    made.take(frame({"content": "x" * 420}))
    assert made.written == 100


@pytest.mark.parametrize(
    "odd",
    [
        frame({"content": "a", "reasoning_content": "hm"}),
        frame({"tool_calls": [{"index": 0}]}),
        frame({"content": "</think>"}),
        frame({"content": "x" * (MOST_BYTES + 1)}),
        frame({"content": "a"}, "stop"),
        b'data: {"choices":[{"index":0,"delta":{}},{"index":1,"delta":{}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]}}]}\n\n',
        b"data: no JSON\n\n",
    ],
    ids=["reasoning", "tool", "thoughts", "long", "finished", "two", "logprobs", "garbage"],
)
def test_what_nobody_can_go_on_with(odd: bytes) -> None:
    made = chat()
    made.take(frame({"content": "a"}))
    assert made.open
    assert made.take(odd) == odd
    assert not made.open


def test_a_full_answer_needs_nobody() -> None:
    made = chat(most=2)
    made.take(b"".join(part(["a", "b"], "one", whole=False)))
    assert not made.open


def test_the_upstreams_own_error_is_kept_from_the_client() -> None:
    made = chat()
    made.take(frame({"content": "a"}))
    assert made.take(b'data: {"error":{"message":"x"}}\n\n') == b""
    assert made.silenced
    assert made.open


@pytest.mark.parametrize("asked", [{"stream": False}, {"n": 2}, {"text_only": False}, {"endpoint": "messages"}])
def test_requests_that_nobody_goes_on_with(asked: dict[str, Any]) -> None:
    fields = {"messages": Raw(msgspec.json.encode([USER]))}
    assert Delivered.of(request(**{"stream": True, **asked}), fields) is None

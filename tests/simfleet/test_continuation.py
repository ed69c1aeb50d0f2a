"""A partial answer is continued where it stopped, by any worker: see loadtests.simfleet.origin."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.simfleet.bodies import BadBody, parse
from loadtests.simfleet.harness import Server, SimFleet, start
from loadtests.simfleet.origin import origin
from loadtests.simfleet.scripts import WORDS, write

from .conftest import FAST, chat

GO_ON = {"continue_final_message": True, "add_generation_prompt": False}
EXACT = {"max_tokens": 40, "ignore_eos": True}


def told(http: httpx.Client, server: Server, said: str | None = None, **more: Any) -> str:
    body = chat(server, **{**EXACT, **more})
    if said is not None:
        body["messages"].append({"role": "assistant", "content": said})
        body |= GO_ON
    answer = http.post(f"{server.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["choices"][0]["message"]["content"]
    return found


@pytest.mark.parametrize("cut", [0, 5, 12, 33])
def test_another_worker_goes_on_with_the_very_next_character(fleet: SimFleet, http: httpx.Client, cut: int) -> None:
    one, other = fleet.workers
    whole = told(http, one)
    rest = told(http, other, whole[:cut], max_tokens=40 - whole[:cut].count(" "))
    assert (whole[:cut] + rest)[: len(whole)] == whole


def test_an_answer_of_its_own_length_ends_where_the_unbroken_one_does(fleet: SimFleet, http: httpx.Client) -> None:
    one, other = fleet.workers
    whole = told(http, one, max_tokens=600, ignore_eos=False)
    half = whole[: len(whole) // 2]
    assert half + told(http, other, half, max_tokens=600, ignore_eos=False) == whole


def test_a_broken_stream_is_finished_elsewhere(fleet: SimFleet, http: httpx.Client) -> None:
    one, other = fleet.workers
    fleet.config(one.name, drop_mid_stream={"share": 1.0, "after_frames": 7})
    body = chat(one, stream=True, **EXACT)
    parts: list[bytes] = []
    with http.stream("POST", f"{one.url}/v1/chat/completions", json=body) as answer, pytest.raises(httpx.ReadError):
        parts.extend(answer.iter_raw())
    lines = b"".join(parts).decode().splitlines()
    frames = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    said = "".join(frame["choices"][0]["delta"].get("content", "") for frame in frames)
    assert len(said.split()) == 7
    assert said + told(http, other, said, max_tokens=33) == told(http, other)


def test_engines_that_do_not_continue_begin_anew(http: httpx.Client) -> None:
    workers = [{"engine": "sglang"}, {"engine": "tgi"}]
    with start(**{**FAST, "managed": 0, "workers": workers}) as fleet:
        sglang, tgi = fleet.workers
        whole = told(http, sglang)
        assert told(http, sglang, whole[:10], max_tokens=38) in whole
        assert told(http, tgi) == whole
        assert whole[:10] + told(http, tgi, whole[:10], max_tokens=38) != whole


@pytest.mark.parametrize(
    "more",
    [
        {"continue_final_message": True},  # vLLM: both would be true
        {"continue_final_message": True, "add_generation_prompt": False},  # the last one is the user's
    ],
)
def test_a_continuation_of_nothing_is_refused(fleet: SimFleet, http: httpx.Client, more: dict[str, Any]) -> None:
    worker = fleet.workers[0]
    answer = http.post(f"{worker.url}/v1/chat/completions", json=chat(worker, **more))
    assert answer.status_code == 400


def test_the_spelling_of_a_conversation_does_not_count() -> None:
    said = b'[{"role":"user","content":"h\\u00e9"}]'
    spelled = '[ {"role": "user", "content": "hé"} ]'.encode()
    keys = {
        origin(parse(b'{"messages":%b}' % raw, chat=True), continues=True, strict=True).key for raw in (said, spelled)
    }
    assert len(keys) == 1


@given(st.integers(0, 2**32), st.integers(1, 90), st.data())
def test_whatever_was_said_the_rest_completes_it(offset: int, length: int, data: st.DataObject) -> None:
    body = parse(b'{"messages":[1],"max_tokens":%d,"ignore_eos":true}' % length, chat=True)
    whole = write(body, chat=True, drawn=1, offset=offset, cap=length).piece(0, length)
    said = whole[: data.draw(st.integers(0, len(whole) - 1))]
    script = write(body, chat=True, drawn=1, offset=offset, cap=length, said=said)
    rest = "".join(script.piece(i, 1) for i in range(script.length))
    assert (said + rest).startswith(whole)


def test_a_text_that_is_no_beginning_counts_its_words() -> None:
    body = parse(b'{"messages":[1],"max_tokens":3,"ignore_eos":true}', chat=True)
    script = write(body, chat=True, drawn=1, offset=0, cap=3, said="quite another text")
    assert script.piece(0, 1) == f"{WORDS[3]} "


def test_a_list_of_parts_is_a_text_too() -> None:
    parts = b'[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"time "}]}]'
    raw = b'{"messages":%b,"continue_final_message":true,"add_generation_prompt":false}' % parts
    assert origin(parse(raw, chat=True), continues=True, strict=True).said == "time "
    with pytest.raises(BadBody):
        origin(parse(raw.replace(b"false", b"true"), chat=True), continues=True, strict=True)

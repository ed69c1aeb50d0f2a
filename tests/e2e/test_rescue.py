"""A text stream whose worker died, hung or failed, and whose client notices nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.stage import TOKENS, Stage, normal, stage, words
from tests.gateways import LOCAL, eventually
from tests.scripted import NATURAL, PROMPT_TOKENS, Fault, text

SAVED = {"rescue": True, "timeouts": {"idle": "300ms"}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("rescue"), 3, {"m": SAVED}) as made:
        yield made


@pytest.fixture(autouse=True)
def healthy(pair: Stage) -> Iterator[None]:
    pair.rehearse()
    yield
    pair.site.quiet("gpu")


TROUBLES = {
    "dies": Fault(die_after=9),
    "dies after its head": Fault(die_after=0),
    "dies at white space": Fault(die_after=5),
    "dies at the last token": Fault(die_after=TOKENS - 1),
    "hangs": Fault(hang_after=7),
    "says that its engine failed": Fault(fail_after=8),
}


@pytest.mark.parametrize("usage", [False, True], ids=["", "with usage"])
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
@pytest.mark.parametrize("fault", TROUBLES.values(), ids=TROUBLES)
def test_nobody_can_tell_it_from_a_whole_one(pair: Stage, fault: Fault, path: str, usage: bool) -> None:
    if path == "completions" and fault.die_after == 0:
        fault = Fault(die_after=1)  # it has no frame before its first token
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}
    whole = pair.ask(path, **more)
    pair.play.faults.append(fault)
    saved = pair.ask(path, **more)
    assert words(saved, path) == words(whole, path) == text(TOKENS)
    assert normal(saved) == normal(whole)
    assert pair.results() == ["broke_off", "rescued"]
    broken, rest = pair.play.seen[-2:]
    assert broken.worker != rest.worker
    receipt = pair.receipt()
    assert (receipt["reason"], receipt["outcome"], receipt["error"]) == ("rescued", "local", None)
    assert receipt["attempts"][1]["role"] == "rescue"
    assert receipt["usage"]["output_tokens"] == TOKENS
    assert receipt["usage"]["input_tokens"] == PROMPT_TOKENS


def test_an_sdk_reads_it_as_one_stream(pair: Stage) -> None:
    pair.play.faults += [Fault(die_after=6), Fault(die_after=11)]  # twice
    with pair.site.sdk() as client:
        chunks = list(
            client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "hello"}],
                stream=True,
                seed=4,
                stream_options={"include_usage": True},
            )
        )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == text(NATURAL)
    assert len({chunk.id for chunk in chunks}) == 1
    assert sum(bool(chunk.choices and chunk.choices[0].delta.role) for chunk in chunks) == 1
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (PROMPT_TOKENS, NATURAL)
    assert [seen.body["seed"] for seen in pair.play.seen] == [4, 4, 4]
    assert len({seen.worker for seen in pair.play.seen}) == 3


def test_what_is_left_of_the_cap(pair: Stage) -> None:
    pair.play.faults.append(Fault(die_after=12))
    events = pair.ask(min_tokens=20)
    assert words(events) == text(TOKENS)
    rest = pair.play.seen[-1].body
    assert (rest["max_tokens"], rest["min_tokens"]) == (TOKENS - 12, 8)
    assert rest["messages"][-1] == {"role": "assistant", "content": text(12)}


def test_white_space_at_the_seam_is_written_once(pair: Stage) -> None:
    """Chat templates take it away: the next worker is told of none, and writes it again."""
    pair.play.faults.append(Fault(die_after=5))
    assert words(pair.ask()) == text(TOKENS)
    rest = pair.play.seen[-1].body
    assert text(5).endswith("\n\n")
    assert rest["messages"][-1]["content"] == text(5).rstrip() == text(4)
    assert rest["max_tokens"] == TOKENS - 4


def test_flagged_data_stays_where_it_must(pair: Stage) -> None:
    pair.play.faults.append(Fault(die_after=3))
    assert words(pair.ask(headers=LOCAL)) == text(TOKENS)
    assert pair.receipt()["residency"] == ["local"]
    assert pair.results() == ["broke_off", "rescued"]
    assert pair.audited() == [f"w{seen.worker}" for seen in pair.play.seen[-2:]]


ENDS = {
    "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    "a schema": {"response_format": {"type": "json_object"}},
    "a grammar": {"guided_regex": "a*"},
    "log probabilities": {"logprobs": True},
    "two answers": {"n": 2},
    "a picture": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    "an answer begun by the caller": {"add_generation_prompt": False},
}


@pytest.mark.parametrize("asked", ENDS.values(), ids=ENDS)
def test_what_nobody_can_go_on_with_ends_as_ever(pair: Stage, asked: dict[str, Any]) -> None:
    pair.play.faults.append(Fault(die_after=4))
    ends_broken(pair, pair.ask(**asked))
    assert pair.results() == ["broke_off"]
    assert len(pair.play.seen) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(die_after=4, odd={"reasoning_content": "hm"}),
        Fault(die_after=4, odd={"tool_calls": [{"index": 0}]}),
        Fault(die_after=4, odd={"content": "<think>"}),
        Fault(die_after=4, odd={"content": [{"type": "text", "text": "a"}]}),
    ],
    ids=["reasoning", "a tool call", "thoughts", "parts"],
)
def test_nor_what_turns_out_to_be_more_than_text(pair: Stage, fault: Fault) -> None:
    pair.play.faults.append(fault)
    ends_broken(pair, pair.ask())
    assert pair.results() == ["broke_off"]


def ends_broken(pair: Stage, events: list[str]) -> None:
    assert "[DONE]" not in events
    assert json.loads(events[-1])["error"]["code"] == "upstream_error"
    assert sum("error" in json.loads(event) for event in events) == 1


@pytest.mark.parametrize(
    ("others", "results"),
    [
        ([Fault(refuses=True), Fault()], ["broke_off", "NotContinued", "rescued"]),
        ([Fault(refuses=True), Fault(refuses=True)], ["broke_off", "NotContinued", "NotContinued"]),
        ([Fault(anew=True), Fault()], ["broke_off", "NotContinued", "rescued"]),
        ([Fault(die_after=3), Fault(die_after=2)], ["broke_off", "broke_off", "broke_off"]),
    ],
    ids=["one cannot", "nobody can", "one begins anew", "all die"],
)
def test_a_rescue_that_fails(pair: Stage, others: list[Fault], results: list[str]) -> None:
    failed = pair.site.metric("gateway_rescues_total", outcome="failed") or 0
    pair.play.faults += [Fault(die_after=4), *others]
    events = pair.ask()
    assert pair.results() == results
    if results[-1] == "rescued":
        assert words(events) == text(TOKENS)
    else:
        ends_broken(pair, events)
        assert text(TOKENS).startswith(words(events[:-1]))
        assert pair.site.metric("gateway_rescues_total", outcome="failed") == failed + 1
        assert pair.receipt()["error"] == "upstream_error"


def test_one_that_cannot_be_rescued_again_has_failed(pair: Stage) -> None:
    def counted(outcome: str) -> float:
        return pair.site.metric("gateway_rescues_total", outcome=outcome) or 0.0

    before = counted("rescued"), counted("failed")
    pair.play.faults += [Fault(die_after=4), Fault(die_after=4, odd={"reasoning_content": "hm"})]
    ends_broken(pair, pair.ask())
    assert pair.results() == ["broke_off", "broke_off"]
    assert (counted("rescued"), counted("failed")) == (before[0], before[1] + 1)


def test_a_client_that_leaves_during_the_rescue(pair: Stage) -> None:
    pair.play.faults += [Fault(die_after=4), Fault(first_delay=60.0)]
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with pair.site.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        eventually(lambda: len(pair.play.seen) == 2, "the rescue began")
        name = answer.headers["x-request-id"]
    eventually(lambda: not pair.play.active, "its worker is free", within=1.0)
    assert pair.play.seen[-1].how == "left"
    assert [one["result"] for one in pair.site.receipt(name)["attempts"]] == ["broke_off", "client_left"]


def test_the_sdk_is_told_where_nobody_goes_on(pair: Stage) -> None:
    pair.play.faults += [Fault(die_after=4)] * 3
    with pair.site.sdk() as client, pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}], stream=True))
    assert caught.value.code == "upstream_error"

"""A text stream whose worker died, hung or failed, and whose client notices nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from gateway.money.keys import hash_key
from loadtests.stack import start_gateway
from tests.gateways import KEY, LOCAL, PEPPER, ZONES, Site, eventually, write_folder
from tests.scripted import NATURAL, PROMPT_TOKENS, Fault, Play, text, workers

TOKENS = 30
SPEED = {"step_ms": 2.0, "per_seq_ms": 0.1, "per_prompt_token_ms": 0.0005}
WORKERS = 3


class Pair:
    """Workers behind a gateway, and what goes wrong with the next requests."""

    def __init__(self, site: Site, play: Play) -> None:
        self.site, self.play = site, play
        self.id = ""

    def ask(self, path: str = "chat/completions", headers: dict[str, str] | None = None, **more: Any) -> list[str]:
        """The data lines of a streamed answer."""
        prompt = {"prompt": "hello"} if path == "completions" else {"messages": [{"role": "user", "content": "hello"}]}
        body = {"model": "m", "stream": True, "max_tokens": TOKENS, **prompt, **more}
        answer = self.site.http.post(f"/v1/{path}", json=body, headers=headers)
        self.id = answer.headers["x-request-id"]
        assert answer.status_code == 200, answer.text
        return [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]

    def receipt(self) -> dict[str, Any]:
        return self.site.receipt(self.id)

    def results(self) -> list[str]:
        return [one["result"] for one in self.receipt()["attempts"]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    place = tmp_path_factory.mktemp("rescue")
    with workers(WORKERS) as (play, made):
        folder = {
            "backends.yaml": {
                "zones": ZONES,
                "backends": [
                    {
                        "name": "gpu",
                        "kind": "local",
                        "zone": "onprem",
                        "gpu": {"kind": "H100", "usd_per_hour": 2.0},
                        "speed": SPEED,
                        "upstreams": [
                            {"name": f"w{number}", "url": one.url, "max_num_seqs": 8, "engine": "vllm"}
                            for number, one in enumerate(made)
                        ],
                    }
                ],
            },
            "models.yaml": {
                "models": [{"name": "m", "modality": "text", "served_by": [{"backend": "gpu", "as": "weights"}]}]
            },
            "routing.yaml": {
                "rules": [
                    {
                        "name": "saved",
                        "match": {"model": "m"},
                        "route": {"backends": ["gpu"], "rescue": True, "timeouts": {"idle": "300ms"}},
                    }
                ]
            },
            "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
        }
        write_folder(place / "policies", folder)
        log, env = place / "gateway.log", {"GATEWAY_KEY_PEPPER": PEPPER}
        headers = {"Authorization": f"Bearer {KEY}"}
        with (
            start_gateway(place / "policies", place / "data", env=env, log=log) as gateway,
            httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20.0) as http,
        ):
            site = Site(gateway, None, place / "policies", place / "data", log, http)  # type: ignore[arg-type]
            eventually(lambda: len(site.samples("gateway_upstream_running")) == len(made), "a reading of every worker")
            yield Pair(site, play)


@pytest.fixture(autouse=True)
def healthy(pair: Pair) -> Iterator[None]:
    """Nobody has a failure to his name from the test before: each has answered since."""
    pair.play.seen.clear()
    while {seen.worker for seen in pair.play.seen} != set(range(WORKERS)):
        pair.ask(max_tokens=1)
    pair.play.seen.clear()
    pair.play.faults.clear()
    yield
    pair.site.quiet("gpu")


def words(events: list[str], path: str = "chat/completions") -> str:
    chosen = [json.loads(event)["choices"] for event in events if event != "[DONE]"]
    return "".join(
        (each[0]["text"] if path == "completions" else each[0]["delta"].get("content") or "") for each in chosen if each
    )


def normal(events: list[str]) -> list[Any]:
    """Without what no two answers have in common. Every frame has the id and the time of the first."""
    chunks = [event if event == "[DONE]" else json.loads(event) for event in events]
    bodies = [chunk for chunk in chunks if chunk != "[DONE]"]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in bodies}) == 1
    for chunk in bodies:
        del chunk["id"], chunk["created"]
    return chunks


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
def test_nobody_can_tell_it_from_a_whole_one(pair: Pair, fault: Fault, path: str, usage: bool) -> None:
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
    assert receipt["attempts"][1]["as"] == "rescue"
    assert receipt["usage"]["output_tokens"] == TOKENS
    assert receipt["usage"]["input_tokens"] == PROMPT_TOKENS


def test_an_sdk_reads_it_as_one_stream(pair: Pair) -> None:
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


def test_what_is_left_of_the_cap(pair: Pair) -> None:
    pair.play.faults.append(Fault(die_after=12))
    events = pair.ask(min_tokens=20)
    assert words(events) == text(TOKENS)
    rest = pair.play.seen[-1].body
    assert (rest["max_tokens"], rest["min_tokens"]) == (TOKENS - 12, 8)
    assert rest["messages"][-1] == {"role": "assistant", "content": text(12)}


def test_white_space_at_the_seam_is_written_once(pair: Pair) -> None:
    """Chat templates take it away: the next worker is told of none, and writes it again."""
    pair.play.faults.append(Fault(die_after=5))
    assert words(pair.ask()) == text(TOKENS)
    rest = pair.play.seen[-1].body
    assert text(5).endswith("\n\n")
    assert rest["messages"][-1]["content"] == text(5).rstrip() == text(4)
    assert rest["max_tokens"] == TOKENS - 4


def test_flagged_data_stays_where_it_must(pair: Pair) -> None:
    pair.play.faults.append(Fault(die_after=3))
    assert words(pair.ask(headers=LOCAL)) == text(TOKENS)
    assert pair.receipt()["residency"] == ["local"]
    assert pair.results() == ["broke_off", "rescued"]
    sent = (entry for path in (pair.site.data / "audit").glob("chain-*") for entry in path.read_text().splitlines())
    told = [json.loads(entry) for entry in sent]
    assert [one["upstream"] for one in told if one.get("request") == pair.id] == [
        f"w{seen.worker}" for seen in pair.play.seen[-2:]
    ]


ENDS = {
    "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    "a schema": {"response_format": {"type": "json_object"}},
    "a grammar": {"guided_regex": "a*"},
    "log probabilities": {"logprobs": True},
    "two answers": {"n": 2},
    "a picture": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    "an answer begun by the caller": {"continue_final_message": False, "add_generation_prompt": True},
}


@pytest.mark.parametrize("asked", ENDS.values(), ids=ENDS)
def test_what_nobody_can_go_on_with_ends_as_ever(pair: Pair, asked: dict[str, Any]) -> None:
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
    ],
    ids=["reasoning", "a tool call", "thoughts"],
)
def test_nor_what_turns_out_to_be_more_than_text(pair: Pair, fault: Fault) -> None:
    pair.play.faults.append(fault)
    ends_broken(pair, pair.ask())
    assert pair.results() == ["broke_off"]


def ends_broken(pair: Pair, events: list[str]) -> None:
    assert "[DONE]" not in events
    assert json.loads(events[-1])["error"]["code"] == "upstream_error"
    assert sum("error" in json.loads(event) for event in events) == 1


@pytest.mark.parametrize(
    ("others", "results"),
    [
        ([Fault(refuses=True), Fault()], ["broke_off", "NotContinued", "rescued"]),
        ([Fault(refuses=True), Fault(refuses=True)], ["broke_off", "NotContinued", "NotContinued"]),
        ([Fault(die_after=3), Fault(die_after=2)], ["broke_off", "broke_off", "broke_off"]),
    ],
    ids=["one cannot", "nobody can", "all die"],
)
def test_a_rescue_that_fails(pair: Pair, others: list[Fault], results: list[str]) -> None:
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


def test_a_client_that_leaves_during_the_rescue(pair: Pair) -> None:
    pair.play.faults += [Fault(die_after=4), Fault(first_delay=60.0)]
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with pair.site.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        eventually(lambda: len(pair.play.seen) == 2, "the rescue began")
        name = answer.headers["x-request-id"]
    eventually(lambda: not pair.play.active, "its worker is free", within=1.0)
    assert pair.play.seen[-1].how == "left"
    assert [one["result"] for one in pair.site.receipt(name)["attempts"]] == ["broke_off", "client_left"]


def test_the_sdk_is_told_where_nobody_goes_on(pair: Pair) -> None:
    pair.play.faults += [Fault(die_after=4)] * 3
    with pair.site.sdk() as client, pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}], stream=True))
    assert caught.value.code == "upstream_error"

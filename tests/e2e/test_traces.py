"""Spans and figures of real requests through a real gateway, as a collector gets them."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.telemetry.context import MAX_STATE
from loadtests.collector import Sink, collecting
from tests.gateways import HASTY, KEY, Lane, Site, chat_body, eventually, serve
from tests.otlp import Span, points, spans

LANES = [
    Lane("chat", seats=8),
    Lane("pair", workers=2, cloud=False, route={"attempts": 2}),
    Lane("small", seats=1, route={"max_wait": 0}),
    Lane("queue", seats=1, cloud=False, route={"max_wait": "20s"}),
    Lane("slow", seats=4, cloud=False, sim={"step_ms": 100.0}),
]
PLACES = [
    *(("body", name) for name in ("messages", "model", "user", "stop", "metadata", "tool_choice", "max_tokens", "odd")),
    *(
        ("header", name)
        for name in (
            "Authorization", "X-Api-Key", "X-Request-Id", "X-Gateway-Session", "X-Gateway-Pipeline", "X-Data-Residency",
            "X-Gateway-Priority", "X-Gateway-Deadline-Ms", "User-Agent", "Cookie", "baggage", "traceparent", "X-Odd",
        )
    ),
]  # fmt: skip
secrets = st.text(string.ascii_letters + string.digits, min_size=20, max_size=40)
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def traced(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {
        "GATEWAY_TRACE_RATIO": "1",
        "GATEWAY_OTLP_ENDPOINT": sink.url,
        "GATEWAY_OTLP_HEADERS": "authorization=Bearer%20collector",
        "GATEWAY_OTLP_SECONDS": "0.2",
        "GATEWAY_SEMCONV": "both",
        "GATEWAY_ACCESS_LOG": "true",
    }
    with serve(tmp_path_factory.mktemp("traced"), LANES, env) as site:
        yield site


def trace_of(sink: Sink, request_id: str, attempts: int = 1) -> tuple[Span, list[Span]]:
    """The span of a request and those of its attempts, in their order, once they are there."""

    def look() -> tuple[Span, list[Span]] | None:
        every = spans(sink)
        own = [one for one in every if one.attributes.get("gateway.request_id") == request_id]
        below = sorted((one for one in every if own and one.parent == own[0].id), key=lambda one: one.began)
        return (own[0], below) if own and len(below) >= attempts else None

    return eventually(look, f"the spans of {request_id}")


def sent_up(site: Site, server: str) -> dict[str, Any]:
    return site.fleet.requests(server)[-1]


def test_a_request_is_a_span_and_each_attempt_one_below_it(traced: Site, sink: Sink) -> None:
    with traced.stream("chat", max_tokens=5, ignore_eos=True) as (answer, lines):
        list(lines)
    own, (attempt,) = trace_of(sink, answer.headers["x-request-id"])
    assert (own.name, own.kind, own.trace, own.parent) == ("chat chat", "server", answer.headers["x-request-id"], "")
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.system": "vllm",
        "gen_ai.request.model": "chat",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.usage.output_tokens": 5,
        "gateway.tenant": "acme",
        "gateway.rule": "chat",
        "gateway.outcome": "local",
        "gateway.spilled": False,
        "gateway.policy": answer.headers["x-gateway-policy"],
        "gateway.upstream": "chat-1",
    }
    assert {name: own.attributes.get(name) for name in told} == told
    assert own.events == ("gateway.first_byte",)
    assert (attempt.kind, attempt.attributes["gateway.attempt.result"]) == ("client", "answered")
    assert attempt.attributes["http.response.status_code"] == 200
    assert attempt.attributes["server.port"] == int(traced.fleet.workers[0].url.rpartition(":")[2])
    assert attempt.events == ("gateway.first_token",)
    assert 0 < attempt.attributes["gen_ai.response.time_to_first_chunk"] < attempt.seconds
    assert own.seconds >= attempt.seconds > 0.01
    assert sent_up(traced, "chat-1")["traceparent"] == f"00-{own.trace}-{attempt.id}-01"
    assert sink.posts[0].headers["authorization"] == "Bearer collector"


def test_a_callers_trace_is_continued(traced: Site, sink: Sink) -> None:
    answer = traced.chat("chat", {"traceparent": SAMPLED, "tracestate": "v=1,w=2", "baggage": "user=x"})
    own, (attempt,) = trace_of(sink, answer.headers["x-request-id"])
    assert (own.trace, own.parent, own.state) == (TRACE, CALLER, "v=1,w=2")
    sent = sent_up(traced, "chat-1")
    assert sent["traceparent"] == f"00-{TRACE}-{attempt.id}-01"
    assert "tracestate" in sent["header_names"]
    assert "baggage" not in sent["header_names"]


def test_a_caller_that_does_not_trace_is_not_traced(traced: Site, sink: Sink) -> None:
    quiet = traced.chat("chat", {"traceparent": UNSAMPLED})
    assert sent_up(traced, "chat-1")["traceparent"] == UNSAMPLED
    loud = traced.chat("chat")
    trace_of(sink, loud.headers["x-request-id"])
    assert quiet.headers["x-request-id"] not in {one.attributes.get("gateway.request_id") for one in spans(sink)}


def test_two_attempts_are_two_spans(traced: Site, sink: Sink) -> None:
    for worker in ("pair-1", "pair-2"):
        traced.fleet.config(worker, error_rate=1.0)
    answer = traced.chat("pair")
    for worker in ("pair-1", "pair-2"):
        traced.fleet.config(worker, clear=True)
    assert answer.status_code == 502
    own, attempts = trace_of(sink, answer.headers["x-request-id"], 2)
    assert own.failed
    assert own.attributes["error.type"] == answer.json()["error"]["code"]
    assert own.attributes["gateway.outcome"] == "failed"
    assert {one.attributes["gateway.upstream"] for one in attempts} == {"pair-1", "pair-2"}
    assert {one.attributes["error.type"] for one in attempts} == {"Refused"}
    up = {sent_up(traced, worker)["traceparent"] for worker in ("pair-1", "pair-2")}
    assert up == {f"00-{own.trace}-{one.id}-01" for one in attempts}


def test_what_spills_says_so(traced: Site, sink: Sink) -> None:
    with traced.occupied("small"):
        answer = traced.chat("small", HASTY)
    own, (attempt,) = trace_of(sink, answer.headers["x-request-id"])
    assert own.attributes["gateway.spilled"] is True
    assert own.attributes["gateway.outcome"] == "spilled"
    assert own.attributes["gateway.cost_usd"] > 0
    assert attempt.attributes["gateway.backend"] == "small-api"
    refused = traced.chat("small", {"X-Gateway-Max-Cost-Usd": "0", "X-Data-Residency": "us"})
    own, _ = trace_of(sink, refused.headers["x-request-id"], 0)
    assert own.attributes["error.type"] == refused.json()["error"]["code"]


def test_a_wait_in_line_is_two_events(traced: Site, sink: Sink) -> None:
    with traced.stream("queue", max_tokens=60, ignore_eos=True) as (_, lines):
        next(lines)
        answer = traced.chat("queue")
    assert answer.status_code == 200
    own, _ = trace_of(sink, answer.headers["x-request-id"])
    assert own.events[:2] == ("gateway.queued", "gateway.admitted")
    assert own.attributes["gateway.queue_ms"] > 0


def test_a_span_ends_where_its_client_leaves(traced: Site, sink: Sink) -> None:
    with traced.stream("slow", max_tokens=400, ignore_eos=True) as (answer, lines):
        next(lines)
    own, (attempt,) = trace_of(sink, answer.headers["x-request-id"])
    assert own.attributes["error.type"] == attempt.attributes["error.type"] == "client_left"
    assert own.seconds < 30


@pytest.mark.parametrize(("key", "body", "code"), [("no-key", "{}", "invalid_key"), (None, "{", "invalid_request")])
def test_what_is_refused_at_the_door_is_a_span(traced: Site, sink: Sink, key: str | None, body: str, code: str) -> None:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    answer = traced.http.post("/v1/chat/completions", content=body, headers=headers)
    own, below = trace_of(sink, answer.headers["x-request-id"], 0)
    assert (own.name, own.attributes["error.type"], below) == ("chat", code, [])


def test_nothing_that_a_caller_says_is_in_any_span(traced: Site, sink: Sink) -> None:
    """Wherever it says it, and whatever comes of that: but for `tracestate`, which spans have to keep."""
    asked: dict[str, list[str]] = {}

    @settings(max_examples=25, deadline=None, database=None, derandomize=True)
    @given(said=st.dictionaries(st.sampled_from(PLACES), secrets, min_size=1), good=st.booleans())
    def ask(said: dict[tuple[str, str], str], good: bool) -> None:
        body: dict[str, Any] = chat_body("chat")
        headers = {"Authorization": f"Bearer {KEY}", "X-Gateway-Max-Wait-Ms": "2000"}
        for (kind, name), secret in said.items():
            if kind == "header":
                headers[name] = secret
            elif name == "messages":
                body[name] = [{"role": "user", "content": secret}]
            else:
                body[name] = {name: secret} if name == "metadata" else secret
        if good:
            body["model"] = "chat"
        answer = traced.http.post("/v1/chat/completions", json=body, headers=headers)
        asked[answer.headers["x-request-id"]] = list(said.values())

    ask()

    def told() -> bool:
        return asked.keys() <= {one.attributes.get("gateway.request_id") for one in spans(sink)}

    eventually(told, "their spans", 20)
    sent = b"".join(post.body for post in sink.posts)
    for words in asked.values():
        assert [word for word in words if word.encode() in sent] == []
    assert max(map(len, asked.values())) > 3, "it was worth it"


def test_the_callers_state_is_kept_up_to_its_bound(traced: Site, sink: Sink) -> None:
    for length, kept in ((MAX_STATE, True), (MAX_STATE + 1, False)):
        state = ",".join([f"k={'v' * 253}", f"l={'w' * (length - 258)}"])  # one value has 256 at most
        answer = traced.chat("chat", {"traceparent": SAMPLED, "tracestate": state})
        own, _ = trace_of(sink, answer.headers["x-request-id"])
        assert (own.trace, bool(own.state)) == (TRACE, kept)


def test_the_collector_has_the_figures_of_the_page(traced: Site, sink: Sink) -> None:
    traced.chat("chat")
    before = len(sink.bodies("/v1/metrics"))
    eventually(lambda: len(sink.bodies("/v1/metrics")) > before + 1, "two more exports")
    told = points(sink)
    assert len({one.instance for one in told}) == 1

    def one(name: str, **labels: str) -> Any:
        (found,) = [p for p in told if p.name == name and labels.items() <= p.attributes.items()]
        return found

    assert one("gateway_requests", backend="chat", outcome="local").value == traced.metric(
        "gateway_requests_total", backend="chat", outcome="local"
    )
    duration = [p for p in told if p.name == "gen_ai.client.operation.duration"]
    assert {p.unit for p in duration} == {"s"}
    chat = next(
        p for p in duration if p.attributes["gen_ai.request.model"] == "chat" and "error.type" not in p.attributes
    )
    assert chat.attributes["gen_ai.provider.name"] == "vllm"
    assert (
        sum(chat.buckets)
        == chat.value
        == traced.metric("gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="chat", error_type="")
    )
    names = {p.name for p in told}
    assert {"gen_ai.client.token.usage", "gen_ai.client.inference.duration", "gen_ai.server.request.duration"} <= names
    assert {"gateway_upstream_breaker", "gateway_policy_info", "gateway_waiting", "gateway_degraded"} <= names


def test_each_request_has_its_line_in_the_access_log(traced: Site) -> None:
    good, bad = traced.chat("chat"), traced.chat("chat", {"Authorization": "Bearer nobody"})

    def lines() -> list[dict[str, Any]]:
        every = [json.loads(line) for line in traced.logged().splitlines() if '"event": "request"' in line]
        return [line for line in every if line["request_id"] in {one.headers["x-request-id"] for one in (good, bad)}]

    first, second = eventually(lambda: found if len(found := lines()) == 2 else None, "two lines")
    assert (first["outcome"], first["upstream"], first["error"], first["output_tokens"]) == ("local", "chat-1", None, 4)
    assert (second["outcome"], second["error"]) == ("refused", "invalid_key")
    assert first["trace_id"] == good.headers["x-request-id"]


def test_strangers_words_are_no_labels(traced: Site) -> None:
    """However many models and keys are made up, the page does not grow by them."""

    def ask(number: int) -> None:
        traced.chat(f"made-up-{number}", {"X-Gateway-Session": f"made-up-{number}", "User-Agent": f"made-up-{number}"})
        traced.chat("chat", {"Authorization": f"Bearer made-up-{number}"})

    def series() -> set[str]:
        lines = traced.http.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

    ask(0)
    traced.quiet()
    before = series()
    for number in range(1, 20):
        ask(number)
    traced.quiet()
    assert series() == before
    assert "made-up" not in "".join(before)


def test_a_collector_that_is_away_is_said_once_and_holds_nothing_up(tmp_path: Path) -> None:
    with collecting() as sink:
        sink.status = 400  # the exporter tries nothing of this again
        env = {"GATEWAY_TRACE_RATIO": "1", "GATEWAY_OTLP_ENDPOINT": sink.url, "GATEWAY_OTLP_SECONDS": "0.1"}
        with serve(tmp_path, [Lane("chat", cloud=False)], env) as site:
            for _ in range(20):
                assert site.chat("chat").status_code == 200
            eventually(lambda: (site.metric("gateway_exports_failed_total", signal="metrics") or 0) > 3, "failures")
            assert [
                line for line in site.logged().splitlines() if "does not take telemetry" in line and "metrics" in line
            ][1:] == []
            sink.status = 200
            eventually(lambda: "takes telemetry again" in site.logged(), "the collector is back")
        assert "Traceback" not in site.logged()

"""The small pure parts: draws, honesty, lagged gauges, limits, bodies, scripts, configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtests.simfleet import bodies, faults
from loadtests.simfleet.bodies import BadBody
from loadtests.simfleet.config import ConfigFault, build, read
from loadtests.simfleet.draws import Draws
from loadtests.simfleet.faults import BadChange, Drop, Faults
from loadtests.simfleet.honesty import Honesty
from loadtests.simfleet.limits import Limits, duration
from loadtests.simfleet.metrics import Lagged, Load
from loadtests.simfleet.scripts import ToolCall, write

# -- draws -----------------------------------------------------------------------------------------------------


def test_draws_depend_on_seed_name_purpose_and_index_only() -> None:
    draws = [Draws(1, "a").lognormal(i, "length", 180, 0.8) for i in range(5)]
    other = Draws(1, "a")
    other.uniform(0, "error")  # drawing for another purpose moves nothing
    assert [other.lognormal(i, "length", 180, 0.8) for i in reversed(range(5))] == draws[::-1]
    assert Draws(2, "a").lognormal(0, "length", 180, 0.8) != draws[0]
    assert Draws(1, "b").lognormal(0, "length", 180, 0.8) != draws[0]


def test_log_normal_has_the_documented_median() -> None:
    values = sorted(Draws(1, "a").lognormal(i, "ttft", 0.45, 0.35) for i in range(2001))
    assert values[1000] == pytest.approx(0.45, rel=0.05)


# -- honesty ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "times", "void"),
    [(0.009, 200, False), (0.011, 200, True), (0.04, 1, False), (0.04, 3, True), (10.0, 1, True)],
    ids=["below a fifth", "above a fifth", "one in 200", "three in 200", "one long stall hides many steps"],
)
def test_lateness_above_a_fifth_of_a_step_at_p99_is_void(late: float, times: int, void: bool) -> None:
    honesty = Honesty()
    for i in range(200):
        honesty.engine.record(late if i < times else 0.0, 0.05)
    verdict = honesty.verdict()
    assert verdict["void"] is void
    assert bool(verdict["reasons"]) is void


def test_too_few_steps_are_not_judged() -> None:
    honesty = Honesty()
    for _ in range(20):
        honesty.engine.record(0.04, 0.05)
    assert honesty.verdict()["void"] is False


@pytest.mark.parametrize(("share", "void"), [(0.84, False), (0.86, True)])
def test_a_busy_process_is_void_after_any_five_seconds(share: float, void: bool) -> None:
    honesty = Honesty()
    for second in range(4):
        honesty.cpu(second, second * share)
    assert honesty.verdict()["cpu_share_max"] == 0.0  # no window is complete yet
    for second in range(4, 20):
        honesty.cpu(second, min(second, 8) * share)
    assert honesty.verdict()["void"] is void
    honesty.reset()
    assert honesty.verdict()["void"] is False


# -- lagged gauges ---------------------------------------------------------------------------------------------


def test_a_gauge_shows_what_was_true_a_lag_ago() -> None:
    gauge = Lagged(1.0)
    seen = []
    changes = iter([(0.0, 1), (0.5, 2), (3.0, 0)])
    change = next(changes, None)
    for tenth in range(50):
        now = tenth / 10
        while change is not None and change[0] <= now:
            gauge.push(change[0], Load(change[1]))
            change = next(changes, None)
        seen.append(gauge.read(now).running)
    assert seen == [0] * 10 + [1] * 5 + [2] * 25 + [0] * 10


# -- limits ----------------------------------------------------------------------------------------------------


def test_requests_are_limited_and_refill() -> None:
    limits = Limits(rpm=2, tpm=None, now=0.0)
    assert [limits.take(0.0, 10)[0] for _ in range(3)] == [0.0, 0.0, pytest.approx(30.0)]
    assert limits.take(30.0, 10) == (0.0, "")


def test_tokens_are_limited_and_a_refusal_charges_nothing() -> None:
    limits = Limits(rpm=100, tpm=600, now=0.0)
    assert limits.take(0.0, 590) == (0.0, "")
    wait, unit = limits.take(0.0, 40)
    assert unit == "tokens"
    assert wait == pytest.approx(3.0)
    headers = dict(limits.headers())
    assert headers[b"x-ratelimit-remaining-tokens"] == b"10"
    assert headers[b"x-ratelimit-remaining-requests"] == b"99"
    assert headers[b"x-ratelimit-limit-tokens"] == b"600"
    assert headers[b"x-ratelimit-reset-tokens"] == b"59s"


def test_no_limits_no_headers() -> None:
    assert Limits(None, None, 0.0).headers() == []
    assert Limits(None, None, 0.0).take(0.0, 10**9) == (0.0, "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0ms"), (0.35, "350ms"), (1.0, "1s"), (59.2, "1m0s"), (360, "6m0s")]
)
def test_resets_are_spelled_as_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# -- bodies and scripts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', None),
        (b'{"messages": "x", "max_tokens": "many"}', None),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{}], "max_tokens": 0}', "max_tokens"),
        (b'{"messages": [{}], "n": 0}', "n"),
    ],
)
def test_bodies_that_cannot_be_served(body: bytes, param: str | None) -> None:
    with pytest.raises(BadBody) as caught:
        bodies.parse(body, chat=True)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("x" * 42, [10]), (["x" * 42, "y"], [10, 1]), ([1, 2, 3], [3]), ([[1, 2], [3]], [2, 1])],
)
def test_prompt_shapes_of_completions(prompt: Any, tokens: list[int]) -> None:
    body = bodies.parse(json.dumps({"prompt": prompt}).encode(), chat=False)
    assert bodies.prompt_tokens(body, chat=False) == tokens


def parsed(**fields: Any) -> bodies.GenBody:
    return bodies.parse(json.dumps({"messages": [{"role": "user", "content": "x"}], **fields}).encode(), chat=True)


@pytest.mark.parametrize(
    ("fields", "drawn", "cap", "length", "finish"),
    [
        ({"max_tokens": 30, "ignore_eos": True}, 5.0, 30, 30, "length"),
        ({"max_completion_tokens": 30, "ignore_eos": True}, 500.0, 30, 30, "length"),
        ({"max_tokens": 30}, 5.4, 30, 5, "stop"),
        ({"max_tokens": 30}, 90.0, 30, 30, "length"),
        ({"ignore_eos": True}, 12.0, 4000, 12, "stop"),
        ({}, 0.2, 4000, 1, "stop"),
    ],
)
def test_output_length(fields: dict[str, Any], drawn: float, cap: int, length: int, finish: str) -> None:
    script = write(parsed(**fields), chat=True, drawn=drawn, offset=3, cap=cap)
    assert (script.length, script.finish) == (length, finish)


def test_a_tool_call_has_arguments_of_the_right_shape() -> None:
    kinds = {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["c", "f"]}}
    function = {"name": "weather", "parameters": {"type": "object", "properties": kinds}}
    body = parsed(tools=[{"type": "function", "function": function}], tool_choice="required")
    script = write(body, chat=True, drawn=500, offset=1, cap=1000)
    assert isinstance(script, ToolCall)
    assert json.loads(script.arguments) == {"city": "sim", "days": 1, "unit": "c"}
    pieces = [json.loads(script.delta(i, 1))["tool_calls"][0]["function"] for i in range(script.length)]
    assert "".join(piece["arguments"] for piece in pieces) == script.arguments
    assert [piece.get("name") for piece in pieces[:2]] == ["weather", None]


# -- configuration and faults ----------------------------------------------------------------------------------


def test_ports_follow_the_base_port_in_a_fixed_order() -> None:
    plan = build({"workers": 3, "managed": 2, "base_port": 9001, "gpus_per_node": 2}).plan()
    assert [worker.port for worker in plan.workers] == [9001, 9002, 9003]
    assert [(worker.node, worker.gpu) for worker in plan.workers] == [("node-1", 0), ("node-1", 1), ("node-2", 0)]
    assert [api.port for api in plan.managed] == [9004, 9005]
    assert plan.nodes == {"node-1": 9006, "node-2": 9007}


def test_each_server_may_differ_and_the_preset_is_only_a_start() -> None:
    values = read(b"preset: h100\nworkers: [{name: a}, {step_ms: 9}]\nworker: {max_num_seqs: 64}\n", yaml=True)
    a, b = build(values).plan().workers
    assert (a.name, a.step_ms, a.max_num_seqs, a.kv_tokens) == ("a", 8.0, 64, 450_000)
    assert (b.name, b.step_ms) == ("h100-2", 9.0)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"workerz": 1}, "workerz"),
        ({"worker": {"step": 1}}, "step"),
        ({"preset": "b200"}, "b200"),
        ({"workers": [{"name": "a"}, {"name": "a"}]}, "name"),
        ({"worker": {"num_gpu_blocks": 8}}, "KV cache"),
    ],
)
def test_a_wrong_configuration_names_the_key(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigFault, match=named):
        build(values).plan()


def test_a_change_leaves_other_faults_as_they_are() -> None:
    first = Faults().after(faults.parse(b'{"slow": 2, "drop_mid_stream": 0.5}'))
    assert first == Faults(slow=2.0, drop=Drop(0.5))
    second = first.after(faults.parse(b'{"hang": true, "drop_mid_stream": null}'))
    assert second == Faults(slow=2.0, hang=True)
    assert second.after(faults.parse(b'{"clear": true, "xid": 79}')) == Faults(xid=79)


@pytest.mark.parametrize(
    "body", [b"{", b'{"dye": true}', b'{"slow": 0}', b'{"account": "x"}', b'{"error_status": 200}']
)
def test_a_change_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(BadChange):
        faults.parse(body)

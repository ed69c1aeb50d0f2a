"""Metrics by the GenAI conventions: their names, their bounds, and both ways out."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import Histogram, NumberDataPoint

from gateway.errors import StartupFault
from gateway.telemetry import Telemetry
from gateway.telemetry.export import headers_of, open_collector
from gateway.telemetry.genai import Conventions
from gateway.telemetry.points import metrics_data
from gateway.telemetry.tracing import resource

OLD = {"gen_ai.client.operation.duration", "gen_ai.client.operation.time_to_first_chunk", "gen_ai.client.token.usage"}
NEW = {
    "gen_ai.client.inference.duration",
    "gen_ai.client.inference.time_to_first_chunk",
    "gen_ai.client.inference.operation.input_tokens",
    "gen_ai.client.inference.operation.output_tokens",
    "gen_ai.client.inference.usage.input_tokens",
    "gen_ai.client.inference.usage.output_tokens",
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "gen_ai.client.inference.usage.cache_write.input_tokens",
    "gen_ai.client.inference.usage.reasoning.output_tokens",
}
BOTH = {"gen_ai.server.request.duration", "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token"}


def told(conventions: Conventions) -> Telemetry:
    made = Telemetry(conventions=conventions)
    series = made.genai.series("chat/completions", "vllm", "chat", "llama")
    series.attempt(0.5, "", 0.1)
    series.attempt(0.2, "Reset", None)
    series.used(500, 20, 100, 30, 7)
    series.request(0.6, "", 0.2, 0.02)
    return made


@pytest.mark.parametrize(
    ("conventions", "names"), [("old", OLD | BOTH), ("new", NEW | BOTH), ("both", OLD | NEW | BOTH)]
)
def test_the_names_are_a_setting(conventions: Conventions, names: set[str]) -> None:
    made = told(conventions)
    data = metrics_data(made.collect(), made.genai.of, resource("x"), 1, 2)
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    assert {one.name for one in metrics if one.name.startswith("gen_ai")} == names
    assert all(one.unit in ("s", "{token}") for one in metrics if one.name in names)


POWERS = [4.0**power for power in range(14)]
DOUBLED = [0.01 * 2**power for power in range(14)]
FIRST = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
EACH = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5]


def test_bounds_and_units_are_those_of_the_conventions() -> None:
    made = told("both")
    data = metrics_data(made.collect(), made.genai.of, resource("x"), 1, 2)
    metrics = {one.name: one for one in data.resource_metrics[0].scope_metrics[0].metrics}
    for name in OLD | NEW | BOTH:
        tokens = name.endswith(("_tokens", "token.usage"))
        assert metrics[name].unit == ("{token}" if tokens else "s"), name
        points = metrics[name].data
        if not isinstance(points, Histogram):
            assert ".usage." in name, "counters, and the only ones"
            continue
        bounds = list(points.data_points[0].explicit_bounds)
        expected = POWERS if tokens else FIRST if "first_token" in name else EACH if "output_token" in name else DOUBLED
        assert bounds == pytest.approx(expected), name


def test_what_is_rare_is_counted_apart() -> None:
    page = told("new").page().decode()
    for what, tokens in (("cache_read_input", 100), ("cache_write_input", 30), ("reasoning_output", 7)):
        (line,) = [
            line
            for line in page.splitlines()
            if line.startswith(f"gen_ai_client_inference_usage_{what}_tokens_total{{")
        ]
        assert line.endswith(f" {tokens}.0")


def test_a_histogram_is_the_same_on_both_ways_out() -> None:
    made = told("old")
    data = metrics_data(made.collect(), made.genai.of, resource("x"), 1, 2)
    metrics = {one.name: one for one in data.resource_metrics[0].scope_metrics[0].metrics}
    duration = metrics["gen_ai.client.operation.duration"].data
    assert isinstance(duration, Histogram)
    well, failed = duration.data_points
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "Reset"
    assert well.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "chat",
        "gen_ai.response.model": "llama",
    }
    assert (well.count, well.sum, sum(well.bucket_counts)) == (1, 0.5, 1)
    assert well.bucket_counts[well.explicit_bounds.index(0.64)] == 1
    assert len(well.bucket_counts) == len(well.explicit_bounds) + 1
    page = made.page().decode()
    assert 'gen_ai_client_operation_duration_seconds_bucket{error_type="",' in page
    (count,) = metrics["gateway_receipts_dropped"].data.data_points
    assert isinstance(count, NumberDataPoint)
    assert (count.value, count.start_time_unix_nano, count.time_unix_nano) == (0.0, 1, 2)


def test_drift_is_the_error_of_the_sums() -> None:
    made = Telemetry()
    for came in (1.0, 3.0):
        made.estimated("total", 0.5, 3.0, came)
    assert 'gateway_estimate_drift_ratio{what="total"} 0.5' in made.page().decode()


@pytest.mark.parametrize("text", ["x", "=y", "file:/nonexistent/secret"])
def test_headers_that_are_none_are_named_and_not_shown(text: str) -> None:
    with pytest.raises(StartupFault) as fault:
        headers_of(text)
    assert "secret" not in str(fault.value)


def test_headers_and_addresses() -> None:
    assert headers_of("") == {}
    assert headers_of("Authorization=Bearer%20x, tenant=a=b") == {"authorization": "Bearer x", "tenant": "a=b"}
    assert open_collector(None, "") is None
    with pytest.raises(StartupFault, match="GATEWAY_OTLP_ENDPOINT"):
        open_collector("collector:4318", "")

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
}
BOTH = {"gen_ai.server.request.duration", "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token"}


def told(conventions: Conventions) -> Telemetry:
    made = Telemetry(conventions=conventions)
    series = made.genai.series("chat/completions", "vllm", "chat", "llama")
    series.attempt(0.5, "", 0.1)
    series.attempt(0.2, "Reset", None)
    series.used(500, 20, 100)
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

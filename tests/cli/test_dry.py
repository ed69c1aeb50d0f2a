"""Dry decisions of every generation path: what `gateway explain` and the golden cases run."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.dry import Story, dry_run
from gateway.policy.schema import RequestIn, WorkerState
from gateway.upstreams.dialects.surface import PATHS
from tests.worlds import policy

FULL = {"w1": WorkerState(load=1.05), "w2": WorkerState(load=1.05)}
BODY: dict[str, Any] = {"model": "m", "messages": [], "input": "x", "max_tokens": 5}


def decided(path: str, fleet: dict[str, WorkerState] | None = None, **body: Any) -> Story:
    return dry_run(policy(), RequestIn(path=path, body={**BODY, **body}), fleet or {})


@pytest.mark.parametrize("path", PATHS)
def test_every_generation_path_is_decided(path: str) -> None:
    assert decided(path).result["outcome"] == "local"


def test_what_the_api_does_not_speak_does_not_spill_there() -> None:
    assert decided("/v1/responses", FULL).result["outcome"] == "spilled"
    story = decided("/v1/messages", FULL)
    assert (story.result["status"], story.result["code"]) == (429, "fleet_saturated")
    assert [row["dropped"] for row in story.rows if row["backend"] == "api"] == ["capability"]


def test_a_demand_in_metadata_keeps_it_at_home() -> None:
    story = decided("/v1/chat/completions", FULL, metadata={"data_residency": "eu"})
    assert (story.result["status"], story.result["code"]) == (429, "fleet_saturated")
    assert decided("/v1/messages", metadata={"data_residency": "local"}).residency == ("local",)
    assert decided("/v1/messages", metadata={"data_residency": "mars"}).result["code"] == "residency_unknown"


def test_work_is_the_prompts_where_nothing_is_written() -> None:
    def work(path: str) -> int:
        return int(decided(path, input="x" * 4200, messages=["x" * 4200], max_output_tokens=100).rows[0]["work"])

    assert work("/v1/messages/count_tokens") < work("/v1/embeddings") < work("/v1/responses")


def test_a_path_that_generates_nothing_and_a_message_without_its_cap() -> None:
    assert decided("/v1/models").result["status"] == 404
    assert decided("/v1/messages", max_tokens=None).result["code"] == "invalid_request"

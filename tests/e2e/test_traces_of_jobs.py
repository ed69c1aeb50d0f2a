"""Without a ratio only callers say what is traced: a film, from the request that asked for it to the calls that fetched
it; and nothing of who was not let in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadtests.collector import Sink, collecting
from tests.gateways import Lane, Site, eventually, serve
from tests.otlp import spans

FILM = Lane(
    "film",
    cloud=False,
    seats=4,
    sim={"engine": "vllm-omni", "unit_s": 0.02},
    worker={"engine": "vllm-omni"},
    model={"modality": "video"},
)
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Sink]]:
    with collecting() as sink:
        env = {"GATEWAY_OTLP_ENDPOINT": sink.url, "GATEWAY_ARTEFACTS_FLOOR": "0"}
        with serve(tmp_path_factory.mktemp("films"), [FILM], env) as site:
            yield site, sink


def test_the_work_of_a_job_lies_below_the_request_that_brought_it(traced: tuple[Site, Sink]) -> None:
    site, sink = traced
    asked = {"model": "film", "prompt": "a cat", "seconds": "4", "size": "720x1280"}
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    made = site.http.post("/v1/videos", params={"wait": 20}, json=asked, headers=headers)
    assert made.json()["status"] == "completed", made.text
    (work,) = eventually(lambda: [one for one in spans(sink) if one.kind == "consumer"], "the span of the work")
    every = [one for one in spans(sink) if one.trace == TRACE]
    (accepted,) = [one for one in every if one.kind == "server"]
    assert (accepted.parent, accepted.attributes["gateway.outcome"]) == (CALLER, "accepted")
    assert (work.parent, work.attributes["gateway.outcome"]) == (accepted.id, "local")
    (attempt,) = [one for one in every if one.parent == work.id]
    assert attempt.attributes["gateway.attempt.result"] == "answered"
    calls = sorted((one for one in every if one.parent == attempt.id), key=lambda one: one.began)
    steps = [one.name.removeprefix("order ") for one in calls]
    assert steps[0] == "submit"
    assert set(steps[1:-1]) == {"poll"}
    assert steps[-1] == "fetch"
    assert attempt.attributes["gateway.order.calls"] == len(calls)
    up = site.fleet.requests("film-1")
    assert {one["traceparent"] for one in up if one["path"].startswith("/v1/videos")} == {f"00-{TRACE}-{attempt.id}-01"}


def refused(site: Site, trace: str, **headers: str) -> tuple[int, str]:
    """The status of what is refused, asked for under this trace, and the error's code."""
    asked = {"model": "film", "prompt": "a cat", "seconds": "none"}
    given = {"traceparent": f"00-{trace}-{CALLER}-01", **headers}
    answer = site.http.post("/v1/videos", json=asked, headers=given)
    return answer.status_code, answer.json()["error"]["code"]


def test_a_caller_that_is_not_let_in_forces_no_span(traced: tuple[Site, Sink]) -> None:
    site, sink = traced
    strange, known = "1" * 32, "2" * 32
    assert refused(site, strange, Authorization="Bearer nobody") == (401, "invalid_key")
    assert refused(site, known) == (400, "invalid_request")
    (mine,) = eventually(lambda: [one for one in spans(sink) if one.trace == known], "the span of who was let in")
    assert (mine.parent, mine.attributes["error.type"]) == (CALLER, "invalid_request")
    assert strange not in {one.trace for one in spans(sink)}, "it would have come before"
    assert site.metric("gateway_spans_dropped_total") == 0

"""`/openapi.json` is a sound OpenAPI 3.1 document of all that answers, and `/docs` leads there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.openapi.models import OpenAPI

from gateway.upstreams.dialects.surface import PATHS
from loadtests.stack import DEMO_POLICIES, start_gateway


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        start_gateway(DEMO_POLICIES, tmp_path_factory.mktemp("openapi")) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=10) as client,
    ):
        yield client


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_name_that_people_know_leads_to_it(http: httpx.Client) -> None:
    answer = http.get("/docs")
    assert (answer.status_code, answer.headers["location"], answer.content) == (307, "/openapi.json", b"")
    assert http.get("/docs", follow_redirects=True).json()["openapi"].startswith("3.1")
    assert [http.get(path).status_code for path in ("/redoc", "/docs/oauth2-redirect")] == [404, 404]


def test_every_path_is_there_by_its_method(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {path for path in PATHS if "post" in paths[path]} == set(PATHS) - {"/v1/realtime"}
    assert "get" in paths["/v1/realtime"]
    assert {"/v1/videos/{id}", "/v1/gateway/jobs/{id}/events", "/admin/v1/status", "/metrics"} <= set(paths)


def test_it_is_a_sound_document(http: httpx.Client) -> None:
    """Its shape by FastAPI's models of the specification; what they do not look at, by hand."""
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    OpenAPI.model_validate(document)
    named = [operation["operationId"] for _, _, operation in operations(document)]
    assert sorted(named) == sorted(set(named))
    for found in references(document):
        place: Any = document
        for step in found.removeprefix("#/").split("/"):
            place = place[step]
    schemes = set(document["components"]["securitySchemes"])
    for path, method, operation in operations(document):
        told = [one for one in operation.get("parameters", ()) if "$ref" not in one]
        within = {one["name"] for one in told if one["in"] == "path"}
        assert within == set(re.findall(r"\{(\w+)\}", path)), (method, path)
        assert len({(one["name"], one["in"]) for one in told}) == len(told)
        assert operation["responses"], (method, path)
        assert all(re.fullmatch(r"[1-5]\d\d|default", status) for status in operation["responses"])
        assert {name for one in operation.get("security", ()) for name in one} <= schemes

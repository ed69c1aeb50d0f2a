"""What /openapi.json says beside FastAPI's own: paths, headers and errors as the pages and the code have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.edge.described import HEADERS, OF_JOBS, described
from gateway.upstreams.dialects.surface import PATHS

DOCS = Path(__file__).resolve().parents[2] / "docs"
ELSEWHERE = {"authorization", "x-api-key", "last-event-id", "x-gateway-ticket"}
"""Keys are `security`; the others are of paths that FastAPI knows."""
FASTAPIS: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "paths": {"/v1/videos": {"get": {"responses": {}}}, "/admin/v1/x": {"get": {}}, "/healthz": {"get": {}}},
}


def operation(path: str) -> dict[str, Any]:
    made: dict[str, Any] = described(FASTAPIS)["paths"][path]
    found: dict[str, Any] = made["get" if path == "/v1/realtime" else "post"]
    return found


def test_what_was_there_stays_and_what_was_given_is_not_changed() -> None:
    paths = described(FASTAPIS)["paths"]
    assert set(paths["/v1/videos"]) == {"get", "post"}
    assert [paths[path]["get"].get("security") for path in ("/v1/videos", "/admin/v1/x", "/healthz")] == [
        [{"key": []}, {"apiKey": []}],
        [{"adminKey": []}],
        None,
    ]
    assert "components" not in FASTAPIS
    assert FASTAPIS["paths"]["/healthz"] == FASTAPIS["paths"]["/admin/v1/x"] == {"get": {}}


def test_the_headers_are_those_of_their_page() -> None:
    table = (DOCS / "headers.md").read_text().partition("## On answers")[0]
    listed = {name.lower() for name in re.findall(r"^\| `([\w-]+)` \|", table, re.M)}
    assert {name.lower() for name in (*HEADERS, *OF_JOBS)} == listed - ELSEWHERE


@pytest.mark.parametrize("path", PATHS)
def test_every_path_says_its_headers_its_callers_and_its_errors(path: str) -> None:
    said = operation(path)
    names = {one["name"] for one in said["parameters"] if one["in"] == "header"}
    assert names == set(HEADERS) | (set(OF_JOBS) if PATHS[path].jobs != "never" else set())
    assert said["security"] == [{"key": []}, {"apiKey": []}]
    assert ("requestBody" in said) is (path != "/v1/realtime")
    page = (DOCS / "errors.md").read_text()
    rows = {
        (status, code)
        for status, answer in said["responses"].items()
        if status not in ("101", "200")
        for code in re.findall(r"`(\w+)`", answer["description"])
    }
    assert {("400", "residency_unknown"), ("401", "invalid_key"), ("429", "fleet_saturated")} <= rows
    assert [row for row in rows if f"| {row[0]} | `{row[1]}` |" not in page] == []


def test_bodies_are_of_the_kinds_that_are_taken() -> None:
    kinds = {path: set(operation(path)["requestBody"]["content"]) for path in PATHS if path != "/v1/realtime"}
    json, form = "application/json", "multipart/form-data"
    assert kinds["/v1/chat/completions"] == {json}
    assert kinds["/v1/audio/transcriptions"] == kinds["/v1/audio/translations"] == {form}
    assert kinds["/v1/images/edits"] == kinds["/v1/videos"] == {json, form}

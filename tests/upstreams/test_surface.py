"""The table of endpoints, and whose errors each path shows."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from gateway.errors import NotFound
from gateway.model import EndpointName
from gateway.routing.capability import BY_DIALECT, BY_ENGINE, BY_MODALITY, spoken
from gateway.upstreams.dialects.surface import ENDPOINTS, PATHS, error_body
from tests.worlds import upstream


def test_every_endpoint_has_its_row_and_is_spoken_by_somebody() -> None:
    names = set(get_args(EndpointName))
    assert set(ENDPOINTS) == {path.removeprefix("/v1/") for path in PATHS} == names
    assert names == frozenset().union(*BY_ENGINE.values())
    assert all(speaker <= names for speaker in (*BY_ENGINE.values(), *BY_DIALECT.values()))


def test_what_writes_nothing_cannot_stream() -> None:
    texts = {name: row for name, row in ENDPOINTS.items() if name in BY_MODALITY["text"]}
    assert {name for name, row in texts.items() if not row.caps} == {"embeddings", "messages/count_tokens"}
    assert all(row.streams is bool(row.caps) for row in texts.values())


@pytest.mark.parametrize(
    ("path", "theirs"),
    [
        ("/v1/messages", True),
        ("/v1/messages/count_tokens", True),
        ("/v1/messages/batches/x", True),
        ("/v1/messagesque", False),
        ("/v1/chat/completions", False),
        ("/v1/responses", False),
        ("/", False),
    ],
)
def test_whose_errors_a_path_shows(path: str, theirs: bool) -> None:
    made = json.loads(error_body(path, NotFound("no such path"), "r"))
    assert ("request_id" in made) is theirs
    assert made["error"]["type"] == ("not_found_error" if theirs else "invalid_request_error")


@pytest.mark.parametrize(
    ("backend", "changes", "speaks", "does_not"),
    [
        ("gpu", {}, "messages", None),
        ("gpu", {"engine": "openai"}, "embeddings", "responses"),
        ("gpu", {"engine": None}, "completions", "messages"),
        ("api", {}, "responses", "messages"),
        ("api", {"dialect": "someone"}, "chat/completions", "responses"),
        ("gpu", {"endpoints": frozenset({"chat/completions"})}, "chat/completions", "messages"),
        ("api", {"endpoints": frozenset({"messages"})}, "messages", "chat/completions"),
    ],
)
def test_who_speaks_what(backend: str, changes: dict[str, object], speaks: str, does_not: str | None) -> None:
    found = spoken(upstream("u", backend, **changes))
    assert speaks in found
    assert does_not not in found

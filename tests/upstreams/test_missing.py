"""Whose affair a worker's 404 is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.upstreams.missing import names_missing_model

VLLM = {"message": "The model `org/M-7b` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ({"error": VLLM}, True),
        ({"object": "error", **VLLM}, True),
        ({"error": {"message": "model 'org/m-7b' not found", "type": "not_found_error"}}, True),
        ({"error": {"message": "No.", "code": "model_not_found"}}, True),
        ({"error": "model org/M-7b is not loaded"}, True),
        ({"error": {"message": "The model `another` does not exist.", "code": 404}}, False),
        ({"error": {"message": "Response with id 'resp_1' not found.", "code": 404}}, False),
        ({"detail": "Not Found"}, False),
        ({"error": None}, False),
        ([], False),
        ("<html>404</html>", False),
    ],
)
def test_a_404_names_the_model_or_it_does_not(body: Any, missing: bool) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert names_missing_model(404, raw, "org/M-7b") is missing
    assert not names_missing_model(400, raw, "org/M-7b"), "only a 404 does"

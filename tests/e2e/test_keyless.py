"""A gateway without tenants: programs of its own host are answered, web pages and whoever comes by a proxy are not."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from gateway.upstreams.dialects.surface import PATHS
from tests.gateways import Lane, Site, chat_body

LANES = [Lane("chat", cloud=False)]
OPEN = {"/healthz", "/livez", "/readyz", "/health"}
"""For probes, by whatever name and way they come. What else is described must refuse."""
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
}
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nnone\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nsound\r\n--x--\r\n'
)
SIMPLE_FORM = {"Content-Type": "multipart/form-data; boundary=x"}
SIMPLE_TEXT = {"Content-Type": "text/plain;charset=UTF-8"}
"""What a page may send anywhere without a preflight."""
STRANGERS: dict[str, dict[str, str]] = {
    "a page's POST": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "a page's POST by an old browser": {"Origin": "https://evil.example"},
    "a page's picture": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "a page of another port of this host": {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
    "a sandboxed frame": {"Origin": "null"},
    "a rebound name": {"Host": "evil.example:8080"},
    "a rebound name's page": {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    "a proxy": {"X-Forwarded-For": "203.0.113.9"},
}


def written(files: dict[str, Any]) -> dict[str, Any]:
    return {name: content for name, content in files.items() if name != "tenants.yaml"}


def asked(site: Site, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """Status and body, on a connection of its own; `Host` in `headers` is sent as it is."""
    there = httpx.URL(site.gateway.url)
    connection = http.client.HTTPConnection(there.host, there.port, timeout=10)
    try:
        connection.request(method, path, body or None, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("stranger", STRANGERS)
def test_nothing_that_is_described_answers_a_stranger(site: Site, stranger: str) -> None:
    """Every path and method of /openapi.json, so also those that will be added."""
    paths = site.http.get("/openapi.json").json()["paths"]
    assert {"/metrics", "/v1/models", "/v1/gateway/jobs", "/v1/videos/{id}/content", "/admin/v1/status"} <= set(paths)
    answered = {
        path
        for path, methods in paths.items()
        for method in methods
        if asked(site, method.upper(), path.replace("{", "").replace("}", ""), STRANGERS[stranger])[0] not in (401, 403)
    }
    assert answered == OPEN & set(paths)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_no_generation_begins_for_a_stranger(site: Site, stranger: str) -> None:
    text = json.dumps(chat_body("chat")).encode()
    for path in PATHS:
        for sent, body in ((SIMPLE_TEXT, text), (SIMPLE_FORM, FORM)):
            method, more = ("GET", UPGRADE) if path == "/v1/realtime" else ("POST", sent)
            status, answer = asked(
                site, method, path, {**more, **STRANGERS[stranger]}, b"" if more is UPGRADE else body
            )
            assert status == 401, (path, answer)
            assert b"tenants.yaml" in answer, "and it says what to do"
    assert site.fleet.requests("chat-1") == []


def test_the_same_doors_are_open_to_programs_of_this_host(site: Site) -> None:
    text = json.dumps(chat_body("chat")).encode()
    assert asked(site, "POST", "/v1/chat/completions", {"Content-Type": "application/json"}, text)[0] == 200
    for path in ("/v1/audio/transcriptions", "/v1/images/edits"):
        assert asked(site, "POST", path, SIMPLE_FORM, FORM)[0] in (400, 404), "read, and found wanting"
    for own in ({}, {"Origin": site.gateway.url}):  # as websocket-client sends it
        assert b"model_not_found" in asked(site, "GET", "/v1/realtime?model=none", {**UPGRADE, **own})[1]
    for path in ("/v1/models", "/v1/models/chat", "/v1/gateway/jobs", "/v1/videos", "/metrics", "/admin/v1/status"):
        assert asked(site, "GET", path, {})[0] == 200, path
    port = httpx.URL(site.gateway.url).port
    assert asked(site, "GET", "/v1/models", {"Host": f"localhost:{port}"})[0] == 200


def test_probes_are_answered_by_any_name(site: Site) -> None:
    for path in ("/healthz", "/readyz", "/health"):
        for sent in STRANGERS.values():
            assert asked(site, "GET", path, sent)[0] == 200


def test_official_sdks_need_no_key(site: Site) -> None:
    with site.sdk(key="none") as openai, site.anthropic_sdk(key="none") as anthropic:
        said = openai.chat.completions.create(**chat_body("chat"))
        assert said.choices[0].message.content
        chunks = list(openai.chat.completions.create(**chat_body("chat"), stream=True))
        assert chunks[-1].choices[0].finish_reason
        assert [model.id for model in openai.models.list()] == ["chat"]
        assert anthropic.messages.create(**chat_body("chat")).content

"""What browsers are told: no page of another site reads an answer, none frames the operators' pages."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from gateway.edge.middleware import GUARDS
from loadtests.stack import DEMO_POLICIES, start_gateway

ORIGIN = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
OPERATORS = ("/metrics", "/openapi.json", "/docs", "/admin/v1/status", "/admin/v1/nowhere")
CALLERS = ("/healthz", "/readyz", "/v1/models", "/v1/nowhere")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        start_gateway(DEMO_POLICIES, tmp_path_factory.mktemp("browsers")) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=10) as client,
    ):
        yield client


@pytest.mark.parametrize("path", [*OPERATORS, *CALLERS, "/v1/chat/completions", "/v1/gateway/jobs"])
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
def test_nothing_is_shared_with_other_origins(http: httpx.Client, path: str, method: str) -> None:
    answer = http.request(method, path, headers=ORIGIN)
    assert [name for name in answer.headers if name.startswith("access-control-")] == []
    if method == "OPTIONS":
        assert answer.status_code in (401, 404, 405), "a preflight is refused"


@pytest.mark.parametrize("path", OPERATORS)
def test_operators_pages_are_guarded(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    for name, value in GUARDS:
        told = answer.headers.get_list(name.decode())
        assert len(told) == 1, (name, told)
        assert value.decode() in told[0]


@pytest.mark.parametrize("path", CALLERS)
def test_callers_answers_carry_none_of_it(http: httpx.Client, path: str) -> None:
    assert "content-security-policy" not in http.get(path).headers

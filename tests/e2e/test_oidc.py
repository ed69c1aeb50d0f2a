"""Tokens of a real issuer on loopback, sent to a real gateway."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.issuer import Issuer, issuing
from tests.gateways import Lane, Site, chat_body, eventually, serve

LANES = [Lane("chat", cloud=False)]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as made:
        yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("site"), LANES, {"GATEWAY_ADMIN_KEY": "admin-key-of-the-tests"}) as running:
        trust(running.folder, issuer)
        eventually(lambda: ask(running, issuer.token()).status_code == 200, "that the issuer is trusted")
        yield running


def trust(folder: Path, issuer: Issuer) -> None:
    file = folder / "tenants.yaml"
    file.write_text(json.dumps({**json.loads(file.read_text()), "oidc": [issuer.policy()]}))


def ask(site: Site, token: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return site.http.post("/v1/chat/completions", json=chat_body("chat", **more), headers=headers)


@pytest.mark.parametrize("signer", [0, 1])
def test_a_token_is_its_tenant_and_its_receipt_names_its_subject(site: Site, issuer: Issuer, signer: int) -> None:
    token = issuer.token(signer, sub="alice@example.com")
    answer = ask(site, token)
    assert answer.status_code == 200, answer.text
    assert site.receipt(answer, token)["tenant"] == "acme"


def test_the_official_client_sends_a_token_as_it_sends_a_key(site: Site, issuer: Issuer) -> None:
    with site.sdk(issuer.token()) as client:
        assert client.chat.completions.create(**chat_body("chat")).choices
    with site.sdk(issuer.token(exp=time.time() - 600)) as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(**chat_body("chat"))
    assert refused.value.code == "key_expired"


@pytest.mark.parametrize(
    ("claims", "status", "code"),
    [
        ({"models": ["other-*"]}, 403, "model_not_allowed"),
        ({"aud": "another"}, 401, "invalid_key"),
        ({"org": "nobody"}, 401, "invalid_key"),
        ({"residency": "atlantis"}, 401, "invalid_key"),
        ({"exp": 1}, 401, "key_expired"),
        ({"more": "x" * 9000}, 401, "invalid_key"),
    ],
)
def test_what_is_refused(site: Site, issuer: Issuer, claims: dict[str, Any], status: int, code: str) -> None:
    token = issuer.token(**claims)
    answer = ask(site, token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert token.split(".")[1] not in answer.text + site.logged()


def test_operators_see_whose_tokens_are_taken(site: Site) -> None:
    headers = {"Authorization": "Bearer admin-key-of-the-tests"}
    told = site.http.get("/admin/v1/keys", headers=headers).json()["issuers"]
    assert told == [{"issuer": "corp", "keys": 2, "fault": None}]

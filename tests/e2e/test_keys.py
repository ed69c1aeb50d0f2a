"""Keys that are made at run time: the admin API over HTTP, the commands as processes, two gateways on one store."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.money.keys import hash_key
from loadtests.stack import start_gateway
from tests.commands import ran
from tests.gateways import KEY, PEPPER, Lane, Site, chat_body, eventually

ADMIN = "admin-key-of-the-tests"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
LANES = [Lane("chat", cloud=False)]
ENV = {"GATEWAY_ADMIN_KEY": ADMIN}


class Admin:
    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url, self.http = url, http

    def __call__(self, method: str, path: str = "", body: Any = None) -> httpx.Response:
        return self.http.request(method, f"{self.url}/admin/v1/keys{path}", json=body, headers=AS_ADMIN)

    def make(self, id: str, **more: Any) -> str:
        answer = self("POST", body={"tenant": "acme", "id": id, **more})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["key"])

    def ask(self, key: str, **headers: str) -> httpx.Response:
        return self.http.post(
            f"{self.url}/v1/chat/completions",
            json=chat_body("chat"),
            headers={"Authorization": f"Bearer {key}", **headers},
        )


@pytest.fixture
def admin(site: Site) -> Admin:
    return Admin(site.gateway.url, site.http)


@pytest.fixture
def second(site: Site, tmp_path: Path) -> Iterator[Admin]:
    """Another replica: of the same folder, on the same store."""
    env = {**ENV, "GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_REDIS_URL": f"unix://{site.data / 'store.sock'}"}
    with start_gateway(site.folder, tmp_path, env=env, log=tmp_path / "second.log") as gateway:
        yield Admin(gateway.url, site.http)


def test_a_key_opens_what_its_terms_say(admin: Admin) -> None:
    key = admin.make("terms", models="chat", priority="batch", tags=["ci"], limits={"requests_per_minute": 100})
    assert admin.ask(key).status_code == 200
    shown = admin("GET", "/terms").json()
    assert (shown["tenant"], shown["source"], shown["state"], shown["priority"]) == (
        "acme",
        "run time",
        "active",
        "batch",
    )
    assert [quota["cap"] for quota in shown["quotas"]] == [100]
    narrow = admin.make("narrow", models=["other-*"])
    refused = admin.ask(narrow)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")


def test_the_limits_of_a_key_hold_beside_those_of_its_tenant(admin: Admin) -> None:
    key, free = admin.make("bounded", limits={"requests_per_day": 2}), admin.make("unbounded")
    assert [admin.ask(one).status_code for one in (key, key, key, free)] == [200, 200, 429, 200]
    rotated = admin("POST", "/bounded/rotate").json()["key"]
    refused = admin.ask(rotated)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited"), "the same key, so spent"
    told = admin.http.get(f"{admin.url}/admin/v1/budgets", headers=AS_ADMIN).json()["budgets"]
    assert [one["used"] for one in told if one["name"] == "key acme/bounded: requests_per_day"] == [2]


def test_the_list_is_one_and_never_tells_a_secret(admin: Admin) -> None:
    key = admin.make("listed")
    answer = admin("GET")
    rows = {row["id"]: row["source"] for row in answer.json()["keys"]}
    assert rows["listed"] == "run time"
    assert rows[hash_key(PEPPER, KEY)[:12]] == "tenants.yaml"
    assert key not in answer.text
    assert hash_key(PEPPER, key) not in answer.text
    assert hash_key(PEPPER, KEY) not in answer.text
    of_one = admin.http.get(f"{admin.url}/admin/v1/keys", params={"tenant": "other"}, headers=AS_ADMIN).json()["keys"]
    assert {row["tenant"] for row in of_one} == {"other"}


def test_a_key_made_at_one_replica_opens_at_the_other_and_is_revoked_there_within_a_second(
    admin: Admin, second: Admin
) -> None:
    key = admin.make("shared")
    eventually(lambda: second.ask(key).status_code == 200, "the key at the other replica", 1.0)
    revoked = second("DELETE", "/shared")
    began = time.monotonic()
    assert revoked.json()["state"] == "revoked"
    assert second.ask(key).status_code == 401
    eventually(lambda: admin.ask(key).status_code == 401, "that it is revoked at the first one", 1.0)
    assert time.monotonic() - began < 1.0
    assert "revoked" in admin.ask(key).json()["error"]["message"]
    assert admin("DELETE", "/shared").json()["state"] == "revoked", "once more changes nothing"


def test_a_rotated_key_has_two_secrets_for_a_while(admin: Admin) -> None:
    first = admin.make("rotated")
    told = admin("POST", "/rotated/rotate", {"grace_s": 3600}).json()
    assert [admin.ask(key).status_code for key in (first, told["key"])] == [200, 200]
    assert told["old_until"] > time.time() + 3500
    at_once = admin("POST", "/rotated/rotate", {"grace_s": 0}).json()
    assert [admin.ask(key).status_code for key in (first, told["key"], at_once["key"])] == [401, 401, 200]
    assert admin.ask(told["key"]).json()["error"]["code"] == "key_expired"


def test_a_key_past_its_end_says_so(admin: Admin) -> None:
    until = time.time() + 1.0
    key = admin.make("brief", expires=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until + 1)))
    assert admin.ask(key).status_code == 200
    answer = eventually(lambda: (found := admin.ask(key)).status_code == 401 and found, "its end")
    assert answer.json()["error"]["code"] == "key_expired"
    assert admin("GET", "/brief").json()["state"] == "expired"
    assert admin("POST", "/brief/rotate").status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "", {"tenant": "nobody"}, 404, "not_found"),
        ("POST", "", {"tenant": "acme", "residency": "atlantis"}, 400, "invalid_request"),
        ("POST", "", {"tenant": "acme", "expires": "2020-01-01T00:00:00Z"}, 400, "invalid_request"),
        ("POST", "", {"tenant": "acme", "id": hash_key(PEPPER, KEY)[:12]}, 409, "key_conflict"),
        ("POST", "", {"tenant": "acme", "colour": "red"}, 400, "invalid_request"),
        ("POST", "", {"tenant": "acme", "tags": ["'; DROP TABLE attempts"]}, 400, "invalid_request"),
        ("POST", "", {"tenant": "acme", "id": "x" * 70_000}, 413, "request_too_large"),
        ("GET", "/nobody", None, 404, "not_found"),
        ("DELETE", "/nobody", None, 404, "not_found"),
        ("DELETE", f"/{hash_key(PEPPER, KEY)[:12]}", None, 409, "key_conflict"),
        ("POST", "/nobody/rotate", {"grace_s": -1}, 400, "invalid_request"),
        ("POST", "/nobody/rotate", {"grace_s": "x"}, 400, "invalid_request"),
    ],
)
def test_what_is_refused(admin: Admin, method: str, path: str, body: Any, status: int, code: str) -> None:
    answer = admin(method, path, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_no_tenants_key_and_no_stranger_makes_keys(site: Site) -> None:
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"Authorization": ""}):
        for method in ("GET", "POST"):
            answer = site.http.request(method, "/admin/v1/keys", json={"tenant": "acme"}, headers=headers)
            assert answer.status_code == 401


def keys(site: Site, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {"GATEWAY_URL": site.gateway.url, "GATEWAY_ADMIN_KEY": ADMIN, "GATEWAY_KEY_PEPPER": PEPPER, **env}
    return ran("keys", *words, env={**os.environ, **given})


def test_the_commands(site: Site, admin: Admin) -> None:
    terms = ("--models", "chat", "--priority", "standard", "--tag", "nightly", "--expires", "30d")
    counts = ("--requests-per-minute", "60", "--usd-per-month", "12.5")
    made = keys(site, "new", "--tenant", "acme", "--id", "night", *terms, *counts)
    assert made.returncode == 0, made.stderr
    first = made.stdout.split()[1]
    assert admin.ask(first).status_code == 200
    listed = keys(site, "list", "--tenant", "acme")
    assert [line.split()[:4] for line in listed.stdout.splitlines() if line.startswith("night")] == [
        ["night", "acme", "run", "time"]
    ]
    shown = json.loads(keys(site, "show", "night").stdout)
    assert {(quota["unit"], quota["cap"], quota["per"]) for quota in shown["quotas"]} == {
        ("requests", 60, "minute"),
        ("usd", 12_500_000, "month"),
    }
    rotated = keys(site, "rotate", "night", "--grace", "0s").stdout.split()[1]
    assert [admin.ask(key).status_code for key in (first, rotated)] == [401, 200]
    assert keys(site, "revoke", "night").returncode == 0
    assert admin.ask(rotated).status_code == 401
    told = json.loads(keys(site, "list", "--json").stdout)
    assert next(row["state"] for row in told["keys"] if row["id"] == "night") == "revoked"
    for said in (listed.stdout, json.dumps(shown), json.dumps(told)):
        assert first not in said
        assert rotated not in said


def test_the_commands_say_what_is_wrong(site: Site) -> None:
    assert "no tenant `nobody`" in keys(site, "new", "--tenant", "nobody").stderr
    assert keys(site, "show", "nobody").returncode == 1
    never = keys(site, "new", "--tenant", "acme", "--expires", "tomorrow")
    assert (never.returncode, "such as 2030-01-01T00:00:00Z, or 12h or 30d from now" in never.stderr) == (2, True)
    assert keys(site, "rotate", "nobody", "--grace", "soon").returncode == 2
    assert keys(site, "list", GATEWAY_ADMIN_KEY="wrong-admin-key-wrong").returncode == 1
    without = keys(site, "list", GATEWAY_ADMIN_KEY="")
    assert (without.returncode, "no gateway answers" in without.stderr) == (1, False)


def test_a_key_for_the_folder_is_made_without_a_gateway(site: Site) -> None:
    made = keys(site, "hash", GATEWAY_URL="http://127.0.0.1:1")
    _, key, _, hashed = made.stdout.split()
    assert hash_key(PEPPER, key) == hashed
    assert keys(site, "hash", GATEWAY_KEY_PEPPER="").returncode == 2


def test_a_tenant_that_leaves_the_folder_takes_its_keys_along(site: Site, admin: Admin) -> None:
    """The last test of the module: it changes the folder."""
    file = site.folder / "tenants.yaml"
    tenants = json.loads(file.read_text())
    tenants["tenants"].append({"name": "guest"})
    file.write_text(json.dumps(tenants))
    eventually(lambda: admin("POST", body={"tenant": "guest", "id": "g"}).status_code == 201, "the new tenant")
    key = admin("POST", "/g/rotate").json()["key"]
    assert admin.ask(key).status_code == 200
    file.write_text(json.dumps({"tenants": tenants["tenants"][:-1]}))
    refused = eventually(lambda: (found := admin.ask(key)).status_code == 401 and found, "that it is gone")
    assert "tenant of this key is gone" in refused.json()["error"]["message"]
    row = admin("GET", "/g").json()
    assert (row["state"], row["why"]) == ("refused", "the tenant of this key is gone")

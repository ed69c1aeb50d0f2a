"""The rendered container is run: its environment parses, it serves where probes ask, follows its ConfigMap, ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings, load_settings
from tests.helm.pod import environment, free_port, project, started
from tests.helm.rendering import install
from tests.helm.settings_schema import OWNED, is_secret, variable
from tests.helm.values import POLICIES, SEVERAL, joined

DEFAULTS: dict[str, Any] = {
    name: field.default
    for name, field in Settings.model_fields.items()
    if not is_secret(name) and name not in OWNED and field.default is not None
}


def parsed(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Settings:
    monkeypatch.chdir(folder)
    for name, text in env.items():
        monkeypatch.setenv(name, text)
    return load_settings()


def test_every_setting_arrives_as_it_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A number that YAML makes a float, a truth, a text: each is what it would be without the chart."""
    written = {variable(name): value for name, value in DEFAULTS.items() if value != ""}
    container = install(joined(POLICIES, {"settings": written})).container
    env = environment(container, {}, Path())
    known = {variable(name) for name in Settings.model_fields}
    assert {name for name in env if name.startswith("GATEWAY_")} <= known
    settings = parsed(env, monkeypatch, tmp_path)
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert (settings.host, settings.port, settings.admin_port, settings.grace_seconds) == ("0.0.0.0", 8080, 9090, 300)


def test_secrets_arrive_by_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"redis-url": "redis://valkey:6379", "ledger-url": "postgresql://db/x", "admin-key": "a" * 32, "pepper": "p"}
    settings = parsed(environment(install(SEVERAL).container, told, Path()), monkeypatch, tmp_path)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == told["redis-url"]
    assert settings.ledger_url is not None
    assert settings.ledger_url.get_secret_value() == told["ledger-url"]
    assert settings.key_pepper.get_secret_value() == "p"


def test_the_container_serves_follows_its_config_map_and_ends(tmp_path: Path) -> None:
    http, admin = free_port(), free_port()
    claims = {name: {"existingClaim": name} for name in ("audit", "artefacts")}
    rendered = install(joined(POLICIES, claims, {"ports": {"http": http, "admin": admin}}))
    files = POLICIES["policies"]
    with started(rendered.pod, files, tmp_path) as pod:
        probes = {name: rendered.container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness")}
        pod.wait(lambda: pod.ask(http, probes["startup"])[0] == 200)
        assert pod.ask(http, probes["readiness"])[0] in (200, 503)
        assert pod.ask(admin, "/metrics")[0] == 200
        assert pod.ask(http, "/metrics")[0] == 404

        def models() -> list[str]:
            return [one["id"] for one in json.loads(pod.ask(http, "/v1/models")[1])["data"]]

        assert models() == ["m"]
        assert (pod.mounts["audit"] / "pod-1").is_dir()
        renamed = files["models.yaml"].replace("name: m,", "name: renamed,")
        project(pod.mounts["policies"], files | {"models.yaml": renamed}, 2)
        pod.wait(lambda: models() == ["renamed"])
        # the signal itself, once all is done: uvicorn raises it again
        assert pod.end(rendered.pod["terminationGracePeriodSeconds"]) == 0

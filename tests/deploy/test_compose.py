"""docker-compose.yml: what it refers to is there, what it promises holds for each service. `make image-test` holds it
against the schema of Compose files; tests/deploy/test_stack.py runs its services as processes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway import __version__
from gateway.settings import Settings
from ops.compose.prepare import contents
from tests.deploy.written import ROOT, compose, environment, seconds, stages

FILE = compose()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
GATEWAYS = ("gateway-1", "gateway-2")
USUAL_USER = {"prometheus", "grafana", "collector"}
"""Their images are of a user of their own, by number."""
each = pytest.mark.parametrize("name", sorted(SERVICES))


def names(listed: Any) -> list[str]:
    """Of secrets, configs and volumes, in their short or long form."""
    return [one["source"] if isinstance(one, dict) else one.split(":")[0] for one in listed or []]


@each
def test_it_is_closed_in(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "network_mode", "userns_mode", "devices"}
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    if name in OURS:
        assert "user" not in service  # the image's own
    elif name not in USUAL_USER:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])


@each
def test_its_image_is_pinned_and_has_no_registry(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert "." not in image.split("/")[0]
    assert re.match(r"v?\d+", tag), image
    if name in OURS:
        assert tag == __version__
        assert SERVICES[name]["build"]["target"] in {stage.name for stage in stages()}


@each
def test_what_it_refers_to_is_there(name: str) -> None:
    service = SERVICES[name]
    for kind in ("secrets", "configs"):
        assert set(names(service.get(kind))) <= set(FILE[kind]), kind
    assert set(service["networks"]) <= set(FILE["networks"])
    for volume in names(service.get("volumes")):
        assert volume in FILE["volumes"] or (ROOT / volume).is_dir(), volume


@pytest.mark.parametrize("kind", ["secrets", "configs", "volumes", "networks"])
def test_nothing_is_declared_in_vain(kind: str) -> None:
    used = {name for service in SERVICES.values() for name in names(service.get(kind))}
    assert set(FILE[kind]) <= used


def test_secrets_are_the_files_that_are_prepared() -> None:
    written = {f"./ops/compose/secrets/{name}" for name in contents()}
    assert {secret["file"] for secret in FILE["secrets"].values()} | {"./ops/compose/secrets/load.env"} == written
    for name, config in FILE["configs"].items():
        assert (ROOT / config["file"]).is_file(), name
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"ops/compose/secrets/", "ops/compose/policies/tenants.yaml"} <= set(ignored)


def test_no_secret_stands_in_the_file() -> None:
    env = {key: value for service in SERVICES.values() for key, value in service.get("environment", {}).items()}
    told = {key for key in env if re.search("KEY|TOKEN|SECRET|PASSWORD|PEPPER|URL", key)}
    assert all(key.upper().endswith(("FILE", "DIR")) for key in told), told
    assert not any("@" in str(value) for value in env.values())


@each
def test_who_is_waited_for_can_be_healthy_and_runs_in_the_same_profile(name: str) -> None:
    mine = set(SERVICES[name].get("profiles", []))
    for other, terms in SERVICES[name].get("depends_on", {}).items():
        assert terms["condition"] == "service_healthy"
        assert "healthcheck" in SERVICES[other] or other in GATEWAYS  # these have their image's
        theirs = set(SERVICES[other].get("profiles", []))
        assert not theirs or theirs == mine or terms["required"] is False, other


def test_what_has_no_healthcheck_is_known() -> None:
    without = {name for name, service in SERVICES.items() if "healthcheck" not in service}
    assert without == {*GATEWAYS, "collector"}
    assert next(stage for stage in stages() if stage.name == "gateway").all("HEALTHCHECK")


@each
def test_what_is_published_is_on_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port
    if "ports" in SERVICES[name]:  # a container of internal networks alone cannot publish anything
        assert any(not (FILE["networks"][one] or {}).get("internal") for one in SERVICES[name]["networks"])


def test_published_ports_differ() -> None:
    published = [port.rsplit(":", 1)[0] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(set(published)) == len(published)


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_is_given_settings_that_it_knows_and_takes(name: str) -> None:
    given = environment("gateway") | SERVICES[name]["environment"]
    ours = {key.removeprefix("GATEWAY_").lower(): value for key, value in given.items() if key.startswith("GATEWAY_")}
    assert set(ours) <= set(Settings.model_fields)
    settings = Settings.model_validate({key: value for key, value in ours.items() if key != "secrets_dir"})
    needed = settings.leave_seconds + settings.grace_seconds + 5
    assert seconds(SERVICES[name]["stop_grace_period"]) == needed
    assert seconds(SERVICES["balancer"]["stop_grace_period"]) >= needed
    for secret in SERVICES[name]["secrets"]:
        assert secret == "provider_key" or secret.removeprefix("GATEWAY_").lower() in Settings.model_fields
    mounted = {volume.split(":")[1] for volume in SERVICES[name]["volumes"]}
    for path in (settings.policies, settings.data_dir, settings.artefacts):
        assert any(str(path) == mount or str(path).startswith(f"{mount}/") for mount in mounted), path


def test_replicas_are_alike_but_for_what_is_their_own() -> None:
    one, two = ({**SERVICES[name]} for name in GATEWAYS)
    assert one.pop("ports", None)
    mine, theirs = set(one.pop("volumes")), set(two.pop("volumes"))
    assert (mine - theirs, theirs - mine) == ({"gateway-1:/var/lib/gateway"}, {"gateway-2:/var/lib/gateway"})
    assert one == two


def test_the_profiles() -> None:
    told: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for profile in service.get("profiles", ["always"]):
            told.setdefault(profile, set()).add(name)
    assert told == {
        "always": {"balancer", "gateway-1", "gateway-2", "valkey", "postgres"},
        "demo": {"simfleet", "simproviders"},
        "observability": {"prometheus", "grafana", "collector"},
        "load": {"locust"},
    }

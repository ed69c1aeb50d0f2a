"""Every setting, metric, error and store key is named in the docs, and the docs name none that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.policy.compile import compile_folder
from gateway.settings import Settings
from gateway.telemetry import FLEET_GAUGES, Telemetry

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def tree(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield error
    for child in error.__subclasses__():
        yield from tree(child)


def named(page: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, (DOCS / page).read_text()))


def test_settings() -> None:
    listed = set(re.findall(r"^\| `(GATEWAY_\w+)`", (DOCS / "settings.md").read_text(), re.M))
    assert listed == {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}


def test_errors() -> None:
    listed = set(re.findall(r"^\| (\d+) \| `(\w+)`", (DOCS / "errors.md").read_text(), re.M))
    assert listed == {(str(error.status), error.code) for error in tree(GatewayError)}


def test_metrics() -> None:
    listed = named("metrics.md", r"\| `(gateway_\w+)`")
    made = {family.name + ("_total" if family.type == "counter" else "") for family in Telemetry().collect()}
    assert listed == made | set(FLEET_GAUGES)


@pytest.mark.parametrize("path", sorted((ROOT / "gateway").rglob("*.lua")), ids=lambda path: path.name)
def test_store_keys(path: Path) -> None:
    """Every key that a script describes has its row in docs/store.md."""
    text = (DOCS / "store.md").read_text()
    for key in re.findall(r"KEYS\[\d\]\s+(gw:\S+)", path.read_text()):
        assert f"| `{key}` |" in text, key


@pytest.mark.parametrize("page", sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]), ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_shows_the_policy_that_is_there() -> None:
    version = compile_folder(ROOT / "policies" / "local-first", env=None).version
    assert f"version {version}" in (ROOT / "README.md").read_text()

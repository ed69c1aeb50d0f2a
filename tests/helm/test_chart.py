"""What can be said of the chart without the Helm engine: its schema, its settings, its alerts, its page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gateway import __version__
from gateway.cli.egress import egress
from tests.helm import settings_schema
from tests.helm.settings_schema import CHART, SCHEMA

ROOT = CHART.parents[1]
TEXT = SCHEMA.read_text()
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
OPEN = {"global"}
"""Keys that are not ours to bound."""
SUFFIXES = ("_bucket", "_sum", "_count")


def objects(shape: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object with named keys, and where it is."""
    if isinstance(shape, dict):
        if isinstance(shape.get("properties"), dict):
            yield at, shape
        for key, inner in shape.items():
            yield from objects(inner, f"{at}/{key}")
    elif isinstance(shape, list):
        for index, inner in enumerate(shape):
            yield from objects(inner, f"{at}/{index}")


def metrics_of(text: str) -> set[str]:
    names = set(re.findall(r"\bgateway_\w+", text))
    return {re.sub(f"({'|'.join(SUFFIXES)})$", "", name) for name in names}


def test_settings_and_secrets_are_those_of_the_gateway() -> None:
    schema = json.loads(TEXT)
    assert settings_schema.written(schema) == schema, "run: python -m tests.helm.settings_schema"


def test_no_key_is_passed_over_in_silence() -> None:
    loose = [at for at, shape in objects(json.loads(TEXT)) if shape.get("additionalProperties") is not False]
    assert loose == []


def shape_of(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    made = schema
    for key in path:
        made = made["properties"][key]
        if "$ref" in made:
            made = schema["$defs"][made["$ref"].rpartition("/")[2]]
    return made


def check_defaults(schema: dict[str, Any], values: dict[str, Any], path: tuple[str, ...] = ()) -> None:
    shape = shape_of(schema, path)
    if "properties" not in shape or (path and path[-1] in ("settings", "secrets", "affinity", "token")):
        return
    assert set(values) == set(shape["properties"]) - OPEN, path
    for key, value in values.items():
        if isinstance(value, dict) and "additionalProperties" in shape_of(schema, (*path, key)):
            check_defaults(schema, value, (*path, key))


def test_every_value_has_its_default_and_its_schema() -> None:
    check_defaults(json.loads(TEXT), VALUES)


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == __version__


def test_the_chart_holds_no_secret_and_makes_none() -> None:
    for path in (CHART / "templates").iterdir():
        assert not re.search(r"^kind: Secret$", path.read_text(), re.M), path.name


def test_alerts_are_whole_and_about_metrics_that_exist() -> None:
    text = (CHART / "files" / "alerts.yaml").read_text()
    listed = metrics_of((ROOT / "docs" / "metrics.md").read_text())
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"]
        recorded = {one["record"] for one in rules if "record" in one}
        assert metrics_of(rule["expr"]) - recorded <= listed, rule
        assert metrics_of(rule["expr"]) or recorded


def test_dashboards_are_about_metrics_that_exist() -> None:
    listed = metrics_of((ROOT / "docs" / "metrics.md").read_text())
    for path in (CHART / "files" / "dashboards").glob("*.json"):
        assert json.loads(path.read_text())["title"], path.name
        assert metrics_of(path.read_text()) <= listed, path.name


def test_the_scaler_counts_a_metric_that_exists() -> None:
    named = metrics_of((CHART / "templates" / "autoscaling.yaml").read_text())
    assert named == {"gateway_requests_in_flight"}
    assert named <= metrics_of((ROOT / "docs" / "metrics.md").read_text())


@pytest.mark.parametrize("folder", ["local-first", "air-gapped", "cost-saver"])
def test_what_gateway_egress_writes_are_values(folder: str) -> None:
    written = CliRunner().invoke(egress, [str(ROOT / "policies" / folder), "--format", "helm-values"]).stdout
    made = yaml.safe_load(written)
    assert set(made) <= set(VALUES)
    assert set(made["networkPolicy"]) <= set(VALUES["networkPolicy"])
    host = json.loads(TEXT)["$defs"]["host"]["properties"]
    assert all(set(row) <= set(host) for row in made["networkPolicy"]["managed"])


def test_the_page_tells_of_every_value() -> None:
    page = (ROOT / "docs" / "helm.md").read_text()
    told = {
        name.split(".")[0] for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"`([\w.]+)", row)
    }
    assert set(VALUES) <= told


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_without_a_new_python_the_target_says_so(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/helm.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    old = sys.executable if sys.version_info < (3, 12) else "/nonexistent/python"
    for python in (old, ""):
        ended = subprocess.run(
            ["make", "helm-test", f"HELM_PYTHON={python}"],
            cwd=tmp_path,
            env={"PATH": os.defpath},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 2
        assert "make helm-test needs Python 3.12 or newer" in ended.stderr
    assert not (tmp_path / ".venv-helm").exists()

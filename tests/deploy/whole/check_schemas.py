"""docker-compose.yml by the published schema of Compose files; every query by Prometheus' grammar."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

from tests.deploy.written import COMPOSE, ROOT

FILES = ROOT / "helm" / "gateway" / "files"
WINDOW = "$__rate_interval"
"""Grafana fills it in."""


def held(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_compose_file_is_one() -> None:
    said = held(COMPOSE)
    assert said.returncode == 0, said.stdout


def test_the_schema_would_say_no(tmp_path: Path) -> None:
    file = yaml.safe_load(COMPOSE.read_text())
    file["services"]["valkey"]["read_onyl"] = True
    (tmp_path / "docker-compose.yml").write_text(yaml.safe_dump(file))
    assert held(tmp_path / "docker-compose.yml").returncode == 1


def queries() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for path in sorted((FILES / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']} {target['refId']}", target["expr"].replace(WINDOW, "5m")


@pytest.mark.parametrize(("name", "query"), list(queries()))
def test_a_query_is_one(name: str, query: str) -> None:
    promql_parser.parse(query)

"""Every alert has its runbook and every runbook its alert; the dashboards are what ops/dashboards.py writes. That they
name metrics that exist is held in tests/helm."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from gateway.telemetry import BREAKER, FLEET_GAUGES, HEADROOM, UP, Telemetry
from ops.dashboards import BOARDS, FOLDER, RELEASE, Board, made, selected, written
from tests.deploy.written import ROOT
from tests.helm.settings_schema import CHART

GROUPS: list[dict[str, Any]] = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
SECTIONS = dict(re.findall(r"^## (Gateway\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS, re.M | re.S))
QUESTIONS = ("**Means**", "**Hurts**", "**Look at**", "**Do**")
LABELS = {"le", "instance", *RELEASE}
boards = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def test_names_are_given_once() -> None:
    assert len(ALERTS) == sum(len(group["rules"]) for group in GROUPS)
    assert len({group["name"] for group in GROUPS}) == len(GROUPS)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert list(SECTIONS) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_answers_the_four_questions(name: str) -> None:
    assert [word for word in QUESTIONS if word not in SECTIONS[name]] == []
    assert set(ALERTS[name]["annotations"]) == {"summary"}  # where the page is, the chart's values say
    assert f"`{ALERTS[name]['labels']['severity']}`" in SECTIONS[name]


def expressions() -> list[str]:
    panels = [target["expr"] for board in BOARDS for panel in made(board)["panels"] for target in panel["targets"]]
    return [*(rule["expr"] for rule in ALERTS.values()), *panels]


def test_labels_are_those_of_the_metrics() -> None:
    """A label that is misspelt makes an alert that never fires."""
    known: dict[str, set[str]] = {}
    for family in Telemetry()._instruments:
        known[family.name] = {*family.labels, *LABELS}
    known |= {name: {"backend", "upstream", *LABELS} for name in (*FLEET_GAUGES, UP.name, BREAKER.name, HEADROOM.name)}
    for expression in expressions():
        for metric, matched in re.findall(r"(gateway_\w+)\{([^}]*)\}", expression):
            found = known.get(re.sub("_(total|bucket)$", "", metric)) or known.get(metric)
            if found is not None:
                assert set(re.findall(r"(\w+)(?:=|!=)", matched)) <= found, expression


def test_values_that_are_matched_are_in_the_docs() -> None:
    docs = "".join((ROOT / "docs" / name).read_text() for name in ("metrics.md", "errors.md"))
    for expression in expressions():
        for values in re.findall(r'(?:outcome|code|basis|end|what|role)=~?"([^"]+)"', expression):
            for value in values.split("|"):
                assert f"`{value}`" in docs, (value, expression)


@boards
def test_a_dashboard_is_what_is_written(board: Board) -> None:
    assert (FOLDER / f"{board.name}.json").read_text() == written(board), "run: python -m ops.dashboards"


def test_there_is_no_other_dashboard() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {board.name for board in BOARDS}


@boards
def test_panels_have_places_of_their_own_in_the_grid(board: Board) -> None:
    page = json.loads(written(board))
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@boards
def test_every_query_is_about_one_release(board: Board) -> None:
    """Two releases under one Prometheus must not be one on a dashboard."""
    page = made(board)
    assert {*RELEASE} < {variable["name"] for variable in page["templating"]["list"]}
    for panel in page["panels"]:
        for target in panel["targets"]:
            metrics = re.findall(r"\bgateway_\w+", target["expr"])
            whose = re.findall(r'\bgateway_\w+\{namespace="\$namespace", job="\$job"[,}]', target["expr"])
            assert metrics, panel["title"]
            assert len(whose) == len(metrics), panel["title"]


def test_what_a_query_has_already_is_kept() -> None:
    assert selected('sum(rate(gateway_a_total{met="no"}[5m])) / max by (le) (gateway_b)') == (
        'sum(rate(gateway_a_total{namespace="$namespace", job="$job", met="no"}[5m]))'
        ' / max by (le) (gateway_b{namespace="$namespace", job="$job"})'
    )


def test_each_variable_is_chosen_under_those_before_it() -> None:
    _, namespace, job = made(BOARDS[0])["templating"]["list"]
    assert namespace["query"] == "label_values(gateway_processes{}, namespace)"
    assert job["query"] == 'label_values(gateway_processes{namespace="$namespace"}, job)'


def test_an_alert_tells_releases_apart() -> None:
    """What is summed keeps the labels of its release; what is not summed keeps all."""
    for name, rule in ALERTS.items():
        for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
            assert by.split(", ")[: len(RELEASE)] == [*RELEASE] or (name, by) == ("GatewayAbsent", ""), name
        assert len(re.findall(r"\b(?:sum|max|min|avg|count)\b *", rule["expr"])) == rule["expr"].count("by ("), name


def test_a_replica_is_missed_by_its_own_figures() -> None:
    """Under a job that other pods share, their deaths are no gateway's."""
    assert "on (namespace, job, instance) last_over_time(gateway_processes[1d])" in ALERTS["GatewayReplicaDown"]["expr"]


def test_what_is_gone_is_missed_for_a_day() -> None:
    """A shorter look back would end the alert while the release is still down."""
    looks = {name: re.findall(r"last_over_time\([^)]*\[(\w+)\]\)", rule["expr"]) for name, rule in ALERTS.items()}
    assert {name: found for name, found in looks.items() if found} == {
        "GatewayAbsent": ["1d"],
        "GatewayReplicaDown": ["1d"],
    }

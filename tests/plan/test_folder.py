"""The folder of a plan passes `gateway check` and `gateway test` as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.plan.answers import Answers
from gateway.plan.folder import files
from gateway.plan.making import plan
from gateway.policy.cases import load_cases
from gateway.policy.compile import compile_folder
from gateway.rehearsal.golden import judge

from .rows import ROWS, Row, said
from .test_properties import answers


def judged(folder: Path, given: Answers) -> list[str]:
    """The cases that fail. Raises PolicyFault where the folder does not compile."""
    for name, content in files(plan(given)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    policy = compile_folder(folder, {"GMI_API_KEY": "x"})
    cases = load_cases(folder, policy)
    assert len(cases) >= 2
    assert {rule.name for rule in policy.rules} <= {case.expect.rule for case in cases}
    return [f"{case.name}: {wrong}" for case in cases if (wrong := judge(policy, case).wrong)]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_of_every_row(row: Row, tmp_path: Path) -> None:
    assert judged(tmp_path, row.answers) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers())
def test_of_any_answers(tmp_path: Path, said: Answers) -> None:
    assert judged(tmp_path, said) == []


@pytest.mark.parametrize("zone", ["us", "own-site", "site", "de"])
def test_of_any_zone(zone: str, tmp_path: Path) -> None:
    for compliance in ("compliance", "localisation"):
        assert judged(tmp_path / compliance, said(tokens=50_000_000_000, compliance=compliance, zone=zone)) == []


def test_keys_are_never_written_out_and_media_stand_as_comments(tmp_path: Path) -> None:
    written = files(plan(ROWS["row-5-over-500m"].answers))
    assert '"${env:GMI_API_KEY}"' in written["backends.yaml"]
    assert "#  - name: gpt-image-2-generate" in written["models.yaml"]


def test_an_isolated_folder_buys_nothing() -> None:
    written = files(plan(ROWS["walk-3-eu-fine-tuned"].answers))
    assert "kind: managed" not in written["backends.yaml"]
    assert "within: [eu]" in written["backends.yaml"]
    assert "residency: eu" in written["routing.yaml"]
    assert "kind: H200, usd_per_hour: 2.60" in written["backends.yaml"]


def test_the_readme_names_the_command_that_makes_a_hash() -> None:
    assert "`gateway keys hash`" in files(plan(ROWS["row-5-over-500m"].answers))["README.md"]

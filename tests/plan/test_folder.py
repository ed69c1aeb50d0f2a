"""The folder of a plan passes `gateway check` and `gateway test` as it is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.plan.answers import Answers
from gateway.plan.folder import files
from gateway.plan.making import plan
from gateway.policy.cases import load_cases
from gateway.policy.compile import compile_folder
from gateway.policy.warnings import folder_warnings
from gateway.rehearsal.golden import judge

from .rows import DAY, ROWS, Row, said
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


def test_keys_are_never_written_out_and_media_are_served(tmp_path: Path) -> None:
    assert judged(tmp_path, ROWS["row-5-over-500m"].answers) == []
    assert '"${env:GMI_API_KEY}"' in (tmp_path / "backends.yaml").read_text()
    policy = compile_folder(tmp_path, {"GMI_API_KEY": "x"})
    picture = policy.models["picture"]
    assert (picture.modality, [one.name for one in picture.served_by]) == (
        "image",
        ["black-forest-labs/FLUX.1-schnell", "gpt-image-2-generate"],
    )
    assert [one.engine for one in policy.backends["image-h100"]] == ["vllm-omni"] * 4


def test_a_medium_that_is_cheaper_to_buy_has_no_worker(tmp_path: Path) -> None:
    assert judged(tmp_path, said(images=600_000_000, video_seconds=100)) == []
    policy = compile_folder(tmp_path, {"GMI_API_KEY": "x"})
    assert [one.backend for one in policy.models["film"].served_by] == ["gmi-media"]


def test_pictures_alone_may_spend_what_pictures_are_to_cost() -> None:
    """A fifth of 200 million at $0.006: $240,000 a month, $329 an hour, four times that at its peaks."""
    written = files(plan(ROWS["walk-2-200m-images"].answers))
    assert "name: chat" not in written["models.yaml"]
    assert "spill: {backends: [gmi-media], budget_usd_per_hour: 1316}" in written["routing.yaml"]
    assert "usd: 360000\n" in written["budgets.yaml"]


def test_an_hour_and_a_month_may_cost_what_the_overflow_is_to_cost(tmp_path: Path) -> None:
    """Of 40 billion tokens a fifth is bought at $0.40 per million: $3,200 a month, $4.38 an hour; of 20 million
    pictures at $0.006: $24,000 a month."""
    answers = said(tokens=40_000_000_000, images=20_000_000)
    assert judged(tmp_path, answers) == []
    assert "spill: {backends: [gmi], budget_usd_per_hour: 18}" in (tmp_path / "routing.yaml").read_text()
    peaks = files(plan(said(tokens=40_000_000_000, overflow_peak=Fraction(2))))
    assert "budget_usd_per_hour: 9}" in peaks["routing.yaml"]
    policy = compile_folder(tmp_path, {"GMI_API_KEY": "x"})
    assert [(one.name, one.cap, one.per, one.hard) for one in policy.quotas] == [
        ("budget bought", 40_800_000_000, "month", True)
    ]
    assert [str(one) for one in folder_warnings(tmp_path, DAY) if "default_output_cap" in str(one)] == []


def test_an_isolated_folder_buys_nothing() -> None:
    written = files(plan(ROWS["walk-3-eu-fine-tuned"].answers))
    assert "kind: managed" not in written["backends.yaml"]
    assert "budgets.yaml" not in written
    assert "within: [eu]" in written["backends.yaml"]
    assert "residency: eu" in written["routing.yaml"]
    assert "kind: H200, usd_per_hour: 2.60" in written["backends.yaml"]


def test_the_readme_names_the_command_that_makes_a_hash() -> None:
    assert "`gateway keys hash`" in files(plan(ROWS["row-5-over-500m"].answers))["README.md"]

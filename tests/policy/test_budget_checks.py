"""budgets.yaml: names that are not there, names that are taken, and budgets that surprise."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.model import NO_HOOK
from gateway.policy.warnings import folder_warnings

from .good import GOOD, compiled, faults_of

HEAD = "budgets:\n"
GOOD_ROW = "  - {name: all, usd: 10, per: day}\n"


def with_budgets(text: str) -> dict[str, str]:
    return {**GOOD, "budgets.yaml": HEAD + text}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("  - {name: a, usd: 1, per: day, models: [lama-*]}\n", "unknown model `lama-*`; did you mean `llama-*`?"),
        ("  - {name: a, usd: 1, per: day, backends: [gmx]}\n", "unknown backend `gmx`; did you mean `gmi`?"),
        (GOOD_ROW + "  - {name: all, usd: 1, per: month}\n", "`all` is taken by budgets[0].name"),
        (GOOD_ROW + "  - {name: All, usd: 1, per: month}\n", "names must differ in more than case"),
        ("  - {name: a, usd: 1, per: day, webhook: ftp://x/y}\n", "budgets[0].webhook"),
        ("  - {name: a, usd: 0.0000004, per: day}\n", "budgets[0].usd: must be at least 0.000001"),
        (
            "  - {name: a, usd: 1, per: day, webhook: 'https://user:pw@hooks.example.com/x'}\n",
            "budgets[0].webhook: must be an address such as https://hooks.example.com/money, without user and password",
        ),
        ("  - {name: a, usd: 1, per: week}\n", "budgets[0].per"),
        ("  - {name: a, usd: 0, per: day}\n", "budgets[0].usd"),
        ("  - {name: a, usd: 1, per: day, warn_at: [0]}\n", "budgets[0].warn_at"),
    ],
)
def test_a_fault(text: str, fault: str) -> None:
    (found,) = faults_of(with_budgets(text))
    assert found.startswith("budgets.yaml:")
    assert fault in found


def test_a_good_one_is_a_quota() -> None:
    row = "  - {name: video, usd: 0.1, per: month, models: ['llama-*'], backends: [gmi], pipelines: [clip-*]}\n"
    (quota,) = compiled(with_budgets(row)).quotas
    assert (quota.name, quota.cap, quota.per, quota.warn_at) == ("budget video", 100_000, "month", (50, 80, 100))


def warned(files: dict[str, str], folder: Path) -> list[str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return [str(warning) for warning in folder_warnings(folder)]


def test_a_model_that_nobody_bounds_is_told_of(tmp_path: Path) -> None:
    said = "under budget `all`, requests without a cap of their own are not bought"
    assert warned(with_budgets(GOOD_ROW), tmp_path) == [
        f"models.yaml:2:11: models[0].name: has no `default_output_cap`: {said}"
    ]


@pytest.mark.parametrize("row", ["hard: false", "backends: [h100], local: true, hard: false"])
def test_a_soft_one_buys_without_a_bound(tmp_path: Path, row: str) -> None:
    assert warned(with_budgets(f"  - {{name: all, usd: 10, per: day, {row}}}\n"), tmp_path) == []


def test_a_capped_model_is_fine(tmp_path: Path) -> None:
    files = with_budgets(GOOD_ROW)
    files["models.yaml"] = files["models.yaml"].replace("modality: text", "default_output_cap: 900")
    assert warned(files, tmp_path) == []


def test_a_tenants_budget_counts_too(tmp_path: Path) -> None:
    files = dict(GOOD)
    files["tenants.yaml"] += "    budgets: [{usd: 5, per: day}]\n"
    (said,) = warned(files, tmp_path)
    assert "under the budget of tenant `acme`" in said


def test_local_work_that_does_not_count(tmp_path: Path) -> None:
    (said,) = warned(with_budgets("  - {name: a, usd: 1, per: day, backends: [h100], hard: false}\n"), tmp_path)
    assert "`h100` is local, and its work counts only with `local: true`" in said


TENANTS = "tenants:\n  - name: acme\n    webhook: "


def test_a_tenants_webhook_has_its_secret_by_reference() -> None:
    text = TENANTS + "{url: 'https://hooks.example.com/jobs', secret: '${env:API_KEY}'}\n"
    hook = compiled({**GOOD, "tenants.yaml": text}).tenants["acme"].hook
    assert hook.url == "https://hooks.example.com/jobs"
    assert hook.secret
    assert hook.secret not in repr(hook)
    assert compiled({**GOOD, "tenants.yaml": "tenants: [{name: acme}]\n"}).tenants["acme"].hook == NO_HOOK


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{secret: plain}\n", "tenants[0].webhook.secret: write ${env:NAME} or ${file:PATH}"),
        ("{secret: '${env:NOWHERE}'}\n", "tenants[0].webhook.secret: environment variable NOWHERE is not set"),
        ("{url: 'ftp://x/y'}\n", "tenants[0].webhook.url"),
    ],
)
def test_a_fault_of_a_webhook(text: str, fault: str) -> None:
    (found,) = faults_of({**GOOD, "tenants.yaml": TENANTS + text})
    assert fault in found

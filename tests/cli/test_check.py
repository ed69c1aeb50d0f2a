"""`gateway check`: what it prints where, and how it exits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.check import check
from gateway.policy.compile import compile_folder

LOCAL_FIRST = Path(__file__).parents[2] / "policies" / "local-first"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LOCAL_FIRST, tmp_path / "mine"))


def run(*arguments: object, key: str | None = None) -> Result:
    return CliRunner().invoke(check, [str(argument) for argument in arguments], env={"GMI_API_KEY": key})


def test_a_good_folder(folder: Path) -> None:
    version = compile_folder(folder, env=None).version
    result = run(folder, key="x")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"ok: {folder}: 2 backends, 5 upstreams, 1 model, 2 rules, version {version}\n"


def test_a_missing_secret_is_a_warning(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 0
    assert result.stdout.startswith("ok: ")
    assert result.stderr == (
        "warning: backends.yaml:25:65: backends[1].upstreams[0].key: "
        "environment variable GMI_API_KEY is not set; set it, or name another one\n"
    )


def test_a_rule_that_flagged_requests_meet_by_the_way_is_a_warning(folder: Path) -> None:
    routing = folder / "routing.yaml"
    routing.write_text(routing.read_text().replace("{residency: any}", "{residency: any, stream: true}"))
    result = run(folder, key="x")
    assert (result.exit_code, result.stdout[:3]) == (0, "ok:")
    assert result.stderr.startswith("warning: routing.yaml:")
    assert "a request with `X-Data-Residency: " in result.stderr
    assert "never goes to `gmi`" in result.stderr


def test_unless_strict(folder: Path) -> None:
    result = run("--strict", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("backends.yaml:25:65: ")
    assert run("--strict", folder, key="x").exit_code == 0


def test_faults_of_policy_and_cases_one_a_line(folder: Path) -> None:
    for file, old, new in (
        ("routing.yaml", "limit: learned", "limit: 8"),
        ("cases/spill.yaml", "load: 0.2", "load: -1"),
    ):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    result = run(folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "routing.yaml:24:14: rules[1].route.limit: must be one of `learned`, `fixed`",
        "cases/spill.yaml:10:72: cases[1].fleet.h100-3.load: must be at least 0",
    ]


def test_no_such_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", LOCAL_FIRST / "routing.yaml"):
        result = run(path)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{path}: no such folder\n")

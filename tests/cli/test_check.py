"""`gateway check`: what it prints where, and how it exits."""

from __future__ import annotations

import json
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
        "routing.yaml:27:14: rules[1].route.limit: must be one of `learned`, `fixed`",
        "cases/spill.yaml:10:72: cases[1].fleet.h100-3.load: must be at least 0",
    ]


def test_no_such_folder(tmp_path: Path) -> None:
    file = LOCAL_FIRST / "routing.yaml"
    for path, said in ((tmp_path / "nowhere", "no such folder"), (file, "is a file; give its folder")):
        result = run(path)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{path}: {said}\n")


def test_json(folder: Path) -> None:
    warned = json.loads(run("--json", folder).stdout)
    assert (warned["ok"], warned["faults"]) == (True, [])
    assert warned["warnings"][0] == {
        "file": "backends.yaml",
        "line": 25,
        "column": 65,
        "path": "backends[1].upstreams[0].key",
        "text": "environment variable GMI_API_KEY is not set; set it, or name another one",
    }
    (folder / "tenants.yaml").write_text('"a: b": 1\ntenants: []\n')
    result = run("--json", folder)
    told = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, told["ok"], told["version"]) == (1, "", False, None)
    assert [(row["line"], row["path"], row["text"][:11]) for row in told["faults"]] == [
        (1, '"a: b"', "unknown key"),
        (2, "tenants", "must have a"),
    ]


def test_a_warning_keeps_nothing_from_taking_effect(folder: Path) -> None:
    text = (folder / "routing.yaml").read_text()
    (folder / "routing.yaml").write_text(text.replace("rules:", "named:\n  spare: {attempts: 2}\nrules:", 1))
    result = run(folder, key="x")
    assert result.exit_code == 0
    assert result.stderr == "warning: routing.yaml:4:3: named.spare: no rule uses it\n"

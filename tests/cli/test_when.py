"""A folder whose rules look at the very request and at the fleet, through `gateway check` and `gateway test`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.check import check
from gateway.cli.test import test as cases_command

LOCAL_FIRST = Path(__file__).parents[2] / "policies" / "local-first"
ROUTING = """\
rules:
  - name: batch-when-busy
    match:
      when: |
        fleet.load > 0.6 && request.priority == "batch" ||
        "x-bulk" in request.headers    // whatever the load
    route: {backends: [h100], max_wait: 60s}
  - name: long
    match: {prompt_tokens: {min: 2000}}
    route: {backends: [gmi]}
  - name: cheap-search
    match:
      headers: {X-Team: "search-*"}
      when: backend.gmi.price_usd < 0.001 && !has(fleet.gpu_util)
    route: {backends: [gmi]}
  - name: rest
    route: {backends: [h100], spill: {backends: [gmi]}}
"""
REQUEST = (
    "path: /v1/chat/completions, body: {model: llama-3.3-70b, max_tokens: 100, messages: [{role: user, content: %s}]}"
)
SHORT, LONG = REQUEST % "hi", REQUEST % ("x" * 9000)
BUSY = "{h100-1: {load: 0.9}, h100-2: {load: 0.9}, h100-3: {load: 0.9}, h100-4: {load: 0.9}}"
CASES = f"""\
cases:
  - name: batch under load waits at home
    request: {{headers: {{X-Gateway-Priority: batch}}, {SHORT}}}
    fleet: {BUSY}
    expect: {{rule: batch-when-busy}}
  - name: batch on an idle fleet is like any other
    request: {{headers: {{X-Gateway-Priority: batch}}, {SHORT}}}
    expect: {{rule: rest}}
  - name: others do not care
    request: {{{SHORT}}}
    fleet: {BUSY}
    expect: {{rule: rest}}
  - name: bulk says so itself
    request: {{headers: {{X-BULK: "1"}}, {SHORT}}}
    expect: {{rule: batch-when-busy}}
  - name: long prompts are bought
    request: {{{LONG}}}
    expect: {{rule: long, outcome: managed}}
  - name: search buys what is cheap
    request: {{headers: {{x-team: search-eu}}, {SHORT}}}
    expect: {{rule: cheap-search, backend: gmi}}
  - name: not where the GPUs tell
    request: {{headers: {{x-team: search-eu}}, {SHORT}}}
    fleet: {{h100-1: {{gpu: 0.1}}}}
    expect: {{rule: rest}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Path(shutil.copytree(LOCAL_FIRST, tmp_path / "mine"))
    (made / "routing.yaml").write_text(ROUTING)
    shutil.rmtree(made / "cases")
    (made / "cases").mkdir()
    (made / "cases" / "spill.yaml").write_text(CASES)
    return made


def run_cases(folder: Path) -> Result:
    return CliRunner().invoke(cases_command, [str(folder)])


def test_golden_cases_see_the_conditions(folder: Path) -> None:
    result = run_cases(folder)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert "7" in result.stdout


def test_a_case_that_expects_another_rule_fails(folder: Path) -> None:
    (folder / "cases" / "spill.yaml").write_text(CASES.replace("rule: long,", "rule: rest,"))
    assert run_cases(folder).exit_code == 1


def test_a_fault_is_placed_inside_the_expression(folder: Path) -> None:
    (folder / "routing.yaml").write_text(ROUTING.replace("request.priority", "request.prioritie"))
    result = CliRunner().invoke(check, [str(folder)], env={"GMI_API_KEY": "x"})
    assert result.exit_code == 1
    said = "rules[0].match.when: `request` has no field `prioritie`; did you mean `priority`?"
    assert f"routing.yaml:5:37: {said}" in result.stderr

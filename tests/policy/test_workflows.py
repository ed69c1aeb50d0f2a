"""The workflow templates that models.yaml names, and the hosts of results: what is no good, and how an edit shows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import PolicyFault
from gateway.model import Policy
from gateway.policy.compile import compile_folder
from gateway.policy.live import LivePolicy

from .good import ENV, GOOD, faults_of

GRAPH: dict[str, Any] = {"1": {"class_type": "Text", "inputs": {"text": "{{prompt}}", "steps": "{{steps:20}}"}}}


def named(workflow: str) -> dict[str, str]:
    here = "as: meta-llama/Llama-3.3-70B-Instruct"
    text = GOOD["models.yaml"].replace(here, f"{here}, workflow: {workflow}")
    return {**GOOD, "models.yaml": text}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "good.json").write_text(json.dumps(GRAPH))
    (tmp_path / "text.json").write_text("no such thing")
    (tmp_path / "mute.json").write_text(json.dumps({"1": {"class_type": "T", "inputs": {"text": "a cat"}}}))
    (tmp_path / "huge.json").write_bytes(b" " * ((1 << 20) + 1))
    os.mkfifo(tmp_path / "pipe.json")
    write(tmp_path, "flows/good.json")
    return tmp_path


def write(folder: Path, workflow: str) -> None:
    for name, text in named(workflow).items():
        (folder / name).write_text(text)


def steps(policy: Policy) -> object:
    workflow = policy.models["llama-3.3-70b"].served_by[0].workflow
    assert workflow is not None
    return workflow.filled({"prompt": "x"})["1"]["inputs"]["steps"]


def test_a_template_belongs_to_its_backend(folder: Path) -> None:
    policy = compile_folder(folder, ENV)
    assert steps(policy) == 20
    assert policy.models["llama-3.3-70b"].served_by[1].workflow is None
    assert steps(compile_folder(folder, env=None)) == 20


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        ("nowhere.json", "is missing; the path is relative to the policy folder"),
        ("flows", "is missing; the path is relative to the policy folder"),
        ("pipe.json", "is missing; the path is relative to the policy folder"),
        ("../good.json", "must lie in the policy folder: a relative path without `..`"),
        ("/etc/passwd", "must lie in the policy folder: a relative path without `..`"),
        ("huge.json", "is longer than 1048576 bytes"),
        ("text.json", "is not JSON; save the workflow in API format"),
        ("mute.json", "has no place for the prompt: write {{prompt}} where its text belongs"),
    ],
)
def test_a_template_that_is_no_good(folder: Path, workflow: str, said: str) -> None:
    write(folder, workflow)
    with pytest.raises(PolicyFault) as caught:
        compile_folder(folder, ENV)
    (fault,) = caught.value.faults
    assert fault.startswith("models.yaml:5:")
    assert fault.endswith(f"models[0].served_by[0].workflow: {said}")


async def test_an_edit_of_a_template_takes_effect_by_itself(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    assert not await live.poll()
    (folder / "flows" / "good.json").write_text(json.dumps(GRAPH).replace("steps:20", "steps:4"))
    assert await live.poll()
    assert steps(live.current) == 4
    (folder / "flows" / "good.json").write_text("torn")
    assert not await live.poll()
    assert steps(live.current) == 4


def with_hosts(said: str) -> str:
    line = "    dialect: openai\n"
    return GOOD["backends.yaml"].replace(line, f"{line}    artefact_hosts: {said}\n")


@pytest.mark.parametrize("hosts", ["*", "http://a", "a/b", "*.*.a", "a*"])
def test_hosts_of_results_are_names_or_all_below_one(hosts: str) -> None:
    text = GOOD["backends.yaml"].replace(
        "    dialect: openai\n", f"    dialect: openai\n    artefact_hosts: ['{hosts}']\n"
    )
    (fault,) = faults_of({**GOOD, "backends.yaml": text}, env=ENV)
    assert "artefact_hosts" in fault


def test_hosts_of_results_are_the_accounts(folder: Path) -> None:
    text = GOOD["backends.yaml"].replace(
        "    dialect: openai\n", "    dialect: openai\n    artefact_hosts: '*.a.example'\n"
    )
    (folder / "backends.yaml").write_text(text)
    assert compile_folder(folder, ENV).upstreams["gmi"].artefact_hosts == ("*.a.example",)

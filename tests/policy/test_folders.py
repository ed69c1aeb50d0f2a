"""The ready-made folders, and the published schemas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.check import check
from gateway.cli.test import test as golden
from gateway.model import Threshold
from gateway.policy.case_schema import CasesFile
from gateway.policy.cases import load_cases
from gateway.policy.compile import compile_folder
from gateway.policy.jsonschema import main, schemas
from gateway.policy.schema import FILES
from gateway.policy.source import parse
from gateway.policy.validate import shape_faults
from loadtests.model.policies.mix import PATTERNS

from .good import compiled

POLICIES = Path(__file__).parents[2] / "policies"
FOLDERS = sorted(path.parent for path in POLICIES.glob("*/routing.yaml"))
READY_MADE = [folder for folder in FOLDERS if folder.name != "demo"]


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_every_folder_compiles_with_its_cases(folder: Path) -> None:
    load_cases(folder, compile_folder(folder, env=None))


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_every_folder_checks_and_passes_its_cases(folder: Path) -> None:
    for command in (check, golden):
        done = CliRunner().invoke(command, [str(folder)])
        assert done.exit_code == 0, done.output
    assert " 0 failed" in done.output


@pytest.mark.parametrize("folder", READY_MADE, ids=[folder.name for folder in READY_MADE])
def test_a_ready_made_folder_says_for_whom_and_shows_every_rule(folder: Path) -> None:
    assert (folder / "routing.yaml").read_text(encoding="utf-8").splitlines()[1].startswith("# For ")
    policy = compile_folder(folder, env=None)
    cases = load_cases(folder, policy)
    assert 5 <= len(cases) <= 15
    assert {rule.name for rule in policy.rules} <= {case.expect.rule for case in cases}
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert "To make it yours" in page
    assert "Not for you if" in page
    figures = page.partition("<!-- figures -->")[2].partition("<!-- /figures -->")[0]
    assert all(f"| {pattern.name} |" in figures for pattern in PATTERNS), "run: make policy-model"
    assert "of which 0 left." in figures


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_every_file_names_its_schema(folder: Path) -> None:
    for file in folder.rglob("*.yaml"):
        first = file.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (file.parent / first.partition("=")[2]).resolve().is_file()


def test_local_first_spills_chat_and_keeps_flagged_requests() -> None:
    policy = compile_folder(POLICIES / "local-first", {"GMI_API_KEY": "x"})
    assert [upstream.name for upstream in policy.backends["h100"]] == ["h100-1", "h100-2", "h100-3", "h100-4"]
    assert policy.upstreams["gmi"].key == "x"
    flagged, chat = policy.rules
    assert (flagged.match.residency, flagged.backends, flagged.spill, flagged.max_wait) == (
        "any",
        ("h100",),
        None,
        20.0,
    )
    assert chat.spill is not None
    assert (chat.spill.backends, chat.spill.when, chat.max_wait) == (("gmi",), (), 0.0)


def test_the_commented_rule_of_local_first_works_when_uncommented() -> None:
    files = {file.name: file.read_text(encoding="utf-8") for file in (POLICIES / "local-first").glob("*.yaml")}
    lines = files["routing.yaml"].splitlines()
    start = lines.index("  # - name: chat-by-readings")
    end = start + next(n for n, line in enumerate(lines[start:]) if not line.startswith("  # "))
    lines[start:end] = [line.replace("# ", "", 1) for line in lines[start:end]]
    files["routing.yaml"] = "\n".join(lines)
    policy = compiled(files, env=None)
    by_readings = policy.rules[1]
    assert (by_readings.name, by_readings.backends) == ("chat-by-readings", ("h100",))
    assert by_readings.spill is not None
    assert by_readings.spill.when == (
        Threshold("queue_depth", above=True, inclusive=False, value=8.0),
        Threshold("gpu_util", above=True, inclusive=False, value=0.95),
    )


def test_the_demo_runs_on_loopback_with_its_public_key() -> None:
    policy = compile_folder(POLICIES / "demo", {})
    assert policy.simulated
    assert policy.keys == {"demo": policy.tenants["demo"]}
    assert all("//127.0.0.1:" in upstream.url for upstream in policy.upstreams.values())
    assert [upstream.gpus for upstream in policy.backends["h100"]] == [(0,), (1,), (2,), (3,)]
    assert policy.upstreams["cloud"].key


def test_published_schemas_are_current() -> None:
    published = {file.name: file.read_text(encoding="utf-8") for file in (POLICIES / "schema").glob("*.json")}
    assert published == schemas(), "run: python -m gateway.policy.jsonschema policies/schema"


def test_every_key_of_the_language_is_explained() -> None:
    """Editors show descriptions; a key without one says nothing to whoever writes a policy."""
    for name, text in schemas().items():
        schema = json.loads(text)
        for part, shape in {name: schema, **schema["$defs"]}.items():
            assert shape["description"], part
            assert shape["additionalProperties"] is False
            assert [key for key, held in shape["properties"].items() if not held.get("description")] == [], part


def test_editors_complete_what_is_one_of_a_few() -> None:
    route = json.loads(schemas()["routing.json"])["$defs"]["RouteIn"]["properties"]
    assert {"enum": ["cost", "latency"]} in route["objective"]["anyOf"]
    assert route["picker"]["enum"] == ["best", "weighted_random", "power_of_two"]
    assert route["max_wait"]["anyOf"][0]["examples"] == ["500ms", "20s", "2m"]


KIND = {"backends": "backends.yaml", "models": "models.yaml", "routing": "routing.yaml", "tenants": "tenants.yaml"}


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_every_file_has_the_shape_that_its_schema_line_names(folder: Path) -> None:
    for file in folder.rglob("*.yaml"):
        schema = Path(file.read_text(encoding="utf-8").splitlines()[0].partition("=")[2]).stem
        shape = CasesFile if schema == "cases" else FILES[KIND[schema]]
        assert (schema == "cases") is (file.parent.name == "cases")
        assert shape_faults(parse(file.name, file.read_bytes()), shape) == []


def test_the_generator_writes_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.policy.jsonschema", tmp_path], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == schemas()
    assert main([]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2

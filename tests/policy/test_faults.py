"""Every way to get a folder wrong, and the exact line that says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .good import GOOD, HASH, MODELS, changed, faults_of

B, M, R, T = "backends.yaml", "models.yaml", "routing.yaml", "tenants.yaml"
LINE = re.compile(r"[\w./-]+:[1-9]\d*:[1-9]\d*: \S.*?: \S.*")

BROKEN: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("broken.yaml").read_text(encoding="utf-8").replace("<HASH>", HASH)
)

UNREADABLE: list[tuple[str | bytes, str]] = [
    ("", "1:1: (file): is empty; it must have `models:`"),
    ("# only a comment\n", "1:1: (file): is empty; it must have `models:`"),
    ("models:\n\t- name: x\n", "2:1: (file): begins with a tab; YAML is indented with spaces"),
    ("- 1", "1:1: (file): must be a mapping of keys to values"),
    ("models: {}", "1:9: models: must be a list"),
    ("models: []", "1:9: models: must have at least one entry"),
    ("models: 2024-99-99", "1:9: models: must be a list"),
    ("models: !!int x", "1:9: models: cannot be read as a value; put text in quotes"),
    (f"{MODELS}7: 1\n", "7:1: (file): keys must be text; put this one in quotes"),
    (f"{MODELS}x: 0x{'f' * 9000}\n", "7:4: x: is a number too large to mean anything here"),
    (f"{MODELS}---\nmodels: []\n", "7:1: (file): holds more than one document; keep one"),
    (f"{MODELS}  - {'[' * 100}", "7:35: (file): is nested deeper than 32 levels"),
    (
        "models: &a [*a, *a]",
        "1:9: (file): anchors and aliases are not part of the policy language; write the value out",
    ),
    (
        "models: *a",
        "1:9: (file): aliases are not part of the policy language; put a value that begins with `*` in quotes",
    ),
    ("models: [", "2:1: (file): is not valid YAML: did not find expected node content"),
    (b"models:\n  - \xff", "2:5: (file): is not UTF-8; save it as UTF-8 text"),
    (b"models:\n  - \0", "2:5: (file): is not valid YAML: it holds a character that is not allowed"),
    (b"#" * (1 << 20) + b"\n", "1:1: (file): is larger than 1 MiB; split or shorten it"),
]
"""The bytes of models.yaml, and one of the faults that follow."""


def test_the_good_folder_has_no_fault() -> None:
    assert faults_of(GOOD) == []


@pytest.mark.parametrize("row", BROKEN, ids=[row["new"].strip()[:40] or row["old"].strip()[:40] for row in BROKEN])
def test_broken_place(row: dict[str, Any]) -> None:
    lines = faults_of(changed(row["in"], row["old"], row["new"]))
    assert lines == row["faults"]
    assert all(LINE.fullmatch(line) for line in lines)


@pytest.mark.parametrize(("raw", "line"), UNREADABLE, ids=[row[1] for row in UNREADABLE])
def test_unreadable_file(raw: str | bytes, line: str) -> None:
    assert f"models.yaml:{line}" in faults_of({**GOOD, M: raw})


@pytest.mark.parametrize("file", [B, M, R])
def test_a_required_file_that_is_missing(file: str) -> None:
    assert faults_of({name: text for name, text in GOOD.items() if name != file}) == [
        f"{file}:1:1: (file): is missing; every folder needs it"
    ]


def test_a_misspelt_file_is_not_ignored() -> None:
    """`tenant.yaml` taken for nothing would leave the gateway without keys."""
    said = "tenant.yaml:1:1: (file): is not a file of the policy language; did you mean `tenants.yaml`?"
    assert faults_of({**GOOD, "tenant.yaml": GOOD[T]}) == [said]


def test_all_faults_of_all_files_come_at_once_in_order() -> None:
    files = {
        B: GOOD[B].replace("engine: vllm", "engin: vllm").replace("max_num_seqs: 128", "max_num_seqs: -1"),
        M: GOOD[M].replace("backend: gmi", "backend: gmu"),
        R: GOOD[R].replace("max_wait: 20s", "max_wait: soon").replace("local, eu", "mars"),
        T: GOOD[T].replace("residency: eu", "residency: [eu]"),
    }
    places = [line.split(": ")[0] for line in faults_of(files)]
    assert places == [
        "backends.yaml:13:9",
        "backends.yaml:18:23",
        "models.yaml:6:19",
        "routing.yaml:7:23",
        "routing.yaml:19:37",
        "tenants.yaml:5:16",
    ]


def test_a_fault_in_one_object_causes_no_echo_in_others() -> None:
    """Models, rules and tenants refer to what is broken; only the broken place is named."""
    files = {
        **GOOD,
        B: GOOD[B].replace("zone: fra", "zone: [fra]"),
        M: GOOD[M].replace("modality: text", "modality: 3"),
    }
    assert [line.split(": ")[1] for line in faults_of(files)] == ["backends[0].zone", "models[0].modality"]


def test_a_fault_in_defaults_is_told_once() -> None:
    files = changed(R, "  backends: [h100]\n  timeouts", "  backends: [h1000]\n  timeouts")
    assert faults_of(files) == [
        "routing.yaml:2:14: defaults.backends[0]: unknown backend `h1000`; did you mean `h100`?"
    ]


def test_a_key_with_control_characters_stays_on_one_line() -> None:
    lines = faults_of({**GOOD, T: '"a\\nb\\x1b": 1\n' + GOOD[T]})
    assert lines == [r"tenants.yaml:1:1: a\nb\x1b: unknown key `a\nb\x1b`; known here: oidc, tenants"]


def test_a_list_of_what_is_known_is_short_and_on_one_line() -> None:
    odd = "".join(f'  - {{name: "b\\n{number}"}}\n' for number in range(20))
    lines = faults_of({**changed(R, "  backends: [h100]\n", "  backends: [zzz]\n"), B: GOOD[B] + odd})
    assert all(LINE.fullmatch(line) for line in lines)
    (line,) = [line for line in lines if "unknown backend `zzz`" in line]
    assert "known here: " in line
    assert re.search(r" and \d\d more$", line)
    assert r"b\n" in line


def test_a_rule_with_one_wrong_key_still_tells_the_others() -> None:
    files = changed(R, "attempts: 2", "atempts: 2, backends: [h1000], fallback: [nobody]")
    lines = faults_of(files)
    assert any("unknown key `atempts`" in line for line in lines)
    assert [line.split("unknown backend ")[1] for line in lines if "unknown backend" in line] == [
        "`h1000`; did you mean `h100`?",
        "`nobody`; known here: gmi, h100",
    ]


@pytest.mark.parametrize(
    ("page", "source", "said"),
    [
        ("http://{host}:9400/metrics", "{dns: w.internal, port: 8000}", None),
        ("http://exporter:9400/metrics", "{service: ml/llama}", None),
        ("http://exporter:9400/metrics", "{dns: w.internal, port: 8000}", "must have {host} as its host"),
        ("http://gpu/{host}", "{dns: w.internal, port: 8000}", "may have {host} as its host only"),
        ("http://{host}:9400/{host}", "{dns: w.internal, port: 8000}", "may have {host} as its host only"),
        ("{host}:9400", "{dns: w.internal, port: 8000}", "must begin with http://"),
    ],
)
def test_the_gpu_page_of_found_workers(page: str, source: str, said: str | None) -> None:
    more = f'    discover: {source}\n    worker: {{dcgm: "{page}", gpu_index: [0, 1]}}\n'
    lines = faults_of(changed(B, "    kind: local\n", f"    kind: local\n{more}"))
    assert len(lines) == (said is not None)
    assert all("backends[0].worker.dcgm: " + (said or "") in line for line in lines)


def test_the_gpus_of_found_workers_agree() -> None:
    more = "    discover: {service: ml/llama}\n    worker: {gpus: 3, gpu_index: [0, 1]}\n"
    (line,) = faults_of(changed(B, "    kind: local\n", f"    kind: local\n{more}"))
    assert "backends[0].worker.gpus: says 3 but `gpu_index` names 2" in line

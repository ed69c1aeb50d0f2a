"""Golden cases: read in order, refused where they name what the policy does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import PolicyFault
from gateway.policy.cases import load_cases

from .good import compiled

CASE = """\
cases:
  - name: a full fleet spills
    request: {path: /v1/chat/completions, headers: {X-Gateway-Priority: batch}, body: {model: llama-3.3-70b, n: 2}}
    fleet: {h100-1: {load: 1.05, running: 3, waiting: 9, kv: 0.5, gpu: 0.97, age: 500ms}, h100-2: {healthy: false}}
    expect: {outcome: spilled, backend: gmi, upstream: gmi, reason: slo_limit, rule: chat, status: 200}
"""
BROKEN = [
    ("h100-2:", "h100-3:", "4:99: cases[0].fleet.h100-3: unknown upstream `h100-3`; did you mean `h100-2`?"),
    ("backend: gmi", "backend: gmu", "5:41: cases[0].expect.backend: unknown backend `gmu`; did you mean `gmi`?"),
    ("path: /v1/chat/completions", "path: v1/chat/completions",
     "3:21: cases[0].request.path: must be a path that begins with `/`, such as /v1/chat/completions"),
    ("rule: chat", "rule: chut", "5:86: cases[0].expect.rule: unknown rule `chut`; did you mean `chat`?"),
    ("rule: chat", "version: v9", "5:89: cases[0].expect.version: unknown version `v9`; known here: none"),
    ("outcome: spilled", "outcome: spilt",
     "5:23: cases[0].expect.outcome: unknown value `spilt`; did you mean `spilled`?"),
    ("load: 1.05", "laod: 1.05", "4:22: cases[0].fleet.h100-1.laod: unknown key `laod`; did you mean `load`?"),
    ("body: {model", "tenant: acne, body: {model",
     "3:89: cases[0].request.tenant: unknown tenant `acne`; did you mean `acme`?"),
    ("kv: 0.5", "kv: 50", "4:62: cases[0].fleet.h100-1.kv: must be at most 1; write 0.5 for 50 %"),
    ("body: {model: llama-3.3-70b, n: 2}", "body: hi",
     "3:87: cases[0].request.body: must be a mapping of keys to values"),
    ("{outcome: spilled, backend: gmi, upstream: gmi, reason: slo_limit, rule: chat, status: 200}", "{}",
     "5:13: cases[0].expect: must expect something, such as `outcome: spilled`"),
]  # fmt: skip


def put(root: Path, **files: str) -> Path:
    (root / "cases").mkdir()
    for name, text in files.items():
        (root / "cases" / f"{name}.yaml").write_text(text)
    return root


def test_cases_come_in_order_with_what_they_say(tmp_path: Path) -> None:
    put(tmp_path, b=CASE, a=CASE.replace("a full", "another full"))
    another, full = load_cases(tmp_path, compiled())
    assert (another.name, full.name) == ("another full fleet spills", "a full fleet spills")
    assert full.request.headers == {"X-Gateway-Priority": "batch"}
    assert full.request.body == {"model": "llama-3.3-70b", "n": 2}
    assert (full.fleet["h100-1"].load, full.fleet["h100-1"].age, full.fleet["h100-1"].healthy) == (1.05, 0.5, True)
    assert not full.fleet["h100-2"].healthy
    assert full.expect.outcome == "spilled"


def test_a_folder_without_cases_has_none(tmp_path: Path) -> None:
    assert load_cases(tmp_path, compiled()) == ()


@pytest.mark.parametrize(("old", "new", "line"), BROKEN, ids=[row[1] for row in BROKEN])
def test_broken_cases(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert CASE.count(old) == 1
    put(tmp_path, a=CASE.replace(old, new))
    with pytest.raises(PolicyFault) as caught:
        load_cases(tmp_path, compiled())
    assert caught.value.faults == (f"cases/a.yaml:{line}",)


def test_without_a_policy_names_are_not_judged(tmp_path: Path) -> None:
    assert len(load_cases(put(tmp_path, a=CASE.replace("rule: chat", "rule: x")), None)) == 1

"""Whatever a folder holds: `gateway check` says what to do about it, and the policy in force stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.check import check
from gateway.policy.live import LivePolicy

from .good import ENV, GOOD, MODELS

M = "models.yaml"


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """models.yaml becomes something else."""

    def spoil(folder: Path) -> None:
        (folder / M).unlink()
        make(folder / M)

    return spoil


def holding(raw: bytes) -> Callable[[Path], None]:
    return replaced(lambda path: path.write_bytes(raw))


def bomb() -> bytes:
    """A billion laughs."""
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)]
    return b"\n".join(lines)


BAD: list[tuple[Callable[[Path], None], str]] = [
    (holding(b""), "1:1: (file): is empty; it must have `models:`"),
    (holding(b" \n\n# nothing\n"), "1:1: (file): is empty; it must have `models:`"),
    (holding(b"#" * 10_000_000), "1:1: (file): is larger than 1 MiB; split or shorten it"),
    (holding(bomb()), "1:5: (file): anchors and aliases are not part of the policy language; write the value out"),
    (holding(b"a: " + b"[" * 5000), "1:35: (file): is nested deeper than 32 levels"),
    (holding(MODELS.encode("utf-16")), "1:1: (file): is not UTF-8; save it as UTF-8 text"),
    (holding(MODELS.encode() + b"\xe9\n"), "7:1: (file): is not UTF-8; save it as UTF-8 text"),
    (holding(MODELS.encode() + b"\0"), "7:1: (file): is not valid YAML: it holds a character that is not allowed"),
    (holding(b"models:\n\t- name: x\n"), "2:1: (file): begins with a tab; YAML is indented with spaces"),
    (holding(b"\x1f\x8b\x08\0"), "1:2: (file): is not UTF-8; save it as UTF-8 text"),
    (replaced(os.mkfifo), "1:1: (file): is a pipe or a device; it must be a file"),
    (replaced(os.mkdir), "1:1: (file): is a folder; it must be a file"),
    (replaced(lambda path: path.symlink_to(M)), "1:1: (file): is a link that leads back to itself"),
    (replaced(lambda path: path.symlink_to("nowhere")), "1:1: (file): is a link that leads nowhere"),
    (replaced(lambda path: path.symlink_to("/dev/zero")), "1:1: (file): is a pipe or a device; it must be a file"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in GOOD.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("spoil", "line"), BAD, ids=[f"{n}-{row[1][11:40]}" for n, row in enumerate(BAD)])
async def test_bad_input(folder: Path, spoil: Callable[[Path], None], line: str) -> None:
    live = LivePolicy(folder, ENV)
    good = live.current
    spoil(folder)
    result = CliRunner().invoke(check, [str(folder)], env=ENV)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[0] == f"models.yaml:{line}"
    assert not await live.poll()
    assert live.current is good
    assert live.fault is not None
    assert live.fault[0] == f"models.yaml:{line}"


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbf" + MODELS.encode(), MODELS.replace("\n", "\r\n").encode()])
def test_what_editors_of_other_systems_add_is_no_fault(folder: Path, raw: bytes) -> None:
    (folder / M).write_bytes(raw)
    result = CliRunner().invoke(check, [str(folder)], env=ENV)
    assert (result.exit_code, result.stderr) == (0, "")


CASES: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("hi"), "cases:1:1: (file): must be a folder of YAML files"),
    (lambda path: (path.mkdir(), os.mkfifo(path / "x.yaml")), "cases/x.yaml:1:1: (file): is a pipe or a device"),
    (lambda path: (path.mkdir(), (path / "x.yaml").mkdir()), "cases/x.yaml:1:1: (file): is a folder"),
    (lambda path: (path.mkdir(), (path / "x.yaml").write_text("")), "cases/x.yaml:1:1: (file): is empty"),
    (lambda path: (path.mkdir(), (path / "x.yaml").write_bytes(bomb())), "cases/x.yaml:1:5: (file): anchors"),
]


@pytest.mark.parametrize(("spoil", "line"), CASES, ids=[row[1] for row in CASES])
def test_bad_cases(folder: Path, spoil: Callable[[Path], object], line: str) -> None:
    spoil(folder / "cases")
    result = CliRunner().invoke(check, [str(folder)], env=ENV)
    assert result.exit_code == 1
    assert result.stderr.startswith(line)

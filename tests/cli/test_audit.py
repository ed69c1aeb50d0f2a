"""`gateway audit verify` and `trim`: what they print, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.audit import audit
from tests.audit.folders import KEY, OWNERS, add, entries, seal, sealer

CHAIN = f"chain-{OWNERS[0]}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five entries, three of them sealed; its key lies beside it."""
    monkeypatch.delenv("GATEWAY_AUDIT_KEY", raising=False)
    (tmp_path / "audit.key").write_bytes(KEY)
    made = tmp_path / "audit"
    made.mkdir()
    chain, seals = entries(made, count=3), sealer(made)
    seal(seals, chain)
    add(chain, 2)
    chain.close()
    seals.close()
    return made


def run(*words: object) -> Result:
    return CliRunner().invoke(audit, [str(word) for word in words])


def test_what_is_whole(folder: Path) -> None:
    told = run("verify", folder)
    assert (told.exit_code, told.stdout) == (
        0,
        f"ok: {folder}: entries: 5, chains: 1, last seal: 1970-01-01T00:33:20Z, entries newer than it: 2\n",
    )


def test_what_is_not(folder: Path) -> None:
    path = folder / f"{CHAIN}.000001.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    told = run("verify", folder)
    said = f"{path.name}:2: line 3 is missing after it: seals-{OWNERS[0]}.000001.jsonl:1 sealed them\n"
    assert (told.exit_code, told.stderr, told.stdout) == (1, said, "")


def test_what_is_trimmed(folder: Path) -> None:
    told = run("trim", folder, "--before", "1970-01-01T00:16:42")
    assert (told.exit_code, told.stdout) == (0, f"{CHAIN}: removed up to line 2\nok: {folder}: chains trimmed: 1\n")
    assert run("verify", folder).stdout.startswith(f"ok: {folder}: entries: 3")


def test_another_key_and_none(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(b"x" * 32)
    assert run("verify", folder, "--key-file", other).exit_code == 1
    (tmp_path / "audit.key").rename(tmp_path / "elsewhere")
    assert run("verify", folder).exit_code == 2
    monkeypatch.setenv("GATEWAY_AUDIT_KEY", KEY.decode())
    assert run("verify", folder).exit_code == 0


def test_what_cannot_be_read_is_one_line(folder: Path, tmp_path: Path) -> None:
    (folder / "chain-00000000000c.000001.jsonl").mkdir()
    for words in (("verify", folder), ("trim", folder, "--before", "2020-01-01")):
        told = run(*words)
        assert (told.exit_code, told.stderr.splitlines()[-1].startswith("Error: ")) == (2, True)
        assert "Is a directory" in told.stderr
    (tmp_path / "audit.key").write_text("short")
    assert run("verify", folder).exit_code == 2


def test_seals_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.jsonl"
    for path in folder.glob("*.jsonl"):
        if path.name.startswith("seals-"):
            saved.write_bytes(path.read_bytes())
        path.unlink()
    assert run("verify", folder).stdout == f"ok: {folder}: entries: 0, chains: 0, last seal: never\n"
    told = run("verify", folder, "--seals", saved)
    assert told.exit_code == 1
    assert f"sealed 3 lines of {CHAIN}, and there is no such file" in told.stderr

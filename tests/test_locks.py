"""What is installed is pinned to the byte: every locked package has its hashes, and no lock says where to get it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "requirements"
LOCKS = sorted(FOLDER.glob("*.txt"))
ENTRY = re.compile(
    r"[a-z0-9][a-z0-9._-]*==[\w.!+-]+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+(\n    # .*)*\n", re.I
)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_line_is_pinned_and_hashed(path: Path) -> None:
    """Nothing is left over once all entries are taken out: no option, no address, no file, no open version."""
    text = path.read_text()
    assert ENTRY.findall(text)
    assert ENTRY.sub("", text) == ""


def versions(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.M):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("name", ["run", "test", "load", "image", "build"])
def test_what_is_audited_is_what_is_installed(name: str) -> None:
    """`make audit` reads dev.txt: every other set is part of it."""
    whole = versions(FOLDER / "dev.txt")
    assert all(some <= whole.get(package, set()) for package, some in versions(FOLDER / f"{name}.txt").items())


def test_the_tools_of_the_audit_are_not_beside_the_gateway() -> None:
    wanted = {line for line in (FOLDER / "audit.in").read_text().split("\n") if line and not line.startswith("#")}
    assert wanted <= set(versions(FOLDER / "audit.txt"))
    assert not any(wanted & set(versions(path)) for path in LOCKS if path.name != "audit.txt")

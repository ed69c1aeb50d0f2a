"""What the pages tell a reader to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
COMMENT: Final = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True)
class Typed:
    """`printed`: what the page says comes then, "" where it says nothing."""

    page: str
    command: str
    printed: str = ""

    def __str__(self) -> str:
        return f"{self.page}: {self.command}"


def of_console(page: str, text: str) -> Iterator[Typed]:
    for typed, printed in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
        yield Typed(page, bare(typed), printed)


def of_shell(page: str, text: str) -> Iterator[Typed]:
    for line in text.replace("\\\n", "").splitlines():
        if line.strip() and not line.startswith("#"):
            yield Typed(page, bare(line))


def bare(command: str) -> str:
    return COMMENT.sub("", command.replace("\\\n", "")).strip()


def typed_on(path: Path) -> Iterator[Typed]:
    """In the order of the page; a block without a language counts where it begins with a prompt."""
    page = path.relative_to(ROOT).as_posix()
    for kind, text in BLOCK.findall(path.read_text()):
        if kind == "console" or (not kind and text.startswith("$ ")) or (kind == "text" and text.startswith("$ ")):
            yield from of_console(page, text)
        elif kind in ("sh", "bash", "shell"):
            yield from of_shell(page, text)


def everything() -> list[Typed]:
    return [typed for path in PAGES for typed in typed_on(path)]

"""The page of a proof: what was asked of it, line by line whether it holds, and what it ran on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Line(Protocol):
    @property
    def what(self) -> str: ...
    @property
    def figure(self) -> str: ...
    @property
    def holds(self) -> bool: ...


def proof_page(
    name: str, title: str, note: str, asked: str, judged: Sequence[Line], whole: bool, about: Mapping[str, str]
) -> str:
    """`name`: its make target; `whole`: every line holds."""
    lines = [f"| {line.what} | {line.figure} | {'yes' if line.holds else '**no**'} |" for line in judged]
    where = [f"| {what} | {value} |" for what, value in about.items()]
    verdict = "every line holds" if whole else "not every line holds"
    return "\n".join(
        [
            f"# {title}",
            "",
            note,
            "",
            f"{asked}.",
            "",
            "| what | figure | holds |",
            "|---|---|---|",
            *lines,
            "",
            f"**{name}: {verdict}**",
            "",
            "| run | |",
            "|---|---|",
            *where,
            "",
        ]
    )

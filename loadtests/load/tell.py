"""What a run leaves: picture, report and JSON in its folder; tables and, last, the verdict on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.load import picture, report, tally
from loadtests.load.story import Story, notes

PICTURE, REPORT, RECORD = "picture.png", "report.html", "run.json"


class Run(msgspec.Struct, frozen=True):
    """The JSON file. The first side is the gateway under test, whose verdict the run's exit code is."""

    scenario: str
    verdict: str
    sides: tuple[Story, ...]


def tell(stories: Sequence[Story], folder: Path) -> None:
    first = stories[0]
    folder.mkdir(parents=True, exist_ok=True)
    record = Run(first.scenario, first.verdict.word, tuple(stories))
    (folder / RECORD).write_bytes(msgspec.json.encode(record))
    picture.draw(stories, folder / PICTURE)
    report.write(stories, folder / PICTURE, folder / REPORT)
    for side, story in zip(report.sides(stories), stories, strict=True):
        print(f"\n{side}" if side else "")
        _show(story)
    print(f"picture: {folder / PICTURE}; report: {folder / REPORT}; figures: {folder / RECORD}")
    print(first.verdict, flush=True)


def _show(story: Story) -> None:
    for what, rows in report.tables(story).items():
        print("\n".join(tally.columns(*tally.table(what, rows))), end="\n\n")
    print("\n".join(notes(story)))

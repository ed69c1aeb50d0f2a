"""docs/plan.md shows what is printed, and its table is the walk."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from gateway.plan.answers import MEDIA
from gateway.plan.decide import NAMES, decide
from gateway.plan.volume import HIGH_ABOVE, LOW_BELOW
from tests.test_docs import DOCS, printed_by

from .rows import said

PAGE = (DOCS / "plan.md").read_text()
VOLUMES = {"under 50 million": LOW_BELOW - 1, "50 to 500 million": LOW_BELOW, "over 500 million": HIGH_ABOVE + 1}


def test_the_example_is_what_is_printed(tmp_path: Path) -> None:
    (answers,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    (shown,) = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    (tmp_path / "answers.yaml").write_text(answers)
    typed = re.findall(r"^\$ (.*)\n((?:[^$].*\n|\n)*)", shown, re.M)
    assert len(typed) == 3
    for command, printed in typed:
        assert printed_by(command, tmp_path, GMI_API_KEY="x") == printed, command


def test_the_table_is_the_walk() -> None:
    """Every combination of answers is decided by the first row that fits, and as that row says."""
    section = PAGE.partition("\n## The walk\n")[2].partition("\n## ")[0]
    _, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*", section, re.M)]
    used = set()
    combinations = product((None, *MEDIA), ("none", "compliance", "localisation"), ("none", "some", "full"), VOLUMES)
    for fine_tuned, compliance, engineers, volume in combinations:
        told = {
            "fine_tuned": "no" if fine_tuned is None else "yes",
            "stays": "in a zone" if compliance == "localisation" else "no",
            "compliance": "yes" if compliance == "compliance" else "no",
            "engineers": engineers,
            "volume": volume,
        }
        index = next(
            i
            for i, row in enumerate(rows)
            if all(fits(cell, one) for cell, one in zip(row, told.values(), strict=False))
        )
        used.add(index)
        zone = "eu" if compliance == "localisation" else None
        answers = said(
            tokens=VOLUMES[volume], fine_tuned=fine_tuned, compliance=compliance, zone=zone, engineers=engineers
        )
        assert rows[index][-1].startswith(NAMES[decide(answers).architecture]), told
    assert used == set(range(len(rows)))


def fits(cell: str, answer: str) -> bool:
    return cell in ("", "any") or answer in cell.split(", ")

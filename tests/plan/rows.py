"""The guide's seven rows and the three walkthroughs as answers, and how their golden files are written anew.

`python -m tests.plan.rows` writes them; what changed is then read in the diff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from gateway.plan.answers import Answers
from gateway.plan.decide import Architecture
from gateway.plan.making import plan
from gateway.plan.report import data, text

GOLDEN = Path(__file__).parent / "golden"
DAY = date(2026, 11, 22)


class Row(NamedTuple):
    answers: Answers
    architecture: Architecture
    bought: tuple[str, ...] = ()
    """Models that it must start with."""
    gpus: tuple[str, ...] = ()
    """Kinds of GPU, one for each medium."""


def said(**answers: Any) -> Answers:
    return Answers(**{"today": DAY, "engineers": "some", **answers})


ROWS: Mapping[str, Row] = {
    "row-1-no-engineers": Row(
        said(engineers="none", images=4_000_000_000, video_seconds=1_000_000),
        "managed",
        ("gpt-image-2-generate", "veo-3.1-lite-generate-001"),
    ),
    "row-2-no-engineers-compliance": Row(
        said(engineers="none", images=50_000, video_seconds=2_000, compliance="compliance", zone="eu"),
        "private",
        ("gpt-image-2-generate", "veo-3.1-lite-generate-001"),
    ),
    "row-3-under-50m": Row(
        said(images=100_000, video_seconds=5_000), "managed", ("gpt-image-2-generate", "wan2.7-i2v")
    ),
    "row-4-50m-to-500m": Row(said(images=1_500_000), "evaluate", ("gpt-image-2-generate",), ("H100",)),
    "row-5-over-500m": Row(said(images=20_000_000, tokens=30_000_000_000), "hybrid", gpus=("H200", "H100")),
    "row-6-fine-tuned-small": Row(
        said(images=2_000_000, fine_tuned="image", model_gb=Fraction(24)), "self", gpus=("H100",)
    ),
    "row-6-fine-tuned-large": Row(
        said(tokens=2_000_000_000, fine_tuned="text", parameters_b=Fraction(50)), "self", gpus=("H200",)
    ),
    "row-7-localisation": Row(said(images=2_000_000, compliance="localisation", zone="de"), "isolated", gpus=("H200",)),
    "walk-1-few-developers": Row(
        said(engineers="none", team_size=4, images=20_000, video_seconds=3_000),
        "managed",
        ("gpt-image-2-generate", "veo-3.1-lite-generate-001"),
    ),
    "walk-2-200m-images": Row(
        said(team_size=8, images=200_000_000, h100_usd=Fraction(2), utilisation=Fraction("0.75")),
        "hybrid",
        ("gpt-image-2-generate",),
        ("H100",),
    ),
    "walk-3-eu-fine-tuned": Row(
        said(
            engineers="full",
            images=30_000_000,
            fine_tuned="image",
            model_gb=Fraction(34),
            compliance="localisation",
            zone="eu",
        ),
        "isolated",
        gpus=("H200",),
    ),
}


def printed(row: Row) -> tuple[str, str]:
    """The plan as text and as JSON."""
    made = plan(row.answers)
    return text(made), json.dumps(data(made), indent=2) + "\n"


def write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, row in ROWS.items():
        as_text, as_json = printed(row)
        (GOLDEN / f"{name}.txt").write_text(as_text)
        (GOLDEN / f"{name}.json").write_text(as_json)


if __name__ == "__main__":
    write()

"""What the catalogue says of a folder's bought models: where it is written, and what to use instead."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gateway.policy.card_checks import NOTICE, looked_up
from gateway.policy.pricing import Pricing
from gateway.policy.sources import read_sources
from gateway.policy.warnings import folder_warnings

from .good import GOOD, folder

TODAY = date(2026, 11, 22)
BACKENDS = """\
zones: {us: {}}
backends:
  - {name: openai, kind: managed, zone: us, upstreams: [{name: a, url: "https://api.openai.com/v1"}]}
  - {name: nobody, kind: managed, zone: us, upstreams: [{name: b, url: "https://api.example.com/v1"}]}
"""
PRICE = "price: {input_per_1m: 1, output_per_1m: 2}"


def files(served: str) -> dict[str, str]:
    models = f"models:\n  - name: m\n    served_by:\n      - {{{served}}}\n"
    return {**GOOD, "backends.yaml": BACKENDS, "models.yaml": models}


@pytest.mark.parametrize(
    ("id", "more", "standing", "says"),
    [
        ("gpt-5.5", "", "known", ""),
        ("gpt-5.5-2026-04-23", "", "alias", "is another id of `gpt-5.5`"),
        ("GPT-5.5", "", "known", ""),
        ("gpt-5.1", "", "known", "ends on 2027-04-01, in 130 days: use `gpt-5.5`"),
        ("gpt-5.1-2025-11-13", "", "alias",
         "is another id of `gpt-5.1`; ends on 2027-04-01, in 130 days: use `gpt-5.5`"),
        ("gpt-4o-mini", "", "deprecated", "ends on 2027-01-14, in 53 days: use `gpt-5.4-mini`"),
        ("gpt-4o-2024-08-06", PRICE, "deprecated", "ends on 2027-01-14, in 53 days: use `gpt-5.5`"),
        ("gpt-4", "", "dead", "ended on 2026-10-23: use `gpt-5.5`"),
        ("tts-1", "", "deprecated", "ends on 2027-01-06, in 45 days: nothing of this provider takes its place"),
        ("gpt-5.4-pro", "", "priced", "has no card; the price book knows it"),
        ("ft-of-mine", PRICE, "custom", "has no card; the folder says what it costs or what it can do"),
        ("ft-of-mine", "can: {n: 1}", "custom", "has no card; the folder says what it costs or what it can do"),
        ("gtp-5.5", "", "unknown", "has no card and no price; did you mean `gpt-5.5`?"),
        ("zzzz", "", "unknown",
         "has no card and no price; `gateway models list --provider openai` has those it knows"),
    ],
)  # fmt: skip
def test_standing(id: str, more: str, standing: str, says: str) -> None:
    sources, faults = read_sources(folder(files(", ".join(filter(None, ["backend: openai", f"as: {id}", more])))))
    assert faults == []
    (one,) = looked_up(sources, Pricing(sources, TODAY))
    assert (one.model, one.backend, one.provider, one.id) == ("m", "openai", "openai", id)
    assert (one.standing, one.says) == (standing, says)
    assert str(sources.models.document.fault(one.at, "x")).startswith("models.yaml:4:")


def test_versions_are_looked_at_one_by_one() -> None:
    versions = "versions: [{name: a, as: gpt-4, weight: 1}, {name: b, as: gpt-5.5, weight: 1}]"
    sources, _ = read_sources(folder(files(f"backend: openai, {versions}")))
    found = list(looked_up(sources, Pricing(sources, TODAY)))
    assert [(one.standing, one.at[-2:]) for one in found] == [("dead", (0, "as")), ("known", (1, "as"))]


def test_nobody_knows_whose_it_is() -> None:
    sources, _ = read_sources(folder(files("backend: nobody, as: gpt-4")))
    assert list(looked_up(sources, Pricing(sources, TODAY))) == []


def test_the_notice_begins_and_ends_to_the_day() -> None:
    sources, _ = read_sources(folder(files("backend: openai, as: gpt-5.1")))
    ends = date(2027, 4, 1)
    days = (
        (ends - NOTICE, "deprecated"),
        (date(2026, 12, 31), "known"),
        (ends, "dead"),
        (date(2027, 3, 31), "deprecated"),
    )
    for day, standing in days:
        (one,) = looked_up(sources, Pricing(sources, day))
        assert one.standing == standing, day


@pytest.mark.parametrize(
    ("id", "warning"),
    [
        ("gpt-4", "models.yaml:4:31: models[0].served_by[0].as: `gpt-4` at openai ended on 2026-10-23: use `gpt-5.5`"),
        ("o3", "models.yaml:4:31: models[0].served_by[0].as: "
         "`o3` at openai ends on 2026-12-11, in 19 days: use `gpt-5.5`"),
        ("gtp-5.5", ""),
        ("gpt-5.5-2026-04-23", ""),
    ],
)  # fmt: skip
def test_gateway_check_warns_of_ends_alone(tmp_path: Path, id: str, warning: str) -> None:
    for name, text in files(f"backend: openai, as: {id}").items():
        (tmp_path / name).write_text(text)
    found = [str(fault) for fault in folder_warnings(tmp_path, TODAY)]
    about = [line for line in found if f"`{id}` at openai end" in line]
    assert about == ([warning] if warning else [])

"""docs/catalog.md says what is there, and its example is a policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from gateway.catalog.cards import every, find
from gateway.cli.models import models
from gateway.policy.card_checks import FINDINGS, NOTICE, WARNED, Standing
from gateway.policy.compile import compile_files
from gateway.policy.folder import Folder

PAGE = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
_BACKENDS = """\
zones: {us: {}}
backends:
  - {name: fal, kind: managed, zone: us, dialect: fal, upstreams: [{name: a, url: "https://queue.fal.run"}]}
  - name: h100
    kind: local
    zone: us
    networks: [10.0.0.0/8]
    upstreams: [{name: w, url: "http://10.1.2.3:8000", engine: vllm}]
"""


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_provider_has_its_row() -> None:
    rows = re.findall(r"^\| (`.*?) \| .* \| .* \|$", PAGE.partition("\n## ")[0], re.M)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == {card.provider for card in every()}


def test_every_command_has_its_row() -> None:
    assert set(re.findall(r"^\| `gateway models (\w+)", section("Commands"), re.M)) == set(models.commands)


def test_every_standing_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (yes|no) \| (yes|no).* \|$", section("Commands"), re.M)
    assert rows == [
        (one, "yes" if one in FINDINGS else "no", "yes" if one in WARNED else "no") for one in get_args(Standing)
    ]
    assert f"{NOTICE.days} days" in section("Commands")


def test_a_custom_model_is_one_entry() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", section("Add a model of your own"), re.S)
    files = {
        "backends.yaml": _BACKENDS,
        "models.yaml": text,
        "routing.yaml": "rules: [{name: all, match: {}, route: {backends: [h100, fal]}}]\n",
    }
    policy = compile_files(Folder(Path("/nowhere"), {name: one.encode() for name, one in files.items()}), None)
    (served,) = policy.models["our-style"].served_by
    assert find("fal", served.name) is None
    assert served.offer is not None
    assert served.offer.endpoints == {"images/generations"}
    assert policy.models["our-llm"].custom

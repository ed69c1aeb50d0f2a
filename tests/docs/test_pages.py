"""Pages hang together: what is made of the code is current, links and anchors lead somewhere, all is in the site."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml
from click.testing import CliRunner

from gateway.__main__ import cli
from gateway.model import Reason
from tests.docs.blocks import ROOT
from tests.docs.generate import DOCS, PAGES, RECIPES, REGION, anchor

FOLDERS = sorted(path.parent for path in RECIPES.glob("*/routing.yaml"))
READ = sorted([*DOCS.rglob("*.md"), *(ROOT / "policies").rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
IN_CODE = re.compile(r"`[^`\n]*`")
OURS = re.compile(r"(?i)[\"'](x-(?:gateway|data)-[a-z-]+|x-(?:client-)?request-id|x-should-retry|x-api-key)[\"']")
WORKS = ("edge", "console", "money", "jobs")
"""Rooms that read callers' headers and write our own."""


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_of_the_code_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run python -m tests.docs.generate"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_recipes_compile_and_keep_their_promises(folder: Path) -> None:
    env = dict.fromkeys(re.findall(r"\$\{env:(\w+)\}", (folder / "backends.yaml").read_text()), "x")
    for command in ("check", "test"):
        done = CliRunner().invoke(cli, [command, str(folder)], env=env, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert re.match(r"[2-9] passed, 0 failed", done.stdout), done.stdout


def test_every_recipe_is_on_its_page() -> None:
    shown = [mark for _, mark, _ in REGION.findall((DOCS / "recipes.md").read_text())]
    assert sorted(shown) == [folder.name for folder in FOLDERS]
    assert len(shown) >= 12


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of its headings, as GitHub makes them."""
    made: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.M):
        name = anchor(LINK.sub(r"\2", heading).replace("`", ""))
        made.append(f"{name}-{made.count(name)}" if name in made else name)
    return frozenset(made)


@pytest.mark.parametrize("page", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for image, text, target in LINK.findall(IN_CODE.sub("", FENCED.sub("", page.read_text()))):
        assert text or not image, f"{target}: no words for who cannot see it"
        if "://" in target:
            continue
        path, _, place = target.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), target
        assert not place or place in anchors(other.resolve()), target


def in_nav(entries: list[object]) -> list[str]:
    found: list[str] = []
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += in_nav(value) if isinstance(value, list) else [str(value)]
    return found


def test_every_page_is_in_the_site() -> None:
    """A new page has a line under `nav` of mkdocs.yml; decisions list themselves, and two pages lie elsewhere."""
    named = in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(named) == len(set(named))
    assert set(named) == {page.name for page in DOCS.glob("*.md")} | {"index.md", "ready-made.md"}


def listed() -> set[str]:
    rows = re.findall(r"^\| (`.*?`) \| .*\|$", (DOCS / "headers.md").read_text(), re.M)
    return {name.lower() for row in rows for name in re.findall(r"`([\w-]+)`", row)}


def test_headers() -> None:
    files = [path for room in WORKS for path in (ROOT / "gateway" / room).rglob("*.py")]
    text = "\n".join(path.read_text() for path in files)
    used = {name.lower() for name in OURS.findall(text)}
    assert used <= listed()
    for name in listed() - set(get_args(Reason)):
        if name.startswith(("x-gateway-", "x-data-")):
            assert name in used, name
        elif "ratelimit" not in name:
            assert name in text.lower(), name


def test_reasons() -> None:
    told = (DOCS / "headers.md").read_text().partition("\n## Reasons\n")[2]
    assert re.findall(r"^\| `(\w+)` \|", told, re.M) == list(get_args(Reason))

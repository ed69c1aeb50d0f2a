"""What the pages show as YAML compiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gateway.policy.compile import compile_files

from .good import folder

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "discovery.md").read_text(encoding="utf-8")
BLOCKS = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S) if not block.startswith("apiVersion")]
SOURCES = sorted(
    {
        found
        for page in ("discovery.md", "policies.md")
        for found in re.findall(r"\{(?:dns|srv|service|pool|registration): [^}]*\}", (DOCS / page).read_text())
    }
)
MODELS = "models: [{name: m, served_by: [{backend: llama, as: m}]}]"
ROUTING = "rules: [{name: all, route: {backends: [llama]}}]"


def sources_of(backends: str) -> int:
    """How many places where workers are found the one backend of `backends` compiles to."""
    files = {"backends.yaml": "zones: {onprem: {}}\n" + backends, "models.yaml": MODELS, "routing.yaml": ROUTING}
    return len(compile_files(folder(files), {"LLAMA_KEY": "x"}).discovery["llama"].sources)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_backends_of_the_page_of_discovery(block: str) -> None:
    assert sources_of(block) == len(yaml.safe_load(block)["backends"][0]["discover"])


def test_the_pages_show_every_kind_of_source() -> None:
    assert len(BLOCKS) >= 1
    assert {found.split(":")[0] for found in SOURCES} == {"{dns", "{srv", "{service", "{pool", "{registration"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_of_the_pages(source: str) -> None:
    workers = "name: llama, kind: local, zone: onprem, networks: [10.20.0.0/16], gpu: {kind: H100}"
    assert sources_of(f"backends: [{{{workers}, discover: [{source}]}}]") == 1

"""The Dockerfile and docker-compose.yml as data. Needs PyYAML alone: `make image-test` reads them in an environment of
its own."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
COMPOSE: Final = ROOT / "docker-compose.yml"
DOCKERFILE: Final = ROOT / "Dockerfile"
OPS: Final = ROOT / "ops" / "compose"


@dataclass(slots=True)
class Stage:
    """One `FROM`: what it stands on, and its instructions in order, each a word and the rest of its line."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for each, rest in self.steps if each == word]


def instructions(text: str) -> list[tuple[str, str]]:
    """Comments left out, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in found]


def stages(text: str | None = None) -> list[Stage]:
    found: list[Stage] = []
    for word, rest in instructions(DOCKERFILE.read_text() if text is None else text):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].steps.append((word, rest))
    return found


def arguments(text: str | None = None) -> dict[str, str]:
    """The `ARG`s before the first stage."""
    given: dict[str, str] = {}
    for word, rest in instructions(DOCKERFILE.read_text() if text is None else text):
        if word == "FROM":
            break
        name, _, value = rest.partition("=")
        given[name] = value
    return given


def lineage(name: str) -> list[Stage]:
    """The stage and those it stands on, the lowest first."""
    by_name = {stage.name: stage for stage in stages()}
    line = [by_name[name]]
    while line[0].base in by_name:
        line.insert(0, by_name[line[0].base])
    return line


def environment(name: str) -> dict[str, str]:
    """What `ENV` says in an image of this stage."""
    pairs = [word.partition("=") for stage in lineage(name) for rest in stage.all("ENV") for word in shlex.split(rest)]
    return {key: value for key, _, value in pairs}


def exec_form(name: str, word: str) -> list[str]:
    """The last ENTRYPOINT or CMD of an image of this stage, which is a JSON list."""
    said = [rest for stage in lineage(name) for rest in stage.all(word)][-1]
    made: list[str] = json.loads(said)
    return made


def interpolated(text: str, given: dict[str, str]) -> str:
    """`${NAME:-default}` and `$$`, as Compose fills them in."""
    filled = re.sub(r"(?<!\$)\$\{(\w+):-([^}]*)\}", lambda found: given.get(found[1]) or found[2], text)
    assert not re.search(r"(?<!\$)\$(?!\$)", filled), "a form of interpolation that is not known here"
    return filled.replace("$$", "$")


def compose(given: dict[str, str] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(interpolated(COMPOSE.read_text(), given or {}))
    return made


def seconds(duration: str) -> float:
    (number, unit), *rest = re.findall(r"(\d+)(ms|s|m|h)", duration)
    assert not rest
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]

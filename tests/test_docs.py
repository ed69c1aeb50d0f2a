"""Every setting, metric, error and store key is named in the docs, and the docs name none that is not there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from gateway.errors import GatewayError, extra
from gateway.policy.case_schema import Expect, WorkerState
from gateway.policy.cel_names import FIELDS
from gateway.policy.route_schema import RouteIn
from gateway.policy.schema import FILES
from gateway.routing.capability import AUTO, BY_DIALECT, BY_ENGINE
from gateway.settings import Settings
from gateway.telemetry import BREAKER, FLEET_GAUGES, HEADROOM, POLICY_INFO, UP, WAITING, Telemetry
from loadtests.simfleet.config import MediaEngine, TextEngine, build, read
from loadtests.simfleet.faults import Change
from tests.commands import ran

ROOT = Path(__file__).resolve().parents[1]
DOCS, README = ROOT / "docs", ROOT / "README.md"
RULES, MINUTES = "## Rules you can read, test and ask\n", "## A policy in five minutes\n"


def tree(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield error
    for child in error.__subclasses__():
        yield from tree(child)


def named(page: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, (DOCS / page).read_text()))


def test_settings() -> None:
    listed = set(re.findall(r"^\| `(GATEWAY_\w+)`", (DOCS / "settings.md").read_text(), re.M))
    assert listed == {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}


def test_errors() -> None:
    listed = set(re.findall(r"^\| (\d+) \| `(\w+)`", (DOCS / "errors.md").read_text(), re.M))
    assert listed == {(str(error.status), error.code) for error in tree(GatewayError)}


def test_metrics() -> None:
    listed = named("metrics.md", r"\| `((?:gateway|gen_ai)_\w+)`")
    told = Telemetry(conventions="both").collect()
    made = {family.name + ("_total" if family.type == "counter" else "") for family in told}
    assert listed == made | set(FLEET_GAUGES) | {gauge.name for gauge in (POLICY_INFO, WAITING, UP, BREAKER, HEADROOM)}


def test_readings_of_conditions() -> None:
    rows = re.findall(
        r"^\| (`(?:request|tenant|fleet|backend)[.\[].*?`) \| .* \|$", (DOCS / "policies.md").read_text(), re.M
    )
    listed: dict[str, set[str]] = {}
    for row in rows:
        root = re.match(r"`(\w+)", row)
        assert root is not None
        listed.setdefault(root[1], set()).update(re.findall(r"\.(\w+)", row))
    assert listed == {root: set(fields) for root, fields in FIELDS.items()}


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key that a file may have, a route once, with its default."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield key, field.default
        for inner in models_in(field.annotation):
            if inner is not RouteIn or prefix:
                yield from keys_of(inner, f"{key}.")


@pytest.mark.parametrize("file", FILES)
def test_keys_of_a_file(file: str) -> None:
    """Every key has its row; where its default is one word or number, the row says that one."""
    after = (DOCS / "policy-keys.md").read_text().partition(f"\n## Every key of {file}\n")[2]
    section = re.split(r"^##", after, maxsplit=1, flags=re.M)[0]
    told: dict[str, str] = {}
    for keys, default in re.findall(r"^\| (`[a-z].*?`) \| (.*?) \| .*\|$", section, re.M):
        first, *others = re.findall(r"`([\w.]+)`", keys)
        named = [first, *(first.rpartition(".")[0] + other for other in others)]
        each = default.split(", ") if default.count(", ") == len(others) else [default] * len(named)
        told.update(zip(named, each, strict=True))
    written = dict(keys_of(FILES[file]))
    assert set(told) == set(written)
    for key, default in written.items():
        if isinstance(default, str | int | float):
            shown = told[key].strip("`")
            assert shown in (str(default), str(default).lower()) or float(shown.removesuffix("s")) == default, key


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.S)


def headings(page: Path) -> list[str]:
    return re.findall(r"^##+ (.*)$", prose(page), re.M)


def test_the_page_of_policies_begins_with_its_contents() -> None:
    listed = (DOCS / "policies.md").read_text().partition("**On this page:**")[2].partition("\n\n")[0]
    told = re.findall(r"\[([^\]]+)\]\(#([\w-]+)\)", listed.replace("\n", " "))
    assert told == [(heading, anchor(heading)) for heading in headings(DOCS / "policies.md")]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_headings_stand_alone_and_links_lead_to_them(page: Path) -> None:
    assert re.findall(r"[^\n]\n##+ .*", prose(page)) == []
    for name, place in re.findall(r"\]\(([\w-]+\.md)?#([\w-]+)\)", prose(page)):
        assert place in map(anchor, headings(DOCS / (name or page.name))), (name, place)


def test_who_speaks_what() -> None:
    section = (DOCS / "policies.md").read_text().partition("\n## Who speaks what\n")[2].partition("\n## ")[0]
    _, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*", section, re.M)]
    told = {who: set(re.findall(r"`([^`]+)`", cell)) for who, cell in rows}
    engines = {f"worker, `engine: {name}`": set(spoken) for name, spoken in BY_ENGINE.items()}
    assert told == engines | {f"bought API, `dialect: {name}`": set(spoken) for name, spoken in BY_DIALECT.items()}


def test_what_engines_serve() -> None:
    table = (DOCS / "engines.md").read_text().partition("|---|")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|", table, re.M))
    assert rows.keys() == BY_ENGINE.keys() - {AUTO}
    assert all(rows.values())


@pytest.mark.parametrize(("row", "model"), [("fleet", WorkerState), ("expect", Expect)])
def test_keys_of_cases(row: str, model: type[BaseModel]) -> None:
    section = (DOCS / "policies.md").read_text().partition("\n## Cases\n")[2].partition("\n## ")[0]
    (said,) = re.findall(rf"^\| `{row}` \| (.*) \|$", section, re.M)
    assert set(re.findall(r"`(\w+)`", said)) == set(model.model_fields)


@pytest.mark.parametrize("path", sorted((ROOT / "gateway").rglob("*.lua")), ids=lambda path: path.name)
def test_store_keys(path: Path) -> None:
    """Every key that a script describes has its row in docs/store.md."""
    text = (DOCS / "store.md").read_text()
    for key in re.findall(r"KEYS\[\d\]\s+(gw:\S+)", path.read_text()):
        assert f"| `{key}` |" in text, key


def rooms(package: str) -> set[str]:
    files = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    return files | {f"{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}


def test_the_map_of_rooms_is_whole() -> None:
    text = (DOCS / "architecture.md").read_text()
    told, loads = (re.findall(rf"^```\n{name}/\n(.*?)^```", text, re.M | re.S)[0] for name in ("gateway", "loadtests"))
    assert set(re.findall(r"^  ([\w.]+/?) ", told, re.M)) == rooms("gateway") - {"cli/"}
    assert set(re.findall(r"(?<![\w/])[a-z_]+(?:/(?=[\s,])|\.py\b)", loads)) - {"scenarios/"} == rooms("loadtests")


def test_the_page_of_simulated_engines() -> None:
    text = (DOCS / "simfleet.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert len(build(read(example.encode(), yaml=True)).plan().workers) == 5
    line = " ".join(text.partition("\n`engine`: ")[2].partition(": paths")[0].split())
    assert set(re.findall(r"`([\w-]+)`", line)) == {*get_args(TextEngine), *get_args(MediaEngine)}
    assert set(re.findall(r"`(\w+)`", text.partition("\n`die`")[2].partition(" and more")[0])) <= set(
        Change.__struct_fields__
    )


def test_pages_that_the_code_names_are_there() -> None:
    for path in (ROOT / "gateway").rglob("*.py"):
        for name in re.findall(r"[\w/.-]+\.md\b", path.read_text()):
            assert (ROOT / name).exists() or (DOCS / name).exists(), (path, name)


def console_lines(heading: str = RULES) -> list[tuple[str, str]]:
    """What the README types and what it says is printed then, of the first such block below `heading`."""
    shown = re.findall(r"```console\n(.*?)```", README.read_text().partition(heading)[2], re.S)[0]
    return [(typed, printed) for typed, printed in re.findall(r"^\$ (.*)\n((?:[^$].*\n|\n)*)", shown, re.M)]


GATEWAY = ".venv/bin/gateway"
SHELL = re.compile(r"[|<>;&$`*\n]")


def printed_by(typed: str, folder: Path, **env: str) -> str:
    """By a shell where there is something for a shell to do."""
    given = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), **env}
    program, *words = shlex.split(typed, comments=True)
    if program == GATEWAY and not SHELL.search(typed):
        done = ran(*words, cwd=folder, env=given, together=True)
    else:
        line = typed.replace(GATEWAY, f"{shlex.quote(sys.executable)} -m gateway")
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(line, shell=True, cwd=folder, env=given, text=True, **both)
    done.check_returncode()
    return done.stdout


def test_the_readme_shows_what_is_printed(tmp_path: Path) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    typed = console_lines()
    assert len(typed) == 5
    for command, printed in typed:
        assert printed_by(command, tmp_path) == printed, command


def test_the_five_minutes_of_the_readme(tmp_path: Path) -> None:
    """The steps that print something, and the copy that they are about; those with a running gateway are in e2e."""
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    typed = console_lines(MINUTES)
    told = [re.sub(r" +#.*", "", command) for command, _ in typed]
    assert [
        words for words in ("cp", "check", "test", "explain", "serve", "rollout") if words not in " ".join(told)
    ] == []
    for command, (_, printed) in zip(told, typed, strict=True):
        if printed or command.startswith("cp "):
            assert printed_by(command, tmp_path, GMI_API_KEY="x") == printed, command
    section = README.read_text().partition(MINUTES)[2].partition("\n## ")[0]
    assert len(section.splitlines()) <= 25
    folders = {path.parent.name for path in (ROOT / "policies").glob("*/routing.yaml")} - {"demo"}
    assert set(re.findall(r"\]\(policies/([\w-]+)\) \|", section)) == folders


def test_the_page_of_policies_shows_the_same_story() -> None:
    story = next(printed for typed, printed in console_lines() if "gateway explain" in typed)
    assert story.strip() in (DOCS / "policies.md").read_text()


def test_the_readme_tells_of_the_limit_what_its_page_says() -> None:
    rows = re.findall(r"\*\*(0\.\d+) / \S+\*\* \| \S+ \| (\S+) \|", (DOCS / "limit.md").read_text())
    met, costs = [100 * float(row[0]) for row in rows], [float(row[1]) for row in rows]
    text = " ".join(README.read_text().split())
    assert f"on {len(rows)} mixes of fleet and traffic, {min(met):.1f} to {max(met):.1f} % of" in text
    assert f"for {min(costs):.2f} to {max(costs):.2f} times what the best fixed limit" in text


def test_extras_are_installed_one_way_everywhere() -> None:
    """Nothing is published under the package's name: a hint by it would get a stranger's, or nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = {path: path.read_text() for path in (ROOT / "gateway").rglob("*.py")}
    pages = {path: path.read_text() for path in (*DOCS.rglob("*.md"), *ROOT.glob("*.md"))}
    assert [path for path, text in {**code, **pages}.items() if f"{project['name']}[" in text] == []
    hinted = {name for text in code.values() for name in re.findall(r"""\{extra\(['"](\w+)['"]\)\}""", text)}
    assert hinted == {"agent", "kubernetes", "otlp", "parquet", "postgres", "s3", "top"}
    (command,) = re.findall(r"clone: (.*)\)$", extra("NAME"))
    assert set(re.findall(r"\.\[(\w+)\]", "".join(pages.values()))) <= set(project["optional-dependencies"])
    for path, text in pages.items():
        for found in re.findall(r"[^`\n]*pip install [^`\n]*\.\[(?:\w+)\]'", text):
            assert re.sub(r"\.\[\w+\]", ".[NAME]", found).removeprefix("$ ").strip() == command, path
    assert hinted <= set(project["optional-dependencies"])

"""Whatever the pages tell a reader to type works: it is run, page by page and in order, before the demo of `make run`.

What is not run stands in `NOT_RUN`, with its reason; of those lines the options, targets and variables are looked up.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import httpx
import pytest

from loadtests import demo_fleet
from loadtests.simfleet.harness import start
from loadtests.stack import start_gateway
from tests.demo_folder import copied
from tests.docs.blocks import BLOCK, PAGES, ROOT, Typed, everything, typed_on
from tests.docs.generate import commands
from tests.gateways import eventually
from tests.studio import picture

HASTY: Final = {"step_ms": 15.0}
"""Of the workers: a third of what a step of the demo takes."""
ADMIN_KEY, PEPPER = "admin-key-of-the-docs", "pepper-of-the-docs"
ENDLESS = "goes on until it is ended; its options are parsed here, and tests of its own run it"
CHAT: Final = {"model": "llama-3.3-70b", "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]}
NOT_RUN: Final = {
    r"(\S+='.*' )?make ": "too long for a suite: its target and its variables are looked up in the Makefile",
    r"\S*python -m loadtests": "too long for a suite: its module and its options are looked up",
    r"locust ": "too long for a suite: tests/load runs the same file",
    r"(\S+=\S+ )*\S*gateway (serve|register|top|agent)\b": ENDLESS,
    r"curl -N ": "goes on until it is ended; tests/console reads that stream",
    r"docker ": "needs a container engine; tests/deploy runs the same lines as processes",
    r"\. ops/compose/secrets": "made by make compose-secrets; tests/deploy makes them",
    r"(\S+ -m )?pip install ": "needs a package index",
    r"sqlite3 ": "needs that program; tests/ledger asks the same table",
    r"export \w+=\.\.\.|ID=\.\.\.": "a value of the reader's own",
    r".*video_2811a4\.\.\.": "the job of somebody else; tests/e2e/test_jobs.py makes one",
    r".*/sim/(config|faults) ": "a simulator of the reader's own; tests/simfleet tells one",
    r".*rollout --shadow my-next$": "a trial of another policy in force; tests/e2e/test_rollout.py",
    r".*rollout --(share|promote|status)": "needs that trial; tests/e2e/test_rollout.py",
    r".*keys rotate ci|.*keys revoke ci|.*keys list": "of a key made there; tests/e2e/test_keys.py",
    r".*gateway (check|test|explain) (policies/local-first|my-policies)": "tests/test_docs.py compares what is printed",
    r"gateway ledger (saved|advice)": "needs a week of traffic; tests/reports has it",
}
INSTEAD: Final = {
    "http://127.0.0.1:8080": "$GATEWAY",
    ".venv/bin/gateway": "gateway",
    "llama-1": "h100-1",
    "h200-10-20-0-11-8000": "h100-1",
    "my-policy": "policies/demo",
    '"model": "tts"': '"model": "tts-1"',
    '"model": "chat"': '"model": "llama-3.3-70b"',
    "Bearer my-key": "Bearer demo",
    '"model": "wan"': '"model": "film"',
}
"""Names of the reader's own, and what the demo calls such a thing."""
STRICT_CURL: Final = 'curl() { command curl --fail-with-body "$@"; }'
FINDS: Final = r"gateway (diff|models check) "
"""Commands that exit with 1 where they find something."""


OUTCOME: Final = re.compile(r"x-gateway-outcome: (\w+)", re.I)


def why_not(typed: Typed) -> str | None:
    recipe = typed.page == "docs/recipes.md"  # its folder has the name that the README uses, and is run here
    return next((why for sign, why in NOT_RUN.items() if re.match(sign, typed.command) and not recipe), None)


EVERY: Final = everything()
RUN: Final = [page for page in PAGES if any(why_not(typed) is None for typed in typed_on(page))]


@dataclass(frozen=True)
class Bench:
    """Where commands are run, and by which environment."""

    folder: Path
    env: dict[str, str]


@pytest.fixture(scope="module")
def bench(ledger_kept: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    place = tmp_path_factory.mktemp("typed")
    folders = place / "policies"
    folders.mkdir()
    for folder in (ROOT / "policies").iterdir():
        if folder.name != "demo":
            (folders / folder.name).symlink_to(folder)
    (place / "my-next").symlink_to(ROOT / "policies" / "cost-saver")
    env = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_ARTEFACTS_FLOOR": "0"}
    with start(**demo_fleet.config(0), worker=HASTY) as fleet:
        copied(folders / "demo", fleet)
        with (folders / "demo" / "tenants.yaml").open("a") as tenants:
            tenants.write("  - name: acme\n")
        with (
            start_gateway(folders / "demo", place / ".gateway", env=env, log=place / "log") as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False) as http,
        ):
            answer = http.post("/v1/chat/completions", json=CHAT, headers={"Authorization": "Bearer demo"})
            admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
            eventually(lambda: http.get("/admin/v1/ledger", headers=admin).is_success, "a row in the ledger", 20.0)
            for name in ("fox.png", "head.png"):
                (place / name).write_bytes(picture())
            known = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "GMI_API_KEY": "x", **env}
            known |= {"KEY": "demo", "GATEWAY_KEY": "demo"}
            asked = {"ID": answer.headers["x-request-id"], "GATEWAY": gateway.url, "GATEWAY_URL": gateway.url}
            yield Bench(place, {**known, **asked})


def script(page: Path) -> str:
    """All of the page that is run, as one program that ends with the first failure."""
    lines = ["set -e", f'gateway() {{ {shlex.quote(sys.executable)} -m gateway "$@"; }}', STRICT_CURL]
    for typed in typed_on(page):
        if why_not(typed) is None:
            line = typed.command
            for theirs, ours in INSTEAD.items():
                line = line.replace(theirs, ours)
            lines.append(f"echo '# {len(lines)}'; {line}{' || test $? = 1' if re.match(FINDS, line) else ''}")
    return "\n".join(lines) + "\n"


@pytest.mark.timeout(150)  # two bursts, and a dozen processes, on whatever else is running here
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_a_page_tells_to_type_works(page: Path, bench: Bench, tmp_path: Path) -> None:
    for path in bench.folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for _, text in BLOCK.findall(page.read_text()):
        if (named := re.match(r"# ([\w-]+\.yaml)\n", text)) and page.name != "recipes.md":
            (tmp_path / named[1]).write_text(text)
    done = subprocess.run(
        ["/bin/sh", "-c", script(page)], cwd=tmp_path, env=bench.env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, script(page) + done.stdout[-3000:] + done.stderr[-3000:]
    if page.name == "start.md":
        before, after = re.split(r"\n(?= *\d+ passed, 0 failed)", done.stdout)
        assert set(OUTCOME.findall(before)) == {"local", "spilled"}, done.stdout
        assert set(OUTCOME.findall(after)) == {"local"}, done.stdout


def options_of(typed: Typed) -> tuple[click.Command, list[str]] | None:
    """The command of a `gateway` line, and its arguments."""
    found = re.search(r"(?:^|[\s/])gateway (?=\w)([^|>;]*)", typed.command)
    if found is None:
        return None
    words = shlex.split(found[1])
    known = dict(commands())
    deepest = max(count for count in (1, 2) if count == 1 or f"gateway {' '.join(words[:count])}" in known)
    return known[f"gateway {' '.join(words[:deepest])}"], words[deepest:]


@pytest.mark.parametrize("typed", [typed for typed in EVERY if options_of(typed)], ids=str)
def test_commands_have_these_options(typed: Typed) -> None:
    asked = options_of(typed)
    assert asked is not None
    command, arguments = asked
    context = click.Context(command)
    _, left, _ = command.make_parser(context).parse_args(arguments)
    assert left == [] or isinstance(command, click.Group), f"{left} is too much"


@pytest.mark.parametrize("typed", [typed for typed in EVERY if re.search(r"\bmake [a-z]", typed.command)], ids=str)
def test_targets_and_their_variables_are_there(typed: Typed) -> None:
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(r"\bmake ([a-z-]+)(.*)", typed.command)
    assert found is not None
    assert re.search(rf"^[a-z -]*\b{found[1]}(?= |:)[a-z -]*: .*## ", makefile, re.M), found[1]
    for name in re.findall(r"\b([A-Z_]+)=", found[2]):
        assert re.search(rf"\$\(({name}|firstword \$\(origin {name}\))\)", makefile), name


@pytest.mark.parametrize("typed", [typed for typed in EVERY if "python -m loadtests" in typed.command], ids=str)
def test_modules_have_these_options(typed: Typed) -> None:
    module = re.findall(r"-m ([\w.]+)", typed.command)[0]
    said = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for option in re.findall(r" (--[a-z-]+)", typed.command):
        assert option in said.stdout, option


def test_reasons_are_about_something() -> None:
    for sign in NOT_RUN:
        assert any(re.match(sign, typed.command) for typed in EVERY), sign

"""`gateway top` before a real gateway: in textual's pilot, and as one frame of text."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from textual.widgets import DataTable, Input, Static

from gateway.__main__ import cli
from gateway.cli.remote import trusting
from gateway.cli.top_app import Top
from gateway.cli.top_feed import Line
from loadtests.stack import Gateway, free_port, start_gateway
from tests.gateways import PEPPER, Lane, Site, folder_of, start_lanes, write_folder
from tests.polling import until

LANES = [Lane("chat", workers=2), Lane("idle")]
ADMIN = "the-admin-key-of-the-tests"
ENV = {"GATEWAY_ADMIN_KEY": ADMIN}
SIZE = (160, 50)


def line(site: Site, key: str = ADMIN) -> Line:
    return Line(site.gateway.url, {"Authorization": f"Bearer {key}"}, trusting(None))


def names(app: Top) -> list[str]:
    table = app.query_one("#fleet", DataTable)
    return [str(table.get_cell_at((row, 0))) for row in range(table.row_count)]  # type: ignore[arg-type]


def text(app: Top, name: str) -> str:
    return str(app.query_one(name, Static).render())


async def test_fleet_filter_drain_and_undrain(site: Site) -> None:
    app = Top(line(site))
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: app.told.whole and len(names(app)) == 5)
        assert set(names(app)) >= {"chat-1", "chat-2", "idle-1"}
        await until(lambda: "on 1 replica" in text(app, "#head"))
        await pilot.press("slash", *"chat-2")
        await until(lambda: names(app) == ["chat-2"])
        await pilot.press("enter", "d")
        await until(lambda: len(app.screen_stack) == 2)
        await pilot.press(*"new", "space", *"[driver]", "enter")
        await until(lambda: app.told.rows["chat-2"]["state"] == "drained")
        assert app.told.rows["chat-2"]["why"] == "new [driver]"
        await until(lambda: str(app.query_one("#fleet", DataTable).get_cell("chat-2", "why")) == "new [driver]")
        await pilot.press("u")
        await until(lambda: len(app.screen_stack) == 2)
        await pilot.press("escape", "u", "enter")
        await until(lambda: app.told.rows["chat-2"]["state"] != "drained")
        await pilot.press("slash")
        app.query_one("#filter", Input).value = ""
        await until(lambda: len(names(app)) == 5)
        await pilot.press("enter", "q")
    assert app.fault is None


async def test_flow_and_sorting(site: Site) -> None:
    for _ in range(2):
        site.chat("chat")
    app = Top(line(site))
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: app.told.outcomes("chat")["local"] >= 2)
        await until(lambda: "chat" in text(app, "#rules") and "█" in text(app, "#rules"))
        await until(lambda: len(names(app)) == 5)
        await pilot.press("s", "r")
        assert names(app) == sorted(names(app), reverse=True)
        await pilot.press("question_mark")
        await until(lambda: len(app.screen_stack) == 2)
        await pilot.press("escape", "q")


async def test_a_gateway_that_goes_is_looked_for_until_it_is_back(tmp_path: Path) -> None:
    lanes, port, folder = [Lane("chat")], free_port(), tmp_path / "policies"

    def begin() -> Gateway:
        return start_gateway(folder, tmp_path / "data", port=port, env={"GATEWAY_KEY_PEPPER": PEPPER})

    with start_lanes(lanes) as fleet:
        write_folder(folder, folder_of(lanes, fleet))
        first = await asyncio.to_thread(begin)
        app = Top(Line(first.url, {}, trusting(None)))
        async with app.run_test(size=SIZE) as pilot:
            await until(lambda: len(names(app)) == 2)
            await asyncio.to_thread(first.stop)
            await until(lambda: "tried again" in text(app, "#away"))
            with await asyncio.to_thread(begin):
                await until(lambda: not app.query_one("#away").has_class("shown"), 15.0)
                await pilot.press("q")
    assert app.fault is None


async def test_a_wrong_key_ends_it(site: Site) -> None:
    app = Top(line(site, "wrong"))
    async with app.run_test(size=SIZE):
        await until(lambda: app.fault is not None)
    assert str(app.fault) == "this is not the admin key"


def run(*given: str, key: str | None = None) -> Result:
    """In this process: to start one for each would take longer than all that they do."""
    return CliRunner().invoke(cli, ["top", *given], env={"GATEWAY_ADMIN_KEY": key, "GATEWAY_URL": None})


def test_one_frame_for_scripts(site: Site) -> None:
    site.chat("chat")
    ended = run("--once", "--url", site.gateway.url, key=ADMIN)
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("gateway ")
    assert "chat-1" in ended.stdout
    assert "policy " in ended.stdout


@pytest.mark.parametrize(
    ("key", "code", "said"), [("wrong", 1, "this is not the admin key"), ("", 1, "send the admin")]
)
def test_a_wrong_key(site: Site, key: str, code: int, said: str) -> None:
    ended = run("--once", "--url", site.gateway.url, "--key", key)
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert said in ended.stderr


def test_nobody_answers() -> None:
    ended = run("--url", f"http://127.0.0.1:{free_port()}", "--once")
    assert ended.exit_code == 2
    assert "no gateway answers" in ended.stderr


def test_without_textual(tmp_path: Path) -> None:
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError('no', name='textual')")
    command = [sys.executable, "-m", "gateway", "top", "--url", "http://127.0.0.1:1"]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    ended = subprocess.run(command, capture_output=True, text=True, env=env, timeout=30, check=False)
    assert ended.returncode == 2
    assert "[top]" in ended.stderr

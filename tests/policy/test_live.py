"""The policy in force while its folder is edited: real files, explicit polls."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from gateway.errors import PolicyFault
from gateway.model import Policy
from gateway.policy.folder import Folder
from gateway.policy.live import RACY_SECONDS, LivePolicy

from .good import ENV, GOOD

R = "routing.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in GOOD.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def write(folder: Path, old: str, new: str) -> None:
    text = (folder / R).read_text()
    assert old in text
    (folder / R).write_text(text.replace(old, new))


async def test_a_change_takes_effect_once(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    told: list[Policy] = []
    live.on_reload.append(told.append)
    before = live.current
    assert not await live.poll()
    write(folder, "attempts: 2", "attempts: 5")
    assert await live.poll()
    assert not await live.poll()
    assert live.current is not before
    assert live.current.rules[2].attempts == 5
    assert told == [live.current]
    assert before.rules[2].attempts == 2


async def test_a_bad_folder_never_takes_effect_and_recovers_by_itself(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    told: list[tuple[str, ...] | None] = []
    live.on_fault.append(told.append)
    good = live.current
    write(folder, "attempts: 2", "attempts: two")
    assert not await live.poll()
    assert live.current is good
    fault = ("routing.yaml:19:23: rules[2].route.attempts: must be a whole number",)
    assert live.fault == fault
    assert not await live.poll()
    write(folder, "attempts: two", "attempts: 4")
    assert await live.poll()
    assert live.fault is None
    assert live.current.rules[2].attempts == 4
    assert told == [fault, None]


async def test_back_to_the_last_good_one_clears_the_fault(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    write(folder, "attempts: 2", "attempts: two")
    await live.poll()
    write(folder, "attempts: two", "attempts: 2")
    assert not await live.poll()
    assert live.fault is None


async def test_half_of_a_change_over_two_files_does_not_take_effect(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    backends = (folder / "backends.yaml").read_text()
    (folder / "backends.yaml").write_text(backends.replace("name: h100\n", "name: h200\n"))
    assert not await live.poll()
    assert "h100" in live.current.backends
    for name in ("models.yaml", R):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("backend: h100", "backend: h200").replace("[h100]", "[h200]"))
    assert await live.poll()
    assert set(live.current.backends) == {"h200", "gmi"}


@pytest.mark.parametrize("how", ["file", "folder"])
async def test_a_vanished_file_or_folder_changes_nothing(folder: Path, how: str) -> None:
    live = LivePolicy(folder, ENV)
    good = live.current
    if how == "file":
        (folder / R).unlink()
    else:
        shutil.rmtree(folder)
    assert not await live.poll()
    assert live.current is good
    assert live.fault is not None
    assert live.fault[-1] == "routing.yaml:1:1: (file): is missing; every folder needs it"


async def test_a_swapped_link_is_seen(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Mounted configuration is replaced by pointing a link elsewhere; times and sizes may stay the same."""
    mount = tmp_path_factory.mktemp("mount")
    other = mount / "v2"
    shutil.copytree(folder, other)
    text = (other / R).read_text().replace("attempts: 2", "attempts: 7")
    (other / R).write_text(text)
    for name in GOOD:
        seen = (folder / name).stat()
        os.utime(other / name, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    link = mount / "current"
    link.symlink_to(folder)
    live = LivePolicy(link, ENV)
    (mount / "next").symlink_to(other)
    (mount / "next").rename(link)
    assert await live.poll()
    assert live.current.rules[2].attempts == 7


async def test_a_mounted_config_map_is_seen_to_change(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As the kubelet writes it: each file is a link through `..data`, which one rename points at a new folder."""
    mount = tmp_path_factory.mktemp("mount")
    shutil.copytree(folder, mount / "..2026_11_22_01")
    (mount / "..data").symlink_to("..2026_11_22_01")
    for name in GOOD:
        (mount / name).symlink_to(f"..data/{name}")
    live = LivePolicy(mount, ENV)
    assert not await live.poll()
    new = mount / "..2026_11_22_02"
    shutil.copytree(folder, new)
    (new / R).write_text((new / R).read_text().replace("attempts: 2", "attempts: 7"))
    (mount / "..data_tmp").symlink_to(new.name)
    (mount / "..data_tmp").rename(mount / "..data")
    shutil.rmtree(mount / "..2026_11_22_01")
    assert await live.poll()
    assert live.fault is None
    assert live.current.rules[2].attempts == 7


async def test_a_quiet_folder_is_not_read_again(folder: Path) -> None:
    """Once time stamps are old enough to be trusted, a poll asks for them alone."""
    live = LivePolicy(folder, ENV)
    live._read_at += RACY_SECONDS + 1  # read long after they were written
    live._seen = nothing = Folder(folder, {})
    assert not await live.poll()
    assert live._seen is nothing


async def test_a_changed_secret_needs_a_reload(folder: Path) -> None:
    env = dict(ENV)
    live = LivePolicy(folder, env)
    env["API_KEY"] = "another"
    assert not await live.poll()
    assert await live.reload()
    assert live.current.upstreams["gmi"].key == "another"
    assert not await live.reload()


def test_there_must_be_a_first_good_policy(folder: Path) -> None:
    write(folder, "attempts: 2", "attempts: two")
    with pytest.raises(PolicyFault, match=r"routing\.yaml:19:23"):
        LivePolicy(folder, ENV)


async def test_a_failing_listener_stops_neither_the_others_nor_the_next_change(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = LivePolicy(folder, ENV)
    told: list[int] = []

    def fail(_: Policy) -> None:
        raise RuntimeError("listener")

    live.on_reload += [fail, lambda policy: told.append(policy.rules[2].attempts)]
    for attempts in (5, 6):
        write(folder, f"attempts: {live.current.rules[2].attempts}", f"attempts: {attempts}")
        assert await live.poll()
    assert told == [5, 6]
    assert [record.message for record in caplog.records] == ["a listener of the policy failed"] * 2


async def test_what_is_asked_for_in_a_signal_handler_is_done_by_the_next_poll(folder: Path) -> None:
    env = dict(ENV)
    live = LivePolicy(folder, env)
    env["API_KEY"] = "another"
    live.ask_reload()
    assert await live.poll()
    assert live.current.upstreams["gmi"].key == "another"
    assert not await live.poll()


def files(folder: Path, attempts: int) -> dict[str, bytes]:
    made = {name: (folder / name).read_bytes() for name in GOOD}
    return {**made, R: GOOD[R].replace("attempts: 2", f"attempts: {attempts}").encode()}


async def test_what_is_adopted_holds_until_the_folder_changes_and_that_is_accepted(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    await live.adopt(files(folder, 9))
    assert live.current.rules[2].attempts == 9
    assert live.current.upstreams["gmi"].key == ENV["API_KEY"], "its secrets are this machine's"
    assert live.behind
    assert not await live.poll(), "a folder that does not change says nothing"
    write(folder, "attempts: 2", "attempts: 4")
    assert not await live.poll()
    assert live.offered
    assert live.current.rules[2].attempts == 9
    await live.accept()
    assert live.current.rules[2].attempts == 4
    assert live.news
    assert not live.behind


async def test_a_folder_that_catches_up_is_not_behind_and_may_go_back_at_once(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    await live.adopt(files(folder, 9))
    write(folder, "attempts: 2", "attempts: 9")
    assert not await live.poll()
    assert not live.behind
    assert not live.news
    write(folder, "attempts: 9", "attempts: 2")
    assert await live.poll()
    assert live.news


async def test_what_does_not_compile_here_is_not_adopted(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    before = live.current
    with pytest.raises(PolicyFault, match="attempts"):
        await live.adopt({**files(folder, 9), R: GOOD[R].replace("attempts: 2", "attempts: two").encode()})
    assert live.current is before
    assert not live.behind


async def test_a_reload_puts_a_folder_that_is_behind_in_force(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    await live.adopt(files(folder, 9))
    assert await live.reload()
    assert live.current.rules[2].attempts == 2
    assert live.news


async def test_the_loop_goes_on_while_a_folder_is_compiled(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    await live.reload()
    task.cancel()
    assert turns > 0


class Odd(dict[str, str]):
    """An environment that fails in a way that nobody reckoned with."""

    def get(self, *_: object) -> str:  # type: ignore[override]
        raise RuntimeError("hunter2")

    __getitem__ = __contains__ = get  # type: ignore[assignment]


async def test_a_defect_of_ours_is_a_fault_line_without_its_message(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = LivePolicy(folder, ENV)
    good, live._env = live.current, Odd()
    write(folder, "attempts: 2", "attempts: 5")
    assert not await live.poll()
    assert live.current is good
    assert live.fault is not None
    assert live.fault[0].startswith("(folder): cannot be compiled; a defect of the gateway")
    assert "RuntimeError at test_live.py" in live.fault[0]
    assert "hunter2" not in live.fault[0] + caplog.text
    assert [record.getMessage() for record in caplog.records] == ["a policy folder could not be compiled"]


async def test_prices_of_a_later_day_begin_on_that_day(folder: Path) -> None:
    models = (folder / "models.yaml").read_text()
    dated = "price: {input_per_1m: 0.25, output_per_1m: 0.75, as_of: 2026-11-01}"
    (folder / "models.yaml").write_text(models.replace("price: {input_per_1m: 0.25, output_per_1m: 0.75}", dated))
    day = [date(2026, 11, 22)]
    live = LivePolicy(folder, ENV, today=lambda: day[0])
    told: list[Policy] = []
    live.on_reload.append(told.append)
    before = live.current
    assert not await live.poll()
    day[0] = date(2026, 11, 23)
    assert not await live.poll(), "nothing became other with the day"
    day[0] = date(2027, 11, 22)
    assert await live.poll()
    assert not await live.poll()
    assert told == [live.current]
    assert live.current.version == before.version
    assert (marks(before), marks(live.current)) == ((), ("old",))


def marks(policy: Policy) -> tuple[str, ...]:
    price = policy.models["llama-3.3-70b"].served_by[1].price
    assert price is not None
    return price.origin.marks

"""What the log says of trials, and where a policy in force comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.candidate import Trial
from gateway.policy.live import LivePolicy

from .good import ENV, GOOD, changed, compiled

OTHER = changed("routing.yaml", "max_wait: 20s", "max_wait: 30s")


def live_of(folder: Path) -> LivePolicy:
    for name, text in GOOD.items():
        (folder / name).write_text(text)
    return LivePolicy(folder, ENV)


async def test_a_trial_begins_and_is_promoted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gateway")
    live = live_of(tmp_path)
    first, files = live.current.version, {name: text.encode() for name, text in OTHER.items()}
    tried = compiled(OTHER)
    live.try_out(Trial(tried.version, "share", 0.5), tried)
    for _ in range(2):
        await live.poll()
    await live.adopt(files)
    assert (live.origin, live.current.version) == ("promoted", tried.version)
    await live.poll()
    assert [(record.message, record.__dict__["fields"]) for record in caplog.records] == [
        ("trial begun", {"version": tried.version, "mode": "share", "share": "0.5", "beside": first}),
        ("trial ended", {"version": tried.version, "how": "promoted"}),
    ]


async def test_a_trial_is_dropped_and_a_policy_comes_from_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = live_of(tmp_path)
    tried = compiled(OTHER)
    live.try_out(Trial(tried.version, "shadow"), tried)
    await live.poll()
    live.candidate = None
    caplog.set_level("INFO", "gateway")
    await live.poll()
    assert [record.__dict__["fields"]["how"] for record in caplog.records] == ["dropped"]
    await live.adopt({name: text.encode() for name, text in OTHER.items()})
    assert live.origin == "another replica"
    (tmp_path / "routing.yaml").write_text(GOOD["routing.yaml"].replace("20s", "40s"))
    await live.reload()
    assert live.origin == "folder"

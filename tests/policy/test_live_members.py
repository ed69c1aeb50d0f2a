"""Found workers join the policy in force and the one on trial, and leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import PolicyFault
from gateway.model import Member, Policy
from gateway.policy.candidate import Trial, unfit
from gateway.policy.compile import compile_files
from gateway.policy.folder import read_folder
from gateway.policy.live import LivePolicy

ZONES = {"here": {"within": ["eu"]}, "us": {}}
GPU = {
    "name": "gpu",
    "kind": "local",
    "zone": "here",
    "networks": ["10.0.0.0/8"],
    "upstreams": [{"name": "w1", "url": "http://10.0.0.1:8000"}],
    "discover": [{"dns": "workers.internal", "port": 8000}],
}
MODELS = {"models": [{"name": "m", "modality": "text", "served_by": [{"backend": "gpu", "as": "m"}]}]}
NEW = Member("gpu", "dns", "http://10.0.0.2:8000", ("10.0.0.2",), 8000)
CALLED = "gpu-10-0-0-2-8000"


def write(folder: Path, wait: str = "1s", **backend: Any) -> Path:
    folder.mkdir(exist_ok=True)
    rules = {"rules": [{"name": "all", "match": {}, "route": {"backends": ["gpu"], "max_wait": wait}}]}
    parts = {"backends.yaml": {"zones": ZONES, "backends": [{**GPU, **backend}]}, "models.yaml": MODELS}
    for name, content in {**parts, "routing.yaml": rules}.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def live(tmp_path: Path) -> LivePolicy:
    return LivePolicy(write(tmp_path / "in-force"), {})


def candidate(tmp_path: Path, **changes: Any) -> Policy:
    return compile_files(read_folder(write(tmp_path / "candidate", "2s", **changes)), {})


def test_who_joins_is_told_once_and_changes_nothing_else(live: LivePolicy) -> None:
    told: list[Policy] = []
    live.on_reload.append(told.append)
    before = live.current
    live.meet((NEW,), {})
    live.meet((NEW,), {})
    assert told == [live.current]
    assert live.current is not before
    assert live.current.version == before.version
    assert live.current.upstreams.keys() == {"w1", CALLED}
    assert live.current.backends["gpu"] == tuple(live.current.upstreams.values())
    assert live.current.upstreams["w1"] is before.upstreams["w1"]
    assert live.newest(before) is live.current
    live.meet((), {})
    assert live.current == before
    assert len(told) == 2


def test_who_leaves_only_is_told_too(live: LivePolicy) -> None:
    told: list[Policy] = []
    live.meet((NEW,), {})
    live.on_reload.append(told.append)
    ending = Member("gpu", "dns", NEW.url, NEW.addresses, 8000, leaving=True)
    live.meet((ending,), {})
    assert live.found.leaving == {CALLED}
    assert told == [live.current]


async def test_an_edit_keeps_who_was_found(live: LivePolicy, tmp_path: Path) -> None:
    live.meet((NEW,), {})
    found, before = live.current.upstreams[CALLED], live.current
    write(tmp_path / "in-force", "3s")
    await live.reload()
    assert live.current.version != before.version
    assert live.current.upstreams[CALLED] is found
    assert live.newest(before) is before, "a request keeps the policy that it began with"
    await live.reload()
    assert live.current.upstreams[CALLED] is found
    write(tmp_path / "in-force", zone="us")
    await live.reload()
    assert live.current.upstreams[CALLED].zone == "us"
    write(tmp_path / "in-force", discover=[])
    await live.reload()
    assert live.current.upstreams.keys() == {"w1"}


def test_a_candidate_gets_the_same_workers(live: LivePolicy, tmp_path: Path) -> None:
    live.meet((NEW,), {})
    policy = candidate(tmp_path)
    live.try_out(Trial(policy.version, "share", 0.5), policy)
    assert live.candidate is not None
    assert live.candidate.policy.upstreams[CALLED] is live.current.upstreams[CALLED]
    assert unfit(live.current, live.candidate.policy) is None
    live.meet((), {})
    assert live.candidate.policy.upstreams.keys() == {"w1"}
    assert live.newest(policy) is live.candidate.policy
    live.meet((NEW,), {})
    assert CALLED in live.candidate.policy.upstreams


@pytest.mark.parametrize(
    "change", [{"discover": [{"srv": "other.internal"}]}, {"worker": {"max_num_seqs": 7}}, {"networks": ["10.0.0.0/9"]}]
)
def test_a_candidate_that_finds_others_or_takes_them_for_something_else(
    live: LivePolicy, tmp_path: Path, change: dict[str, Any]
) -> None:
    policy = candidate(tmp_path, **{"upstreams": [], **change})
    with pytest.raises(PolicyFault, match="backend gpu finds its workers elsewhere"):
        live.try_out(Trial(policy.version, "shadow"), policy)


async def test_a_promoted_candidate_keeps_who_was_found(live: LivePolicy, tmp_path: Path) -> None:
    live.meet((NEW,), {})
    policy = candidate(tmp_path)
    live.try_out(Trial(policy.version, "shadow"), policy)
    files = {name: raw for name, raw in read_folder(tmp_path / "candidate").files.items() if raw is not None}
    await live.adopt(files)
    assert live.candidate is None
    assert live.current.version == policy.version
    assert live.current.upstreams.keys() == {"w1", CALLED}

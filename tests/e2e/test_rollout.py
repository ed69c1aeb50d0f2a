"""`gateway rollout` against a running gateway: the shadow acts on nothing, a share is sticky, promoting is for all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import ran
from tests.gateways import LOCAL, Lane, Site, eventually, folder_of, write_folder

LANES = [Lane("chat", seats=8)]


def rollout(site: Site, *flags: str) -> tuple[int, str]:
    """Exit code, and stdout and stderr together."""
    done = ran("rollout", "--url", site.gateway.url, *flags, together=True)
    return done.returncode, done.stdout


@pytest.fixture
def candidate(site: Site, tmp_path: Path) -> Iterator[Path]:
    """A folder that buys what the one in force does at home, by a rule of another name. Nothing is tried after it."""
    files = folder_of(LANES, site.fleet)
    files["routing.yaml"]["rules"][-1] = {
        "name": "bought",
        "match": {"model": "chat"},
        "route": {"backends": ["chat-api"]},
    }
    write_folder(tmp_path / "candidate", files)
    yield tmp_path / "candidate"
    assert rollout(site, "--stop")[0] == 0


def test_the_shadow_decides_and_does_not_act(site: Site, candidate: Path) -> None:
    before = site.chat("chat").headers["x-gateway-policy"]
    code, said = rollout(site, "--shadow", str(candidate))
    assert (code, "is tried in the shadow, beside " + before in said) == (0, True)
    asked = [site.chat("chat") for _ in range(5)]
    assert {answer.headers["x-gateway-backend"] for answer in asked} == {"chat"}
    assert {answer.headers["x-gateway-policy"] for answer in asked} == {before}
    assert site.chat("chat", LOCAL).status_code == 200  # the flagged rule is the same in both
    eventually(lambda: site.metric("gateway_rollout_decisions_total", result="different") == 5, "all are compared")
    assert site.metric("gateway_rollout_decisions_total", result="same") == 1
    told = eventually(lambda: done if "5 of 6" in (done := rollout(site, "--status")[1]) else None, "the report")
    assert "rule chat -> bought" in told
    assert "backend chat -> chat-api" in told
    assert asked[-1].headers["x-request-id"] in told
    assert "hello" not in told, "no prompts"


def test_the_shadow_sees_the_headers_that_its_own_rules_look_at(site: Site, candidate: Path) -> None:
    path = candidate / "routing.yaml"
    content = json.loads(path.read_text())
    bought = content["rules"][-1]
    content["rules"].append(
        {**bought, "name": "chat", "route": {"backends": ["chat"], "spill": {"backends": ["chat-api"]}}}
    )
    bought["match"] = {**bought["match"], "headers": {"x-team": "red"}}
    path.write_text(json.dumps(content))
    assert rollout(site, "--shadow", str(candidate))[0] == 0
    counted = {name: site.metric("gateway_rollout_decisions_total", result=name) or 0 for name in ("same", "different")}
    for team in ("red", "blue"):
        site.chat("chat", {"X-Team": team})
    for name, before in counted.items():
        eventually(lambda: site.metric("gateway_rollout_decisions_total", result=name) == before + 1, name)  # noqa: B023


def test_a_share_is_sticky_and_of_its_size(site: Site, candidate: Path) -> None:
    before = site.chat("chat").headers["x-gateway-policy"]
    assert rollout(site, "--share", "30%", str(candidate))[0] == 0
    sides: dict[int, set[str]] = {}
    for number in range(60):
        for _ in range(2):
            answer = site.chat("chat", {"X-Gateway-Session": f"user-{number}"})
            tried = answer.headers["x-gateway-policy"] != before
            assert answer.headers["x-gateway-rule"] == ("bought" if tried else "chat")
            assert answer.headers["x-gateway-backend"] == ("chat-api" if tried else "chat")
            sides.setdefault(number, set()).add(answer.headers["x-gateway-policy"])
    assert all(len(seen) == 1 for seen in sides.values())
    tried = sum(before not in seen for seen in sides.values())
    assert 6 <= tried <= 32, "30 % of 60, give or take four standard deviations"
    receipt = site.receipt(next(answer for answer in iter(lambda: site.chat("chat"), None) if moved(answer, before)))
    assert receipt["policy"] != before
    assert receipt["rule"] == "bought"


def test_an_empty_session_is_none(site: Site, candidate: Path) -> None:
    assert rollout(site, "--share", "50%", str(candidate))[0] == 0
    seen = {site.chat("chat", {"X-Gateway-Session": ""}).headers["x-gateway-policy"] for _ in range(24)}
    assert len(seen) == 2, "each call is a session of its own"


def test_the_same_candidate_for_a_second_time_begins_at_zero(site: Site, candidate: Path) -> None:
    for _ in range(2):
        assert rollout(site, "--shadow", str(candidate))[0] == 0
        assert "decided differently: 0 of 0" in rollout(site, "--status")[1]
        site.chat("chat")
        eventually(lambda: "decided differently: 1 of 1" in rollout(site, "--status")[1], "it was compared")
        assert rollout(site, "--stop")[0] == 0


def moved(answer: object, before: str) -> bool:
    return answer.headers["x-gateway-policy"] != before  # type: ignore[attr-defined,no-any-return]


def test_what_cannot_be_tried_is_refused_with_all_faults(site: Site, candidate: Path) -> None:
    backends = json.loads((candidate / "backends.yaml").read_text())
    backends["backends"][0]["upstreams"][0]["url"] = "http://127.0.0.1:1"
    (candidate / "backends.yaml").write_text(json.dumps(backends))
    code, said = rollout(site, "--shadow", str(candidate))
    assert (code, "upstream chat-1 is new or changed" in said) == (1, True)
    (candidate / "routing.yaml").write_text('{"rules": [{"name": "a", "rout": {}}, {"name": "a", "matc": {}}]}')
    code, said = rollout(site, "--shadow", str(candidate))
    assert code == 1
    assert "rules[0].rout" in said
    assert "rules[1].matc" in said
    code, said = rollout(site, "--promote")
    assert (code, "there is no candidate to promote: begin with `gateway rollout --shadow DIR`\n" in said) == (1, True)


def test_a_script_reads_the_result_and_nothing_before_it(site: Site, candidate: Path) -> None:
    url, now = site.gateway.url, site.chat("chat").headers["x-gateway-policy"]
    assert rollout(site, "--shadow", str(candidate))[0] == 0
    for said in (f"the trial is over; in force is {now}\n", f"nothing was tried; in force is {now}\n"):
        done = ran("rollout", "--url", url, "--stop")
        assert (done.returncode, done.stdout) == (0, said)
        assert f"in force: {now}" in done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--shadow",),
        ("--status", "--stop"),
        ("--share", "150%", "."),
        ("--share", "x", "."),
        ("--stop", "."),
        ("--status", "--candidate", "x"),
    ],
)
def test_a_mistake_in_the_command(site: Site, flags: tuple[str, ...]) -> None:
    code, said = rollout(site, *flags)
    assert code == 2
    assert "Error" in said


def test_nobody_answers(site: Site) -> None:
    code, said = rollout(site, "--status", "--url", "http://127.0.0.1:1")
    assert (code, said) == (2, "no gateway answers at http://127.0.0.1:1; give its address with --url\n")


def test_the_candidate_is_promoted_and_the_folder_wins_again_by_an_edit(site: Site, candidate: Path) -> None:
    before = site.chat("chat").headers["x-gateway-policy"]
    assert rollout(site, "--shadow", str(candidate))[0] == 0
    tried = site.http.get("/admin/v1/policies/rollout").json()["candidate"]["version"]
    for command in ("--stop", "--promote"):
        code, said = rollout(site, command, "--candidate", before)
        assert (code, f"the candidate is {tried} now" in said) == (1, True), "of another version nothing is done"
        path = f"/admin/v1/policies/rollout/{command.removeprefix('--')}"
        assert site.http.post(path).status_code == 400, "nor without one"
        refused = site.http.post(path, json={"version": before})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "policy_conflict")
    code, said = rollout(site, "--promote")
    assert (code, "is in force on all replicas" in said, before in said) == (0, True, True)
    assert said.index(f"candidate: {tried}") < said.index("is in force on all replicas"), "it is shown first"
    answer = site.chat("chat")
    assert answer.headers["x-gateway-rule"] == "bought"
    assert "nothing is tried" in rollout(site, "--status")[1]
    path = site.folder / "routing.yaml"
    path.write_text(path.read_text() + "\n")
    eventually(lambda: site.chat("chat").headers["x-gateway-rule"] == "chat", "the folder changed", 2.0)

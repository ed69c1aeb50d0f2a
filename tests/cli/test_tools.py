"""`gateway explain`, `test` and `diff` as processes: what they print where, and how they exit."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.__main__ import cli
from gateway.cli.telling import cell, scores, wrapped
from gateway.policy.case_schema import RequestIn, WorkerState
from gateway.rehearsal.story import tell
from gateway.rehearsal.world import world_of
from tests.commands import ran
from tests.rehearsal.test_recorded import RECEIPT
from tests.test_docs import console_lines
from tests.worlds import policy, rule

ROOT = Path(__file__).parents[2]
LOCAL_FIRST = ROOT / "policies" / "local-first"
REQUEST = '{"model": "llama-3.3-70b", "max_tokens": 200, "messages": [{"role": "user", "content": "hello"}]}'
FLEET = "{h100-1: {load: 1}, h100-2: {load: 0.97}, h100-3: {healthy: false}, h100-4: {load: 1}}"


def gateway(*arguments: object, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return ran(*arguments, stdin=stdin, cwd=cwd, env={"PYTHONPATH": str(ROOT), "PATH": ""})


def invoked(*arguments: object, stdin: str = "") -> Result:
    """The same without a process of its own: most of these take longer to start than to run."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)


CASES = """\
cases:
  - name: a full fleet spills
    request: {path: /v1/chat/completions, body: BODY}
    fleet: {h100-1: {load: 1.05}, h100-2: {load: 1.05}, h100-3: {load: 1.05}, h100-4: {load: 1.05}}
    expect: {outcome: spilled, backend: gmi, reason: slo_limit}
  - name: one worker with room is enough
    request: {path: /v1/chat/completions, body: BODY}
    fleet: {h100-1: {load: 1.05}, h100-2: {load: 1.05}, h100-3: {load: 0.2}, h100-4: {load: 1.05}}
    expect: {outcome: local, upstream: h100-3, rule: chat, reason: local_has_room}
  - name: a flagged request waits at home
    request: {path: /v1/chat/completions, headers: {X-Data-Residency: local}, body: BODY}
    fleet: {h100-1: {wait: 30s}, h100-2: {wait: 30s}, h100-3: {wait: 30s}, h100-4: {wait: 30s}}
    expect: {rule: flagged, status: 429, code: fleet_saturated}
""".replace("BODY", REQUEST)


def copied(to: Path) -> Path:
    """local-first with three cases of our own."""
    shutil.copytree(LOCAL_FIRST, to)
    shutil.rmtree(to / "cases")
    (to / "cases").mkdir()
    (to / "cases" / "spill.yaml").write_text(CASES)
    return to


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copied(tmp_path / "mine")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return copied(tmp_path / "other")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_story_as_text() -> None:
    """The README's, which is what is printed (tests/test_docs.py)."""
    story = next(printed for typed, printed in console_lines() if "gateway explain" in typed)
    assert max(map(len, story.splitlines())) <= 100
    for part in (
        "spilled -> gmi",
        "  not flagged: ",
        "h100-3    h100     health: ",
        "what would change it:",
        "with max_wait ",
    ):
        assert part in story


def test_a_refusal_exits_1_and_json_is_the_same_story(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("{h100-1: {healthy: false}}")
    asked = json.dumps({"headers": {"X-Data-Residency": "us"}, "body": json.loads(REQUEST)})
    arguments = ("explain", LOCAL_FIRST, "--request", "-", "--fleet", tmp_path / "fleet.yaml", "--json")
    done = invoked(*arguments, stdin=asked)
    assert (done.exit_code, done.stderr) == (1, "")
    story = json.loads(done.stdout)
    assert (story["result"]["status"], story["result"]["code"]) == (403, "residency_refused")
    assert story["drops"] == {"residency": 4}


def test_a_recorded_receipt(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text(json.dumps({**RECEIPT, "rule": "chat"}))
    done = invoked("explain", LOCAL_FIRST, "--receipt", tmp_path / "receipt.json")
    assert done.stdout.startswith("spilled -> a1 (?), because slo_limit\nrule: chat\npolicy: v1 (this folder is ")
    assert (done.exit_code, done.stderr) == (0, "")


USAGE = [
    (("explain", LOCAL_FIRST), "", "give either --request FILE or --receipt FILE"),
    (("explain", "--request", "-"), "{}", "give either a FOLDER or --url"),
    (("explain", "--url", "http://127.0.0.1:1", "--receipt", "-"), "{}", "--url goes with --request alone"),
    (("explain", LOCAL_FIRST, "--request", "-"), "[1", "--request:2:1: (file): the [ of line 1 is not closed"),
    (("explain", LOCAL_FIRST, "--request", "-"), "x", "--request: must be an object"),
    (("explain", LOCAL_FIRST, "--request", "-"), "a: &a [1]\nb: *a", "--request:1:4: (file): anchors"),
    (("explain", LOCAL_FIRST, "--request", "-"), '{"body": {}, "header": {}}',
     "--request: header: unknown key; did you mean `headers`?"),
    (("explain", LOCAL_FIRST, "--request", "-"), '{"model": "llama-3.3-70b", "tenant": "acme"}',
     "--request: body: is required; give {path, headers, tenant, body}"),
    (("explain", LOCAL_FIRST, "--request", "-", "--at", "noon"), "{}", "--at"),
    (("test", LOCAL_FIRST, "-k", "nothing like it"), "", "no case of"),
    (("diff", LOCAL_FIRST, LOCAL_FIRST, "--receipts", "-"), "{}\nnothing\n", "--receipts: line 2: is not JSON"),
    (("diff", LOCAL_FIRST, LOCAL_FIRST, "--receipts", "-"), '{"candidates": [{"upstream": 1}]}',
     "--receipts: line 1: not a receipt of the gateway: Expected `str`, got `int` - at `$.candidates[0].upstream`"),
    (("explain", LOCAL_FIRST, "--receipt", "-"), '{"time": -1}', "--receipt: not a receipt of the gateway: Expected"),
    (("explain", LOCAL_FIRST, "--receipt", "-"), '{"candidates": {}}', "Expected `array`, got `object`"),
    (("diff", LOCAL_FIRST, "nowhere"), "", "nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "stdin", "said"), USAGE, ids=[row[2][:30] for row in USAGE])
def test_usage(arguments: tuple[object, ...], stdin: str, said: str) -> None:
    done = invoked(*arguments, stdin=stdin)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())


def test_a_limit_has_its_unit_a_wait_is_rounded_up_and_parts_add_up() -> None:
    assert cell({"limit": 1_360_000, "work": 24_000}, "limit", "{} requests") == "1.36 GPU s"
    assert cell({"limit": 64, "work": 1}, "limit", "{} requests") == "64 requests"
    assert cell({"wait_ms": 130.1}, "wait_ms", "{:.0f}") == "131"
    fleet = {"w1": WorkerState(errors=1 / 3, load=0.7), "w2": WorkerState(errors=1 / 7)}
    rules = (rule(scorers=(("price", 0.3333), ("errors", 1 / 3), ("load", 0.7777))),)
    asked = RequestIn(body={"model": "m", "messages": [], "max_tokens": 5})
    for line in scores(tell(world_of(policy(rules=rules), asked, fleet), asked).upstreams):
        said, _, whole = line.partition(": ")[2].partition(" = ")
        assert sum(int(part.split()[1].replace(".", "")) for part in said.split(" + ")) == int(whole.replace(".", ""))


def test_an_upstream_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("{h100-11: {load: 1}}")
    done = invoked("explain", LOCAL_FIRST, "--request", "-", "--fleet", tmp_path / "fleet.yaml", stdin=REQUEST)
    assert done.exit_code == 2
    assert "unknown upstream `h100-11`; did you mean `h100-1`?" in " ".join(done.stderr.split())


def test_a_failing_case_shows_its_diff_and_the_head_of_its_story(copy: Path) -> None:
    edit(copy / "cases" / "spill.yaml", "outcome: spilled, backend: gmi", "outcome: local, backend: gmi")
    done = gateway("test", copy)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        f"FAIL {copy}/cases/spill.yaml:2: a full fleet spills\n"
        "  outcome: expected local\n"
        "           got      spilled\n"
        "    spilled -> gmi (gmi), because slo_limit\n"
        "    rule: chat\n"
        "      not flagged: residency is none, not any\n"
        "    standard requests may fill 0.9 of a worker's limit\n"
        "    waits up to 20 s where it cannot leave\n"
        "    budget: $0 of $40 spent in the last hour\n"
        "2 passed, 1 failed\n"
    )


def test_what_a_case_does_not_find_is_said_in_words_and_no_word_is_broken(copy: Path) -> None:
    edit(copy / "cases" / "spill.yaml", "outcome: spilled, backend: gmi", "code: no_capacity, drops: {gmi: health}")
    done = invoked("test", copy)
    assert "  code: expected no_capacity\n        got      nothing\n" in done.stdout
    assert "  drops: expected gmi health\n         got      gmi not dropped\n" in done.stdout
    long = wrapped(["a " * 45 + "one-word-with-many-hyphens"])
    assert long[-1].split() == ["one-word-with-many-hyphens"]


def test_some_cases_and_their_verdicts_as_json(copy: Path) -> None:
    done = invoked("test", copy, "-k", "FLAGGED", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["passed"], told["failed"]) == (0, 1, 0)
    (row,) = told["cases"]
    assert row["place"] == "cases/spill.yaml:10"
    assert (row["name"].split()[1], row["passed"], row["result"]["status"]) == ("flagged", True, 429)


def test_diff_of_equal_folders_is_silent_but_for_its_count(copy: Path, other: Path) -> None:
    done = invoked("diff", other, copy)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "0 of 3 cases differ\n", "")


def test_diff_of_folders_that_decide_differently(copy: Path, other: Path, tmp_path: Path) -> None:
    edit(copy / "routing.yaml", "spill: {backends: [gmi], budget_usd_per_hour: 40}\n", "max_wait: 5s\n")
    edit(copy / "backends.yaml", "name: h100-4", "name: h100-5")
    receipt = {**RECEIPT, "model": "llama-3.3-70b", "candidates": [], "chosen": "gmi"}
    (tmp_path / "receipts.jsonl").write_text(f"{json.dumps(receipt)}\n\n")
    done = gateway("diff", other, copy, "--receipts", tmp_path / "receipts.jsonl")
    assert done.returncode == 1
    assert "rule chat: max_wait: none -> 5s" in done.stdout
    assert "upstream h100-4: removed" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 of 0 cases differ, 3 skipped; 1 of 1 receipts differ"
    told = json.loads(invoked("diff", other, copy, "--json").stdout)
    assert [row["skipped"] for row in told["cases"]] == ["B has no upstream h100-4"] * 3


def test_diff_with_a_folder_that_does_not_compile(copy: Path) -> None:
    edit(copy / "routing.yaml", "backends: [gmi]", "backends: [gmu]")
    done = invoked("diff", LOCAL_FIRST, copy)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{copy}/routing.yaml:")


def test_a_request_that_no_rule_wants_says_so_once(copy: Path) -> None:
    edit(
        copy / "routing.yaml",
        'match: {model: "llama-*"}\n    route:\n      backends: [h100]\n      slo',
        "match: {stream: true}\n    route:\n      backends: [h100]\n      slo",
    )
    done = invoked("explain", copy, "--request", "-", stdin=REQUEST)
    assert done.stdout.startswith("refused: no rule matches (404 model_not_found)\nrule: none\n")
    assert "not chat: stream is no, not yes" in done.stdout


def test_a_plain_body_is_known_by_what_it_has_not() -> None:
    done = invoked("explain", LOCAL_FIRST, "--request", "-", stdin='{"messages": []}')
    assert (done.exit_code, done.stdout.startswith("refused: 400 invalid_request: ")) == (1, True)

"""`gateway plan` as a command: flags, a file, a terminal; what it prints where, writes, and how it exits."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.__main__ import cli
from gateway.plan.questions import QUESTIONS
from tests.commands import ran
from tests.plan.rows import GOLDEN

ROOT = Path(__file__).parents[2]
WALK_2 = """\
engineers: some
team_size: 8
images: 200M
h100_usd: 2.00
utilisation: 75%
fine_tuned: no
today: 2026-11-22
"""


def invoked(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["plan", *map(str, arguments)])


def flags(answers: str) -> list[str]:
    lines = (line.partition(": ") for line in answers.splitlines())
    return [word for key, _, value in lines if key != "fine_tuned" for word in (f"--{key.replace('_', '-')}", value)]


def test_a_file_and_flags_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text(WALK_2)
    by_file, by_flags = invoked("--answers", tmp_path / "answers.yaml"), invoked(*flags(WALK_2))
    assert by_file.stdout == by_flags.stdout == (GOLDEN / "walk-2-200m-images.txt").read_text()


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text(WALK_2)
    told = json.loads(invoked("--answers", tmp_path / "answers.yaml", "--engineers", "none", "--json").stdout)
    assert (told["architecture"], told["answers"]["team_size"], told["folder"]) == ("managed", 8, [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engineers", "some"), "missing: --tokens or --images"),
        (("--tokens", "1M"), "missing: --engineers"),
        (("--engineers", "few", "--tokens", "1M"), "--engineers: must be one of none, some, full"),
        (("--engineers", "some", "--tokens", "x"), "--tokens: must be a number"),
        (("--engineers", "some", "--fine-tuned", "text", "--model-gb", "9000"), "--model-gb: 10,800 GB"),
    ],
)
def test_what_is_missing_or_wrong_is_named_by_its_flag(arguments: tuple[str, ...], said: str) -> None:
    done = invoked(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("engineers: some\nimage: 5\n", "image: unknown key; did you mean `images`?"),
        ("engineers: some\nimages: [5]\n", "images: must be a word or a number"),
        ("engineers: some\nimages: -5\n", "--answers: images: must be a number"),
        ("- some\n", "must be an object"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "answers.yaml").write_text(content)
    done = invoked("--answers", tmp_path / "answers.yaml")
    assert done.exit_code == 2
    assert said in done.stderr


def test_the_folder_it_writes_checks_and_passes_its_cases(tmp_path: Path) -> None:
    out = tmp_path / "start"
    done = invoked("--engineers", "some", "--tokens", "40B", "--out", out)
    assert done.stdout.endswith(f"gateway check {out} && gateway test {out}\n")
    for command in ("check", "test"):
        judged = CliRunner().invoke(cli, [command, str(out)])
        assert judged.exit_code == 0, judged.output
    assert "0 failed" in judged.output


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("mine")
    done = invoked("--engineers", "some", "--tokens", "40B", "--out", tmp_path)
    assert done.exit_code == 2
    assert "is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["models.yaml"]


def test_without_a_terminal_nothing_is_asked() -> None:
    done = ran("plan", env={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert "missing: --engineers; --tokens or --images" in done.stderr


def test_on_a_terminal_the_questions_are_asked_one_by_one() -> None:
    """What cannot be read is asked again; the plan alone is on stdout."""
    said = ["few", "some", "8", "", "200M", "", "", "", "localisation", "eu"]
    ours, theirs = pty.openpty()
    os.write(ours, "".join(f"{line}\n" for line in said).encode())
    line = [sys.executable, "-m", "gateway", "plan", "--json"]
    env = {"PYTHONPATH": str(ROOT), "PATH": "", "TERM": "dumb"}
    done = subprocess.run(line, stdin=theirs, capture_output=True, text=True, env=env, check=True, timeout=60)
    os.close(ours)
    os.close(theirs)
    told = json.loads(done.stdout)
    assert (told["architecture"], told["answers"]["images"], told["answers"]["zone"]) == ("isolated", 200_000_000, "eu")
    assert "must be one of none, some, full" in done.stderr
    assert "Its weights in GB" not in done.stderr


def test_every_question_has_its_flag() -> None:
    shown = invoked("--help").stdout
    assert [question.flag for question in QUESTIONS if question.flag not in shown] == []

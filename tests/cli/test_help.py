"""`gateway --help` says what each command is for, in one whole line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from gateway.__main__ import COMMANDS, cli


def test_no_line_is_cut() -> None:
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    rows = [line.split(maxsplit=1) for line in shown.partition("Commands:\n")[2].splitlines()]
    assert [row[0] for row in rows] == list(COMMANDS)
    assert all(row[1].endswith(".") and not row[1].endswith("...") for row in rows), shown


@pytest.mark.parametrize(
    ("typed", "said"), [("undrain", "no command `undrain`; did you mean `drain`?"), ("zzz", "no command `zzz`\n")]
)
def test_a_command_that_is_not_there(typed: str, said: str) -> None:
    done = CliRunner().invoke(cli, [typed])
    assert done.exit_code == 2
    assert said in done.stderr

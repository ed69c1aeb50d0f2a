"""`gateway plan`: which deployment fits, what it costs, and the policy folder to start from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from gateway.plan.questions import BY_KEY, QUESTIONS, Question

if TYPE_CHECKING:
    from gateway.plan.answers import Answers
    from gateway.plan.making import Plan


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    for question in reversed(QUESTIONS):
        shown = f"[{'|'.join(question.choices)}]" if question.choices else question.read.__name__.upper()
        command = click.option(question.flag, question.key, metavar=shown, help=question.help)(command)
    return command


@click.command(short_help="Which deployment fits: architecture, GPUs, costs, a policy folder.")
@_flags
@click.option("--answers", "file", type=click.File("rb"), help="The same keys as YAML or JSON; flags go before it.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the policy folder to start from there.")
def plan(file: IO[bytes] | None, as_json: bool, out: Path | None, **flags: str | None) -> None:
    """Walk the deployment decision. Without flags the questions are asked one by one; docs/plan.md tells the tree and
    the formulas. Numbers may be written 200M, 1.5B, 75%. Exit 0, or 2 where an answer is missing or cannot be."""
    from gateway.plan.report import data, text

    given = {key: value for key, value in flags.items() if value is not None}
    made = _made(_asked() if file is None and not given else _given(file, given), flags=given)
    written = [] if out is None else _write(made, out)
    if as_json:
        click.echo(json.dumps(data(made) | {"folder": written}, indent=2))
        return
    click.echo(text(made), nl=False)
    if out is not None:
        click.echo(f"\nWrote {out}: {', '.join(written)}\n  gateway check {out} && gateway test {out}")


def _given(file: IO[bytes] | None, flags: Mapping[str, str]) -> dict[str, str]:
    """The answers of the file, and the flags before them."""
    from gateway.cli.inputs import loaded
    from gateway.plan.questions import missing
    from gateway.policy.validate import nearest

    found: dict[str, str] = {}
    for key, value in (loaded("--answers", file) if file is not None else {}).items():
        if key not in BY_KEY:
            raise click.UsageError(f"--answers: {key}: unknown key; {nearest(str(key), list(BY_KEY))}")
        if isinstance(value, dict | list) or value is None:
            raise click.UsageError(f"--answers: {key}: must be a word or a number")
        found[key] = "none" if value is False else str(value)
    found |= flags
    if lacking := missing(found):
        raise click.UsageError(f"missing: {'; '.join(lacking)}")
    return found


def _asked() -> dict[str, str]:
    """One by one, on a terminal only: a script must not hang on a question."""
    from gateway.cli.terminal import is_terminal
    from gateway.plan.questions import asked, missing

    if not is_terminal():
        raise click.UsageError(f"missing: {'; '.join(missing({}))}; or run it on a terminal to be asked")
    found: dict[str, str] = {}
    for question in QUESTIONS:
        if asked(question, found) and (said := _prompt(question)):
            found[question.key] = said
    return found


def _prompt(question: Question) -> str:
    """Asked again until it can be read; on stderr, so that the plan alone is on stdout."""
    from gateway.plan.answers import BadAnswer
    from gateway.plan.questions import answered

    while True:
        said = str(
            click.prompt(question.ask or "", default=question.default, show_default=bool(question.default), err=True)
        )
        try:
            if said:
                answered(question, said)
            return said
        except BadAnswer as fault:
            click.echo(str(fault), err=True)


def _made(given: Mapping[str, str], flags: Mapping[str, str]) -> Plan:
    from gateway.plan.answers import BadAnswer
    from gateway.plan.making import plan as worked_out
    from gateway.plan.questions import answers

    try:
        said: Answers = answers(given, datetime.now(UTC).date())
        return worked_out(said)
    except BadAnswer as fault:
        where = BY_KEY[fault.key].flag if fault.key in flags or fault.key not in given else f"--answers: {fault.key}"
        raise click.UsageError(f"{where}: {fault}") from None


def _write(made: Plan, out: Path) -> list[str]:
    """The names of the files. Nothing that is there is overwritten."""
    from gateway.plan.folder import files

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise click.UsageError(f"--out: {out} is there already; give a folder that is not, or an empty one")
    written = files(made)
    for name, content in written.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return list(written)

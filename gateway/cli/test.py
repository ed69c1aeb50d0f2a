"""`gateway test DIR`: the golden cases of a policy folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gateway.rehearsal.golden import Verdict


@click.command(short_help="Run the golden cases of a policy folder.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-k", "wanted", metavar="TEXT", help="Only cases whose name holds TEXT; upper and lower case are alike.")
@click.option("--json", "as_json", is_flag=True, help="The verdicts as JSON.")
@click.pass_context
def test(context: click.Context, folder: Path, wanted: str | None, as_json: bool) -> None:
    """Run cases/*.yaml of FOLDER: exit 0, or 1 with a diff per failing case."""
    from gateway.policy.cases import placed_cases
    from gateway.policy.compile import compile_folder
    from gateway.rehearsal.golden import judge

    policy = compile_folder(folder, env=None)
    cases = placed_cases(folder, policy)
    chosen = [one for one in cases if wanted is None or wanted.lower() in one.case.name.lower()]
    if wanted is not None and not chosen:
        raise click.UsageError(f"no case of {folder} has `{wanted}` in its name; there are {len(cases)}")
    if not cases:
        click.echo(f"{folder} has no cases: put some into {folder / 'cases'}", err=True)
    verdicts = [judge(policy, one.case) for one in chosen]
    failed = sum(1 for verdict in verdicts if verdict.wrong)
    if as_json:
        rows = [{"place": one.place, **verdict.row()} for one, verdict in zip(chosen, verdicts, strict=True)]
        click.echo(json.dumps({"passed": len(chosen) - failed, "failed": failed, "cases": rows}))
    else:
        for one, verdict in zip(chosen, verdicts, strict=True):
            _show(str(folder / one.place), verdict)
        click.echo(f"{len(chosen) - failed} passed, {failed} failed")
    if failed:
        context.exit(1)


def _show(place: str, verdict: Verdict) -> None:
    from gateway.cli.telling import wrapped
    from gateway.rehearsal.sentences import facts, headline

    if not verdict.wrong:
        return
    click.echo(f"FAIL {place}: {verdict.name}")
    for key, (wanted, found) in verdict.wrong.items():
        click.echo(f"  {key}: expected {_plain(wanted)}\n  {' ' * len(key)}  got      {_plain(found)}")
    story = verdict.story.as_data()
    for line in wrapped([headline(story), *facts(story)]):
        click.echo(f"    {line}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner or 'not dropped')}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if value is None:
        return "nothing"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)

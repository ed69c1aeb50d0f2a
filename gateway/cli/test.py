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
    from gateway.policy.cases import load_cases
    from gateway.policy.compile import compile_folder
    from gateway.rehearsal.golden import judge

    policy = compile_folder(folder, env=None)
    cases = load_cases(folder, policy)
    chosen = [case for case in cases if wanted is None or wanted.lower() in case.name.lower()]
    if wanted is not None and not chosen:
        raise click.UsageError(f"no case of {folder} has `{wanted}` in its name; there are {len(cases)}")
    if not cases:
        click.echo(f"{folder} has no cases: put some into {folder / 'cases'}", err=True)
    verdicts = [judge(policy, case) for case in chosen]
    failed = sum(1 for verdict in verdicts if verdict.wrong)
    if as_json:
        rows = [verdict.row() for verdict in verdicts]
        click.echo(json.dumps({"passed": len(chosen) - failed, "failed": failed, "cases": rows}))
    else:
        for verdict in verdicts:
            _show(verdict)
        click.echo(f"{len(chosen) - failed} passed, {failed} failed")
    if failed:
        context.exit(1)


def _show(verdict: Verdict) -> None:
    from gateway.cli.telling import facts, headline, wrapped

    if not verdict.wrong:
        return
    click.echo(f"FAIL {verdict.name}")
    for key, (wanted, found) in verdict.wrong.items():
        click.echo(f"  - {key}: {_plain(wanted)}\n  + {key}: {_plain(found)}")
    for line in wrapped([headline(verdict.story), *facts(verdict.story)]):
        click.echo(f"    {line}")


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)

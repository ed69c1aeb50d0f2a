"""`gateway test DIR`: the golden cases of a policy folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def test(folder: Path) -> None:
    """Run cases/*.yaml of FOLDER: exit 0, or 1 with a diff per failing case."""
    from gateway.cli.dry import dry_run
    from gateway.policy.cases import load_cases
    from gateway.policy.compile import compile_folder

    policy = compile_folder(folder, env=None)
    cases = load_cases(folder, policy)
    failed = 0
    for case in cases:
        found = dry_run(policy, case.request, case.fleet).result
        wanted = case.expect.model_dump(exclude_unset=True)
        wrong = {key: value for key, value in wanted.items() if found.get(key) != value}
        if wrong:
            failed += 1
            click.echo(f"FAIL {case.name}")
            for key, value in wrong.items():
                click.echo(f"  - {key}: {value}\n  + {key}: {found.get(key)}")
    if not cases:
        click.echo(f"{folder} has no cases: put some into {folder / 'cases'}", err=True)
    click.echo(f"{len(cases) - failed} passed, {failed} failed")
    if failed:
        click.get_current_context().exit(1)

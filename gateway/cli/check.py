"""`gateway check DIR`: does this policy folder compile, and if not, what is wrong where."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="A secret that is not set here is a fault, not a warning.")
@click.pass_context
def check(context: click.Context, folder: Path, strict: bool) -> None:
    """Compile the policy in FOLDER: exit 0, or 1 with one line per fault, or 2 where there is no such folder."""
    from gateway.errors import PolicyFault
    from gateway.model import Policy
    from gateway.policy.cases import load_cases
    from gateway.policy.compile import compile_folder
    from gateway.policy.folder import read_folder
    from gateway.policy.residency_checks import residency_warnings
    from gateway.policy.sources import read_sources

    if not folder.is_dir():
        click.echo(f"{folder}: no such folder", err=True)
        context.exit(2)
    policy: Policy | None = None
    faults: tuple[str, ...] = ()
    try:
        policy = compile_folder(folder, env=None)
    except PolicyFault as fault:
        faults = fault.faults
    try:
        load_cases(folder, policy)
    except PolicyFault as fault:
        faults += fault.faults
    if policy is None or faults:
        _fail(context, faults)
    for warning in residency_warnings(read_sources(read_folder(folder))[0]):
        click.echo(f"warning: {warning}", err=True)
    try:
        compile_folder(folder)
    except PolicyFault as fault:  # only secrets can be wrong now, and this may not be the machine that has them
        if strict:
            _fail(context, fault.faults)
        for line in fault.faults:
            click.echo(f"warning: {line}", err=True)
    counts = (
        _count(len(policy.backends), "backend"),
        _count(len(policy.upstreams), "upstream"),
        _count(len(policy.models), "model"),
        _count(len(policy.rules), "rule"),
    )
    click.echo(f"ok: {folder}: {', '.join(counts)}, version {policy.version}")


def _fail(context: click.Context, faults: tuple[str, ...]) -> NoReturn:
    for line in faults:
        click.echo(line, err=True)
    context.exit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

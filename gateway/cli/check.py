"""`gateway check DIR`: does this policy folder compile, and if not, what is wrong where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.model import Policy

_LINE = re.compile(
    r'(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?P<path>(?:"[^"]*"|[^":]|:(?! ))+): (?P<text>.*)', re.S
)
"""A fault as it is printed."""


@click.command(short_help="Compile a policy folder and say all that is wrong with it.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="A secret that is not set here is a fault, not a warning.")
@click.option("--json", "as_json", is_flag=True, help="Faults and warnings as JSON.")
@click.pass_context
def check(context: click.Context, folder: Path, strict: bool, as_json: bool) -> None:
    """Compile the policy in FOLDER: exit 0, or 1 with one line per fault, or 2 where there is no such folder. What
    compiles but has no effect is a warning."""
    if not folder.is_dir():
        said = "is a file; give its folder" if folder.is_file() else "no such folder"
        click.echo(f"{folder}: {said}", err=True)
        context.exit(2)
    policy, faults = _compiled(folder)
    warnings: list[str] = []
    if policy is not None and not faults:
        secrets = _secrets(folder)
        faults, warnings = (secrets, []) if strict else ([], secrets)
        warnings += _warnings(folder)
    if as_json:
        told = {"ok": not faults, "version": policy.version if policy is not None and not faults else None}
        click.echo(json.dumps(told | {"faults": _rows(faults), "warnings": _rows(warnings)}))
    else:
        _show(folder, policy, faults, warnings)
    if faults:
        context.exit(1)


def _compiled(folder: Path) -> tuple[Policy | None, list[str]]:
    """The policy, and every fault of the folder and of its cases; secrets are not looked at."""
    from gateway.errors import PolicyFault
    from gateway.policy.cases import load_cases
    from gateway.policy.compile import compile_folder

    policy: Policy | None = None
    faults: list[str] = []
    try:
        policy = compile_folder(folder, env=None)
    except PolicyFault as fault:
        faults += fault.faults
    try:
        load_cases(folder, policy)
    except PolicyFault as fault:
        faults += fault.faults
    return policy, faults


def _secrets(folder: Path) -> list[str]:
    """Only secrets can be wrong in a folder that compiles, and this may not be the machine that has them."""
    from gateway.errors import PolicyFault
    from gateway.policy.compile import compile_folder

    try:
        compile_folder(folder)
    except PolicyFault as fault:
        return list(fault.faults)
    return []


def _warnings(folder: Path) -> list[str]:
    from gateway.policy.warnings import folder_warnings

    return [str(warning) for warning in folder_warnings(folder)]


def _show(folder: Path, policy: Policy | None, faults: list[str], warnings: list[str]) -> None:
    for line in faults:
        click.echo(line, err=True)
    for line in warnings:
        click.echo(f"warning: {line}", err=True)
    if policy is not None and not faults:
        counts = (
            _count(len(policy.backends), "backend"),
            _count(len(policy.upstreams), "upstream"),
            _count(len(policy.models), "model"),
            _count(len(policy.rules), "rule"),
        )
        click.echo(f"ok: {folder}: {', '.join(counts)}, version {policy.version}")


def _rows(lines: Iterable[str]) -> list[dict[str, Any]]:
    found = [match.groupdict() for line in lines if (match := _LINE.fullmatch(line))]
    return [row | {"line": int(row["line"]), "column": int(row["column"])} for row in found]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

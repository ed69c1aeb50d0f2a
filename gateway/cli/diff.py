"""`gateway diff A B`: what two policy folders would decide differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from gateway.model import Policy
    from gateway.policy.case_schema import Case
    from gateway.rehearsal.compare import Pair
    from gateway.rehearsal.receipt_shape import Receipt

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
MOST_RECEIPT_BYTES = 1 << 16
"""A line of --receipts; the gateway's own receipts have at most 2 KB."""


@click.command(short_help="Say what two policy folders decide differently.")
@click.argument("old", metavar="A", type=_FOLDER)
@click.argument("new", metavar="B", type=_FOLDER)
@click.option("--receipts", "receipts_file", type=click.File("rb"), help="Recorded receipts, one JSON object a line.")
@click.option("--json", "as_json", is_flag=True, help="The comparison as JSON.")
@click.pass_context
def diff(context: click.Context, old: Path, new: Path, receipts_file: Any, as_json: bool) -> None:
    """Decide the golden cases of both folders, and recorded receipts, by A and by B. Exit 0 where all come out alike,
    1 where some do not, 2 where a folder does not compile."""
    from gateway.policy.folder import read_folder
    from gateway.policy.sources import read_sources
    from gateway.rehearsal.compare import changed_parts, compare_cases, compare_receipts

    before, after = _compiled(context, old), _compiled(context, new)
    pairs = list(compare_cases(before, after, _cases(context, old, new)))
    receipts = [] if receipts_file is None else _receipts(receipts_file)
    recorded = list(compare_receipts(before, after, receipts))
    parts = changed_parts(*(read_sources(read_folder(folder))[0] for folder in (old, new)))
    if as_json:
        told = {"cases": [one.row() for one in pairs], "receipts": [one.row() for one in recorded]}
        click.echo(json.dumps({"a": before.version, "b": after.version, "changed": parts, **told}))
    else:
        _show(parts, pairs, recorded)
    if any(one.differs for one in (*pairs, *recorded)):
        context.exit(1)


def _show(parts: list[str], pairs: list[Pair], recorded: list[Pair]) -> None:
    from gateway.rehearsal.recorded import NEVER_RECORDED

    for line in parts:
        click.echo(line)
    for one in (*pairs, *recorded):
        if one.differs:
            click.echo(str(one))
        elif one.skipped is not None:
            click.echo(f"skipped {one.name}: {one.skipped}", err=True)
    if recorded:
        unlike = sum(1 for one in recorded if not one.reproduced)
        said = f"receipts do not tell {', '.join(NEVER_RECORDED)}: a chat of as many tokens is asked instead"
        click.echo(f"{said}; A itself decides {unlike} of {len(recorded)} otherwise than recorded", err=True)
    counted = [_count(pairs, "cases"), *([_count(recorded, "receipts")] if recorded else [])]
    click.echo("; ".join(counted))


def _count(found: list[Pair], what: str) -> str:
    skipped = sum(1 for one in found if one.skipped is not None)
    differ = sum(1 for one in found if one.differs)
    return f"{differ} of {len(found) - skipped} {what} differ" + (f", {skipped} skipped" if skipped else "")


def _compiled(context: click.Context, folder: Path) -> Policy:
    from gateway.errors import PolicyFault
    from gateway.policy.compile import compile_folder

    try:
        return compile_folder(folder, env=None)
    except PolicyFault as fault:
        _fail(context, folder, fault.faults)


def _cases(context: click.Context, *folders: Path) -> list[Case]:
    """Of all folders; what two folders share is there once."""
    from gateway.errors import PolicyFault
    from gateway.policy.cases import load_cases

    found: list[Case] = []
    for folder in folders:
        try:
            found += [case for case in load_cases(folder, None) if case not in found]
        except PolicyFault as fault:
            _fail(context, folder, fault.faults)
    return found


def _fail(context: click.Context, folder: Path, faults: tuple[str, ...]) -> NoReturn:
    for line in faults:
        click.echo(f"{folder / line}", err=True)
    context.exit(2)


def _receipts(file: Any) -> list[Receipt]:
    from gateway.rehearsal.receipt_shape import as_receipt

    found = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            found.append(as_receipt(json.loads(line[:MOST_RECEIPT_BYTES])))
        except RecursionError:
            raise click.UsageError(f"--receipts: line {number}: is nested too deep") from None
        except ValueError as fault:
            said = "is not JSON" if isinstance(fault, json.JSONDecodeError | UnicodeDecodeError) else str(fault)
            raise click.UsageError(f"--receipts: line {number}: {said}") from None
    return found

"""`gateway audit`: prove that the record of flagged requests is whole, and remove what is old."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

_FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
_KEY = click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Where the key is [GATEWAY_AUDIT_KEY, else audit.key beside FOLDER].",
)


@click.group(short_help="Verify and trim the audit of flagged requests.")
def audit() -> None:
    """The audit of requests under a residency demand."""


@audit.command()
@_FOLDER
@_KEY
@click.pass_context
def verify(context: click.Context, folder: Path, key_file: Path | None) -> None:
    """Check every line in FOLDER: exit 0, or 1 with one line per finding, or 2 without the key."""
    from gateway.audit.verify import verify as check

    report = check(folder, _key(folder, key_file))
    for note in report.notes:
        click.echo(f"note: {note}")
    for finding in report.findings:
        click.echo(finding, err=True)
    if report.findings:
        context.exit(1)
    tail = f", entries newer than the last seal: {report.unsealed}" if report.unsealed else ""
    click.echo(f"ok: {folder}: entries: {report.entries}, chains: {report.chains}{tail}")


@audit.command()
@_FOLDER
@_KEY
@click.option("--before", required=True, type=click.DateTime(), help="What is older goes (UTC).")
@click.pass_context
def trim(context: click.Context, folder: Path, key_file: Path | None, before: datetime) -> None:
    """Remove the old lines of FOLDER, and sign that this was meant. Exit 1, removing nothing, where it is not whole."""
    from gateway.audit.trim import Unsound
    from gateway.audit.trim import trim as remove

    try:
        removed = remove(folder, _key(folder, key_file), before.replace(tzinfo=UTC).timestamp())
    except Unsound as unsound:
        for finding in unsound.findings:
            click.echo(finding, err=True)
        context.exit(1)
    for chain, last in removed.items():
        click.echo(f"{chain}: removed up to line {last}")
    click.echo(f"ok: {folder}: chains trimmed: {len(removed)}")


def _key(folder: Path, key_file: Path | None) -> bytes:
    from gateway.audit.place import KEY_FILE
    from gateway.settings import load_settings

    given = load_settings().audit_key.get_secret_value()
    if key_file is None and given:
        return given.encode()
    path = key_file or folder.resolve().parent / KEY_FILE
    if not path.is_file():
        raise click.UsageError(f"no key at {path}; set GATEWAY_AUDIT_KEY or give --key-file")
    return path.read_bytes().strip()

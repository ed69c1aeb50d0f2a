"""`gateway rollout`: try a policy folder on a running gateway before it takes effect."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gateway.cli.remote import Gateway, gateway_options

PATH = "/admin/v1/policies/rollout"
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def share_of(text: str) -> float:
    """`5%` or `0.05` as a number."""
    text = text.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise click.BadParameter(f"{text!r}: write a share of the sessions such as 5% or 0.05")
    return share


@click.command(short_help="Try a policy folder on a running gateway.")
@click.argument("folder", required=False, type=FOLDER)
@click.option("--shadow", is_flag=True, help="Decide every request by FOLDER too and report what differs; act on none.")
@click.option(
    "--share", type=share_of, metavar="SHARE", help="Let FOLDER decide this share of the sessions, such as 5%."
)
@click.option("--status", "look", is_flag=True, help="How the trial goes.")
@click.option("--stop", is_flag=True, help="End the trial.")
@click.option("--promote", is_flag=True, help="Put the candidate in force on all replicas.")
@click.option(
    "--candidate",
    "named",
    metavar="VERSION",
    help="What --stop or --promote means: refused where another one is on trial by now. Without it the candidate is "
    "shown, and at a terminal you are asked.",
)
@gateway_options
@click.pass_context
def rollout(
    context: click.Context,
    folder: Path | None,
    shadow: bool,
    share: float | None,
    look: bool,
    stop: bool,
    promote: bool,
    named: str | None,
    url: str,
    admin_key: str | None,
    ca: Path | None,
) -> None:
    """Try FOLDER on a running gateway: in the shadow, or for a share of the sessions."""
    chosen = [name for name, given in (("stop", stop), ("promote", promote), ("status", look)) if given]
    if (shadow or share is not None) == bool(chosen) or len(chosen) > 1 or (shadow and share is not None):
        raise click.UsageError("give one of --shadow FOLDER, --share 5% FOLDER, --status, --stop, --promote")
    if bool(chosen) == (folder is not None):
        raise click.UsageError("--shadow and --share need a FOLDER; --status, --stop and --promote take none")
    if named is not None and not (stop or promote):
        raise click.UsageError("--candidate belongs to --stop or --promote")
    gateway = Gateway(context, url, admin_key, ca)
    if folder is not None:
        started = gateway.ask("POST", PATH, offer(folder, share))
        how = "in the shadow" if share is None else f"for {percent(share)} of the sessions"
        click.echo(f"{started['candidate']} is tried {how}, beside {started['beside']}")
    elif look:
        click.echo("\n".join(report(gateway.ask("GET", PATH))))
    elif (version := named or meant(gateway, "Promote it?" if promote else "End its trial?")) is not None:
        act(gateway, promote, version)
    elif promote:
        click.echo("there is no candidate to promote: begin with `gateway rollout --shadow DIR`", err=True)
        context.exit(1)
    else:
        click.echo(f"nothing was tried; in force is {gateway.ask('GET', PATH)['in_force']}")


def meant(gateway: Gateway, question: str) -> str | None:
    """The candidate of now, which is shown beside what scripts read, and asked about at a terminal; None: nothing is
    tried."""
    told = gateway.ask("GET", PATH)
    click.echo("\n".join(report(told)), err=True)
    if told["candidate"] is None:
        return None
    if sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
    version: str = told["candidate"]["version"]
    return version


def act(gateway: Gateway, promote: bool, version: str) -> None:
    body = {"version": version}
    if promote:
        promoted(gateway.ask("POST", f"{PATH}/promote", body))
    else:
        click.echo(f"the trial is over; in force is {gateway.ask('POST', f'{PATH}/stop', body)['in_force']}")


def offer(folder: Path, share: float | None) -> dict[str, Any]:
    """The body of the request. Raises PolicyFault with all faults where the folder does not compile."""
    from gateway.policy.compile import compile_files
    from gateway.policy.folder import read_folder

    read = read_folder(folder)
    compile_files(read, env=None)
    files = {name: raw.decode() for name, raw in read.files.items() if raw is not None}
    return {"mode": "shadow", "files": files} if share is None else {"mode": "share", "share": share, "files": files}


def report(told: Mapping[str, Any]) -> list[str]:
    """`--status` as lines."""
    if told["candidate"] is None:
        return [f"in force: {told['in_force']}; nothing is tried"]
    trial, compared = told["candidate"], told["same"] + told["different"] + told["renamed"]
    how = "in the shadow" if trial["mode"] == "shadow" else f"for {percent(trial['share'])} of the sessions"
    lines = [
        f"in force: {told['in_force']}",
        f"candidate: {trial['version']}, {how}, on {told['replicas_trying']} of {told['replicas']} replicas",
    ]
    if trial["mode"] == "share":
        return [*lines, f"decided by the candidate: {told['tried']}{of(told['tried'], told['tried'] + told['kept'])}"]
    lines.append(f"decided differently: {told['different']}{of(told['different'], compared)}")
    if told["renamed"]:
        lines.append(f"only the name of the rule: {told['renamed']}")
    lines += [f"  {name}: {count}" for name, count in sorted(told["fields"].items(), key=lambda row: -row[1])]
    for example in told["examples"]:
        changes = (f"{name} {shown(old)} -> {shown(example['new'][name])}" for name, old in example["old"].items())
        lines.append(f"  {example['request']}: {', '.join(changes)}")
    return lines


def percent(share: float) -> str:
    return f"{share * 100:.4g}%"


def of(part: int, whole: int) -> str:
    return f" of {whole} ({part / whole:.2%})" if whole else " of 0"


def shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(value) + "]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def promoted(told: Mapping[str, Any]) -> None:
    version, folder = told["in_force"], told["folder"]
    click.echo(f"{version} is in force on all replicas")
    if folder != version:
        click.echo(
            f"the gateway's folder still holds {folder}: put the new one in its place, so that the next edit starts "
            "from it (the same content is the same version: nothing happens then)",
            err=True,
        )

"""`gateway keys`: every key there is, and those that are made at run time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from gateway.cli.remote import Gateway, gateway_options

PATH = "/admin/v1/keys"
F = TypeVar("F", bound=Callable[..., Any])
_LIMITS = ("requests_per_minute", "requests_per_day", "tokens_per_minute", "tokens_per_day", "concurrent")
_BUDGETS = ("usd_per_day", "usd_per_month", "usd_total")
_SHOWN = ("id", "tenant", "source", "state", "expires")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group(short_help="Make, list, rotate and revoke keys.")
def keys() -> None:
    """Keys of tenants: those of tenants.yaml and those made at run time are one list."""


def remote(command: F) -> F:
    """Hands over the gateway that the options name, instead of them."""

    def run(context: click.Context, /, url: str, admin_key: str | None, ca: Path | None, **rest: Any) -> Any:
        return command(Gateway(context, url, admin_key, ca), **rest)

    update_wrapper(run, command)
    return cast(F, gateway_options(click.pass_context(run)))


@keys.command("hash")
def offline() -> None:
    """Print a new key, once, and its keyed hash for tenants.yaml (GATEWAY_KEY_PEPPER must be set as on the gateway)."""
    from gateway.errors import StartupFault
    from gateway.money.keys import hash_key, new_key
    from gateway.settings import load_settings

    pepper = load_settings().key_pepper.get_secret_value()
    if not pepper:
        raise StartupFault(
            "set GATEWAY_KEY_PEPPER first, to a long random text that you keep (`openssl rand -hex 32`):"
            " a hash without a pepper can be guessed from a copied folder"
        )
    key = new_key()
    click.echo(f"key:  {key}")
    click.echo(f"hash: {hash_key(pepper, key)}")


def _count_options(command: F) -> F:
    for name in reversed(_LIMITS):
        command = click.option(f"--{name.replace('_', '-')}", type=int)(command)
    for name in reversed(_BUDGETS):
        command = click.option(f"--{name.replace('_', '-')}", type=float, help="A hard budget.")(command)
    return command


@keys.command()
@click.option("--tenant", required=True, help="One of tenants.yaml.")
@click.option("--id", help="What it is called; default: made up.")
@click.option("--models", multiple=True, help="Glob of what it may use; may be given again.")
@click.option("--residency", help="Where its data must stay, beside what its tenant says.")
@click.option("--priority", help="The highest it may ask for.")
@click.option("--tag", "tags", multiple=True, help="May be given again.")
@click.option("--expires", help="An ISO 8601 time with its offset, or a time from now such as 12h or 30d.")
@_count_options
@remote
def new(gateway: Gateway, **given: Any) -> None:
    """Make a key at a running gateway. The key is printed this once; all replicas take it within a second."""
    body = {name: given[name] for name in ("tenant", "id", "residency", "priority") if given[name] is not None}
    body |= {name: list(given[name]) for name in ("models", "tags") if given[name]}
    if given["expires"] is not None:
        body["expires"] = moment(given["expires"])
    limits = {name: given[name] for name in _LIMITS if given[name] is not None}
    budgets = [{"usd": given[name], "per": name.split("_")[-1]} for name in _BUDGETS if given[name] is not None]
    _told_once(gateway.ask("POST", PATH, body | ({"limits": limits} if limits else {}) | {"budgets": budgets}))


@keys.command("list")
@click.option("--tenant", help="Of this tenant alone.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as the admin API tells it.")
@remote
def listed(gateway: Gateway, tenant: str | None, as_json: bool) -> None:
    """Every key: its id, tenant, where it comes from, and whether it opens anything. Never the key."""
    told = gateway.ask("GET", PATH)
    rows = [row for row in told["keys"] if tenant in (None, row["tenant"])]
    if as_json:
        click.echo(json.dumps({**told, "keys": rows}, indent=1))
        return
    table = [_SHOWN, *(tuple(_cell(row, name) for name in _SHOWN) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_SHOWN))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for id, why in told["faults"].items():
        click.echo(f"in the store, and no key of ours: {id!r}: {why}", err=True)


@keys.command()
@click.argument("id")
@remote
def show(gateway: Gateway, id: str) -> None:
    """What one key may do, as JSON."""
    click.echo(json.dumps(gateway.ask("GET", f"{PATH}/{id}"), indent=1))


@keys.command()
@click.argument("id")
@remote
def revoke(gateway: Gateway, id: str) -> None:
    """It opens nothing from now on, on every replica within a second. For good."""
    gateway.ask("DELETE", f"{PATH}/{id}")
    click.echo(f"{id} is revoked")


@keys.command()
@click.argument("id")
@click.option("--grace", default="24h", show_default=True, help="How long the secret before stays good, such as 0s.")
@remote
def rotate(gateway: Gateway, id: str, grace: str) -> None:
    """Give a key another secret, printed this once."""
    _told_once(gateway.ask("POST", f"{PATH}/{id}/rotate", {"grace_s": seconds(grace)}))


def _told_once(told: Mapping[str, Any]) -> None:
    click.echo(f"key: {told['key']}")
    click.echo(f"id:  {told['id']}")
    if told["old_until"] is not None:
        click.echo(f"the one before is good until {_time(told['old_until'])}")


def _cell(row: Mapping[str, Any], name: str) -> str:
    if name == "expires":
        return "never" if row[name] is None else _time(row[name])
    return f"{row[name]} ({row['why']})" if name == "state" and row.get("why") else str(row[name])


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def seconds(text: str) -> float:
    """Of `90s`, `15m`, `12h`, `30d`."""
    number, unit = text[:-1], text[-1:]
    if unit not in _SECONDS or not number.isdecimal():
        raise click.BadParameter("give a time such as 0s, 15m, 12h or 30d")
    return float(int(number) * _SECONDS[unit])


def moment(text: str) -> str:
    """In ISO 8601."""
    if text[-1:] in _SECONDS and text[:-1].isdecimal():
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds(text), UTC).isoformat()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise click.BadParameter("--expires: give a time such as 2030-01-01T00:00:00Z, or 12h or 30d from now")
    return text

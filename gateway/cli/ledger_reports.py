"""`gateway ledger`, its reports: from the database itself, or by `--url` from a running gateway."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import click

from gateway.cli.remote import CA_HELP, FILE, Gateway

if TYPE_CHECKING:
    from gateway.reports.ask import Report
    from gateway.reports.reading import Reader

FILTERED = ("tenant", "key", "model", "backend", "outcome", "pipeline", "tag")
FORMATS = ("table", "csv", "json", "parquet")
PATH = "/admin/v1/ledger"
F = TypeVar("F", bound=Callable[..., Any])
Pairs = list[tuple[str, str]]


def source_options(command: F) -> F:
    """What is asked, and of when."""
    for option in (
        click.option("--to", "until", help="As --from; that moment is left out."),
        click.option(
            "--from", "since", help="Attempts that ended from then on: 2026-11-22, 2026-11-22T13:00Z, 7d, 12h."
        ),
        click.option("--ca", type=FILE, help=CA_HELP),
        click.option("--admin-key", help="Its admin key [GATEWAY_ADMIN_KEY]."),
        click.option("--url", help="Ask a running gateway instead of the database (GATEWAY_LEDGER_URL)."),
    ):
        command = option(command)
    return command


def sum_options(command: F) -> F:
    options = [
        click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Into a file."),
        click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True),
        click.option("--offset", type=click.IntRange(0), default=0, help="Lines to leave out at the beginning."),
        click.option("--limit", type=click.IntRange(1), help="Lines at most [1000; 50000 where not a table]."),
        click.option("--unreconciled", is_flag=True, help="List the attempts that are booked at what was set aside."),
        click.option("--where", multiple=True, metavar="NAME=VALUE", help="Any other column, such as rule=chat."),
        *(click.option(f"--{name}", multiple=True, help="Only these.") for name in reversed(FILTERED)),
        click.option("--by", help="What to sum by: tenant,model,day, ..."),
    ]
    for option in options:
        command = option(command)
    return command


def pairs_of(given: dict[str, Any]) -> Pairs:
    """The options as the query string that the admin API takes."""
    made = [(name, value) for name in FILTERED for value in given.get(name) or ()]
    for text in given.get("where") or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--where {text}: NAME=VALUE")
        made.append((name, value))
    named = (("by", "by"), ("from", "since"), ("to", "until"), ("limit", "limit"), ("offset", "offset"))
    return made + [(name, str(given[key])) for name, key in named if given.get(key) is not None]


def sums(context: click.Context, given: dict[str, Any]) -> None:
    """Prints or writes one report."""
    from gateway.reports import writing

    form, out = given["form"], given["out"]
    if form == "parquet":
        if not writing.has_parquet():
            raise click.UsageError(writing.NEEDS_PARQUET)
        if out is None:
            raise click.UsageError("--format parquet needs --out FILE")
    report = _report(context, given)
    if report.more and form != "table":
        click.echo(f"only {len(report.lines)} lines: there are more (--offset, --limit, or a shorter time)", err=True)
    if form == "parquet":
        from gateway.reports import parquet

        parquet.write(report, out)
        return
    text = {"csv": writing.as_csv, "table": writing.as_table}.get(form, lambda one: writing.as_json(one).decode())(
        report
    )
    if out is None:
        click.echo(text, nl=form != "csv")
    else:
        out.write_text(text, encoding="utf-8", newline="")


def _report(context: click.Context, given: dict[str, Any]) -> Report:
    from dataclasses import replace

    from gateway.reports.ask import MOST_LINES, UNRECONCILED, ask_of
    from gateway.reports.writing import from_json

    if given["limit"] is None and given["form"] != "table":
        given = {**given, "limit": MOST_LINES}
    pairs, listed = pairs_of(given), given["unreconciled"]
    if given["url"] is not None:
        query = urlencode([*pairs, *([("unreconciled", "true")] if listed else [])])
        return from_json(asked(context, given, f"{PATH}?{query}"))
    ask = in_words(lambda: ask_of(pairs, time.time(), most=MOST_LINES))
    reader = open_reader()
    if listed:
        return in_words(lambda: reader.attempts(replace(ask, where={**ask.where, **UNRECONCILED})))
    return in_words(lambda: reader.report(ask))


def asked(context: click.Context, given: dict[str, Any], path: str) -> dict[str, Any]:
    return Gateway(context, given["url"], given["admin_key"], given["ca"]).ask("GET", path)


def open_reader() -> Reader:
    from gateway.ledger.place import ledger_url
    from gateway.reports.reading import Reader, open_reading
    from gateway.settings import load_settings

    return Reader(open_reading(ledger_url(load_settings())))


T = TypeVar("T")


def in_words(work: Callable[[], T]) -> T:
    """A refusal ends the command with 2 and its message."""
    from gateway.errors import GatewayError, StartupFault

    try:
        return work()
    except GatewayError as fault:
        raise StartupFault(fault.message) from None

"""`gateway prices`: what the price book knows, what an order costs and why, and which prices should not be trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.model import Usage
    from gateway.prices.book import Known

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
AMOUNT = click.IntRange(0, 10**9)
LENGTH = click.FloatRange(0, 10**6)
MOST_SHOWN = 5
"""Providers that one `show` tells about; more are named."""
_PAIR = re.compile(r"([0-9]{1,9}),([0-9]{1,9})")
"""Of --tokens: one for the prompt, one for the answer."""


def _finite(_: click.Context, __: click.Parameter, length: float) -> float:
    if math.isnan(length):
        raise click.BadParameter("must be a number of seconds")
    return length


@click.group(short_help="What models and GPUs cost, with source, date and confidence.")
def prices() -> None:
    """The price book, and what a policy makes of it."""


@prices.command("list")
@click.option("--provider", help="Only this one; token prices too, which are left out otherwise.")
@click.option("--model", "glob", help="Only names that this glob stands for.")
@click.option("--modality", help="Only image, video, tts, text, ...")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_prices(provider: str | None, glob: str | None, modality: str | None, as_json: bool) -> None:
    """What the price book has."""
    from gateway.prices import told

    found = list(_listed(provider, glob, modality))
    if as_json:
        click.echo(json.dumps([told.as_data(known) for known in found]))
        return
    rows = [(known.provider, known.model, known.modality, told.briefly(known.price), _source(known)) for known in found]
    table(("provider", "model", "modality", "price", "source, date, confidence"), rows)
    if provider is None:
        click.echo("Token prices of well-known LLMs: --provider, such as anthropic, openai or google.", err=True)


@prices.command()
@click.argument("model")
@click.option("--provider", help="At this one; default: each that sells it.")
@click.option("--quality", help="Of a picture.")
@click.option("--size", help="Of a picture, such as 1024x1024.")
@click.option("--resolution", help="Of a film, such as 720p.")
@click.option("--images", type=AMOUNT, default=0, help="How many pictures.")
@click.option("--input-images", type=AMOUNT, default=0, help="How many are sent along.")
@click.option("--seconds", type=LENGTH, callback=_finite, default=0.0, help="Length of what is made.")
@click.option("--characters", type=AMOUNT, default=0, help="To be spoken.")
@click.option("--audio-seconds", type=LENGTH, callback=_finite, default=0.0, help="Length of what is heard.")
@click.option("--tokens", help="IN,OUT: tokens of prompt and answer.")
@click.option("--policy", type=FOLDER, help="As it is under this policy folder.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def show(context: click.Context, /, model: str, provider: str | None, policy: Path | None, **order: Any) -> None:
    """What MODEL costs, where that is from, and what an order of it comes to."""
    from gateway.cli.telling import wrapped
    from gateway.errors import InvalidRequest

    as_json = order.pop("as_json")
    usage = _order(**order)
    found = _of_policy(policy, model) if policy is not None else _sold_by(model, provider)
    if not found:
        click.echo(f"{model}: the price book does not know it; see `gateway prices list`", err=True)
        context.exit(1)
    try:
        told_all = [_shown(name, known, usage) for name, known in found]
    except InvalidRequest as refused:
        click.echo(refused.message, err=True)
        context.exit(1)
    if as_json:
        click.echo(json.dumps(told_all))
        return
    for number, one in enumerate(told_all[:MOST_SHOWN]):
        click.echo("\n" * bool(number) + "\n".join(wrapped(_block(one))))
    if len(told_all) > MOST_SHOWN:
        click.echo(f"\nalso at {', '.join(one['at'] for one in told_all[MOST_SHOWN:])}; --provider chooses")


@prices.command()
@click.argument("folder", type=FOLDER, required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def check(context: click.Context, folder: Path | None, as_json: bool) -> None:
    """Say which prices are old, of low confidence, in conflict or unknown: of the policy in FOLDER, else of the whole
    book. Exit 1 where there is one."""
    rows = list(_doubts() if folder is None else _doubts_of(context, folder))
    if as_json:
        click.echo(json.dumps([dict(zip(("model", "at", "doubt", "source"), row, strict=True)) for row in rows]))
    elif rows:
        table(("model", "at", "doubt", "source, date, confidence"), rows)
    else:
        click.echo("ok: every price is known, of late, and sure")
    if rows:
        context.exit(1)


def _listed(provider: str | None, glob: str | None, modality: str | None) -> Iterator[Known]:
    from gateway.prices import book
    from gateway.prices.catalogue import catalogue
    from gateway.routing.globs import fits

    if modality is not None and modality not in book.modalities():
        known = ", ".join(sorted(book.modalities()))
        raise click.BadParameter(f"nothing in the price book is for `{modality}`; it has {known}")
    if provider is None:
        found: Iterator[Known] = (book.of_entry(entry, _today()) for entry in catalogue().entries)
    elif provider in book.providers():
        found = book.listed_at(provider, _today())
    else:
        known = ", ".join(sorted(book.providers()))
        raise click.BadParameter(f"the price book does not know `{provider}`; it has {known}")
    for one in found:
        named = glob is None or fits(one.model.lower(), (glob.lower(),))
        if named and modality in (None, one.modality):
            yield one


def _sold_by(model: str, provider: str | None) -> list[tuple[str, Known]]:
    """Where it is sold: at `provider`, else wherever our own catalogue has it, or the package by this very name."""
    from gateway.prices import book, genai
    from gateway.prices.catalogue import catalogue

    if provider is not None:
        places = [provider]
    else:
        ours = [name for name in catalogue().providers if book.sells(name, model)]
        theirs = [name for name in genai.providers() if name not in ours and model in genai.models(name)]
        places = [*ours, *theirs]
    found = ((name, book.find(name, model, _today())) for name in places)
    return [(name, known) for name, known in found if known is not None]


def _of_policy(folder: Path, model: str) -> list[tuple[str, Known]]:
    from dataclasses import replace

    from gateway.policy.folder import read_folder
    from gateway.policy.price_checks import quotes
    from gateway.policy.pricing import Pricing
    from gateway.policy.sources import read_sources
    from gateway.prices.book import Known

    sources, _ = read_sources(read_folder(folder))
    found = []
    for _, one, backend, name, quote in quotes(sources, Pricing(sources, _today())):
        if model in (one.name, name) and quote.price is not None:
            known = quote.known or Known(quote.provider or backend, name, one.modality, quote.price)
            found.append((f"{backend} as {name}", replace(known, price=quote.price)))
    return found


def _order(tokens: str | None, **given: Any) -> Usage:
    from gateway.model import Usage

    counts = _PAIR.fullmatch("0,0" if tokens is None else tokens)
    if counts is None:
        raise click.BadParameter("must be two numbers, such as --tokens 1000,200")
    return Usage(int(counts[1]), int(counts[2]), **given)


def _shown(at: str, known: Known, usage: Usage) -> dict[str, Any]:
    """Raises InvalidRequest for a length that is not sold."""
    from dataclasses import replace

    from gateway.prices import told
    from gateway.routing.bill import bill
    from gateway.routing.sold import sold_as

    shown = {"at": at, **told.as_data(known)}
    if known.price.listed is not None:
        shown["listed"] = told.in_words(known.price.listed)
    usage = _at_least_one(usage, known)
    if usage.seconds:
        usage = replace(usage, seconds=sold_as(known.price, usage.seconds, "--seconds"))
    if _ordered(usage) and (order := told.working(known.price, usage)):
        shown |= {"order": order, "micro_usd": bill(known.price, usage)}
    shown["where"] = told.where(known.price.origin)
    return shown


def _ordered(usage: Usage) -> bool:
    from gateway.model import Usage

    return usage != Usage(0, 0)


def _at_least_one(usage: Usage, known: Known) -> Usage:
    """Whoever names a quality or a size and counts nothing means one picture, where pictures are sold."""
    from dataclasses import replace

    from gateway.model import Usage

    kind = usage.quality or usage.size
    counted = usage != Usage(0, 0, quality=usage.quality, size=usage.size, resolution=usage.resolution)
    pictures = any(rate.unit == "image" for rate in known.price.media)
    return replace(usage, images=1) if kind and pictures and not counted else usage


def _block(one: dict[str, Any]) -> list[str]:
    lines = [f"{one['model']} at {one['at']} ({one['modality']})", *(f"  {line}" for line in one["price"])]
    lines += [f"  list price: {line}" for line in one.get("listed", ())]
    lines.append(f"  from {one['where']}")
    lines += [f"  page: {one['seen']}"] if one["seen"] else []
    lines += [f"  conflict: {line}" for line in one["conflicts"]]
    lines += [f"  not sold any more from {one['ends']} on"] if one["ends"] else []
    lines += [f"  note: {one['note']}"] if one["note"] else []
    lines += [f"  charged beside and not metered: {', '.join(one['unbilled'])}"] if one["unbilled"] else []
    return lines + [f"  {line}" for line in one.get("order", ())]


def _doubts() -> Iterator[tuple[str, str, str, str]]:
    """What to doubt (model, where, why) and its origin, of the whole book."""
    for known in _listed(None, None, None):
        if said := _doubt(known):
            yield known.model, known.provider, said, _source(known)


def _doubts_of(context: click.Context, folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """The same of one policy. Ends with 1 where it cannot be read."""
    from gateway.model import Price
    from gateway.policy.folder import read_folder
    from gateway.policy.price_checks import quotes, rented
    from gateway.policy.pricing import Pricing
    from gateway.policy.schema import LocalBackend
    from gateway.policy.sources import read_sources
    from gateway.prices import told
    from gateway.prices.book import Known

    sources, faults = read_sources(read_folder(folder))
    if faults:
        click.echo("\n".join(str(fault) for fault in faults), err=True)
        context.exit(1)
    pricing = Pricing(sources, _today())
    for one in sources.backends.sound.values():
        for gpus in rented(one, pricing) if isinstance(one, LocalBackend) else ():
            known = Known("", gpus.kind or "", "gpu", Price(origin=gpus.priced))
            yield f"{gpus.kind} hour", one.name, _doubt(known) or "assumed", told.where(gpus.priced).partition(" [")[0]
    for _, model, backend, name, quote in quotes(sources, pricing):
        if quote.price is None:
            yield model.name, backend, "unknown", quote.why
        elif said := _doubt(quote.known or Known("", name, "", quote.price), quote.price.origin.marks):
            yield model.name, backend, said, told.where(quote.price.origin).partition(" [")[0]


def _doubt(known: Known, marks: Sequence[str] | None = None) -> str:
    words = {"old": "old", "low_confidence": "low confidence"}
    said = [words[mark] for mark in (known.price.origin.marks if marks is None else marks)]
    return ", ".join([*said, *(["conflict"] if known.conflicts else [])])


def _source(known: Known) -> str:
    from gateway.prices import told

    return told.where(known.price.origin)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints both, one column under the other."""
    widths = [max(len(one[i]) for one in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _today() -> date:
    return datetime.now(UTC).date()

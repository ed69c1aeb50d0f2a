"""`gateway models`: what the catalogue knows of public models, and what it says of those of a policy folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

if TYPE_CHECKING:
    from gateway.catalog.cards import Card
    from gateway.policy.card_checks import Looked

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
MOST_NAMED = 5
"""Names like the one that nothing is called, in one line."""


@click.group(short_help="What public models can do, and when they end.")
def models() -> None:
    """The catalogue: cards of public models, and what they say of a policy."""


@models.command("list")
@click.option("--provider", help="Only of this one; `local`: open-weight models for your own workers.")
@click.option("--modality", help="Only text, image, video or audio.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_models(provider: str | None, modality: str | None, as_json: bool) -> None:
    """The models that have a card."""
    from gateway.catalog.cards import every
    from gateway.cli.prices import table
    from gateway.model import Modality
    from gateway.policy.card_checks import ending

    _among("provider", provider, {card.provider for card in every()})
    _among("modality", modality, set(get_args(Modality)))
    found = [card for card in every() if provider in (None, card.provider) and modality in (None, card.modality)]
    if as_json:
        click.echo(json.dumps([_as_data(card) for card in found]))
        return
    rows = [(card.provider, card.model, card.name, card.modality, ending(card, _today())) for card in found]
    table(("provider", "model", "name", "modality", "end"), rows)


@models.command()
@click.argument("name")
@click.option("--provider", help="At this one; default: each that has it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def show(context: click.Context, name: str, provider: str | None, as_json: bool) -> None:
    """All that is known of NAME: an id, an alias, or what policies call it. Exit 1 where nothing is."""
    from gateway.catalog.cards import every
    from gateway.cli.telling import wrapped

    _among("provider", provider, {card.provider for card in every()})
    found = [card for card in every() if provider in (None, card.provider) and name.lower() in _names(card)]
    if not found:
        click.echo(f"{name}: no card; {_like(name, provider)}", err=True)
        context.exit(1)
    if as_json:
        click.echo(json.dumps([_as_data(card) for card in found]))
        return
    click.echo("\n\n".join("\n".join(wrapped(_block(card))) for card in found))


@models.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def check(context: click.Context, folder: Path, as_json: bool) -> None:
    """Look up each bought model of the policy in FOLDER. Exit 1 where one is deprecated (its end is at most 90 days
    ahead), dead, or not known by anybody."""
    from gateway.policy.card_checks import FINDINGS, looked_up
    from gateway.policy.folder import read_folder
    from gateway.policy.pricing import Pricing
    from gateway.policy.sources import read_sources

    sources, faults = read_sources(read_folder(folder))
    if faults:
        click.echo("\n".join(str(fault) for fault in faults), err=True)
        context.exit(1)
    found = list(looked_up(sources, Pricing(sources, _today())))
    findings = [one for one in found if one.standing in FINDINGS]
    if as_json:
        places = [str(sources.models.document.fault(one.at, "")).split(": ")[0] for one in found]
        click.echo(json.dumps([_row(one, at) for one, at in zip(found, places, strict=True)]))
    else:
        for one in found:
            said = f"{one.standing}: `{one.id}` at {one.provider}" + (f" {one.says}" if one.says else "")
            click.echo(str(sources.models.document.fault(one.at, said)), err=one in findings)
        click.echo(f"{'ok: ' if not findings else ''}{len(found)} bought models, findings: {len(findings)}")
    if findings:
        context.exit(1)


@models.command()
@click.argument("provider")
def export(provider: str) -> None:
    """Entries for models.yaml, of each model of PROVIDER that has not ended."""
    from gateway.catalog.cards import every
    from gateway.policy.ready_entries import ready_entries

    _among("PROVIDER", provider, {card.provider for card in every()})
    click.echo(ready_entries(provider), nl=False)


def _among(what: str, given: str | None, known: set[str]) -> None:
    if given is not None and given not in known:
        raise click.BadParameter(f"no card has the {what.lower()} `{given}`; known are {', '.join(sorted(known))}")


def _names(card: Card) -> set[str]:
    return {name.lower() for name in (card.model, card.name, *card.aliases)}


def _like(name: str, provider: str | None) -> str:
    from difflib import get_close_matches

    from gateway.catalog.cards import every

    names = sorted({name for card in every() if provider in (None, card.provider) for name in _names(card)})
    close = get_close_matches(name.lower(), names, n=MOST_NAMED)
    return f"did you mean {' or '.join(close)}?" if close else "`gateway models list` has all that are known"


def _block(card: Card) -> Iterator[str]:
    """Lines about one card."""
    from gateway.catalog.offers import can_of
    from gateway.policy.card_checks import ending

    yield f"{card.model} at {card.provider} ({card.modality})"
    yield f"  in a policy: {card.name}, dialect: {card.dialect}"
    if card.aliases:
        yield f"  also called {', '.join(card.aliases)}"
    if card.engines:
        gpus = f", on {card.gpus} GPUs" if card.gpus > 1 else ""
        yield f"  engines: {', '.join(card.engines)}; takes {card.memory_gb:g} GB{gpus}"
    for key, value in can_of(card.offer).items() if card.offer is not None else ():
        yield f"  {key}: {_shown(value)}"
    if end := ending(card, _today()):
        yield f"  {end}"
    if card.engines == ():
        yield f"  price: {_price(card)}"
    if card.note:
        yield f"  note: {card.note}"
    yield f"  from {card.source}, {card.as_of}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {each:g}" if isinstance(each, float) else f"{key} {each}" for key, each in value.items()
        )
    if isinstance(value, list):
        return ", ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _price(card: Card) -> str:
    from gateway.prices import book, told

    known = book.find(card.provider, card.model, _today())
    if known is None:
        return "nobody knows it; write `price` in models.yaml or prices.yaml"
    return f"{told.briefly(known.price)} ({told.where(known.price.origin)})"


def _as_data(card: Card) -> dict[str, Any]:
    from gateway.catalog.offers import can_of

    return {
        "provider": card.provider,
        "model": card.model,
        "name": card.name,
        "modality": card.modality,
        "dialect": card.dialect,
        "aliases": card.aliases,
        "can": None if card.offer is None else can_of(card.offer),
        "retires": None if card.retires is None else card.retires.isoformat(),
        "use": card.use,
        "engines": card.engines,
        "memory_gb": card.memory_gb,
        "gpus": card.gpus,
        "price": None if card.engines else _price(card),
        "note": card.note,
        "source": card.source,
        "as_of": card.as_of.isoformat(),
    }


def _row(one: Looked, at: str) -> dict[str, str]:
    told = {"model": one.model, "backend": one.backend, "provider": one.provider, "as": one.id}
    return {"at": at, **told, "standing": one.standing, "says": one.says}


def _today() -> date:
    return datetime.now(UTC).date()

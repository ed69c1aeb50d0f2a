"""`gateway ledger saved` and `advice`, and the reader that a gateway asks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from gateway.cli.ledger_reports import PATH, asked, in_words, open_reader, pairs_of, source_options

if TYPE_CHECKING:
    from gateway.model import Policy

_FORMAT = click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
_UTILISATION = click.option("--utilisation", help="Of further GPUs: 0.75 unless told otherwise.")
_POLICIES = click.option(
    "--policies",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder with prices and GPUs [GATEWAY_POLICIES].",
)


@click.command(short_help="What the mix of own GPUs and APIs saved.")
@source_options
@_UTILISATION
@_POLICIES
@_FORMAT
@click.pass_context
def saved(context: click.Context, /, **given: Any) -> None:
    """The same traffic all bought, and all on our own GPUs, beside what it did cost; with the working."""
    from gateway.reports.ask import ask_of, share_of
    from gateway.reports.gathering import material
    from gateway.reports.saved import UTILISATION
    from gateway.reports.telling import tell_saved
    from gateway.reports.writing import encoded

    def here() -> Any:
        share = UTILISATION if given["utilisation"] is None else share_of("utilisation", given["utilisation"])
        return material(open_reader(), ask_of(pairs_of(given), time.time())).saved(policy_of(given), share)

    tell(context, given, "saved", here, encoded, tell_saved)


@click.command(short_help="What routed data advises.")
@source_options
@_UTILISATION
@click.option("--gpu-usd", help="For what one GPU is bought; without it one is rented.")
@_POLICIES
@_FORMAT
@click.pass_context
def advice(context: click.Context, /, **given: Any) -> None:
    """Another worker, idle GPUs, what was bought although there was room; each with its working."""
    from gateway.reports.ask import ask_of, micro_of, share_of
    from gateway.reports.gathering import facts
    from gateway.reports.saved import UTILISATION
    from gateway.reports.telling import tell_advice
    from gateway.reports.writing import encoded

    def here() -> Any:
        share = UTILISATION if given["utilisation"] is None else share_of("utilisation", given["utilisation"])
        price = None if given["gpu_usd"] is None else micro_of("gpu-usd", given["gpu_usd"])
        return facts(open_reader(), ask_of(pairs_of(given), time.time())).advise(policy_of(given), share, price)

    tell(context, given, "advice", here, encoded, tell_advice)


@click.command(hidden=True)
def answer() -> None:
    """Answer a gateway's questions, until its end."""
    from gateway.reports.answering import answer_all

    answer_all(open_reader(), sys.stdin.buffer, sys.stdout.buffer)


def tell(
    context: click.Context,
    given: dict[str, Any],
    what: str,
    here: Callable[[], Any],
    encoded: Callable[[Any], bytes],
    text: Callable[[Any], str],
) -> None:
    """Worked out here, or asked of a running gateway; both go through the same JSON."""
    import json

    if given["url"] is None:
        told = json.loads(encoded(in_words(here)))
    else:
        names = (("utilisation", "utilisation"), ("gpu_usd", "gpu_usd"))
        more = [(name, given[key]) for name, key in names if given.get(key) is not None]
        told = asked(context, given, f"{PATH}/{what}?{urlencode([*pairs_of(given), *more])}")
    click.echo(json.dumps(told) if given["form"] == "json" else text(told))


def policy_of(given: dict[str, Any]) -> Policy:
    """Raises PolicyFault."""
    from gateway.policy.compile import compile_folder
    from gateway.settings import load_settings

    return compile_folder(given["policies"] or load_settings().policies, env=None)

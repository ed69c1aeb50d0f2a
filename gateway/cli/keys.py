"""`gateway keys`: make a key and the keyed hash that tenants.yaml holds for it."""

from __future__ import annotations

import click


@click.group(short_help="Make a key for tenants.yaml.")
def keys() -> None:
    """Gateway keys."""


@keys.command()
def new() -> None:
    """Print a new key, once, and its keyed hash for tenants.yaml (GATEWAY_KEY_PEPPER must be set as on the gateway)."""
    from secrets import token_urlsafe

    from gateway.errors import StartupFault
    from gateway.money.keys import hash_key
    from gateway.settings import load_settings

    pepper = load_settings().key_pepper.get_secret_value()
    if not pepper:
        raise StartupFault("set GATEWAY_KEY_PEPPER first: a hash without a pepper can be guessed from a copied folder")
    key = f"hrg-{token_urlsafe(32)}"
    click.echo(f"key:  {key}")
    click.echo(f"hash: {hash_key(pepper, key)}")

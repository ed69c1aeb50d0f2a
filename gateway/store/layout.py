"""Which layout of the store this gateway knows: an older one must not use what a newer one has laid out otherwise.

LAYOUT rises by one when a key changes its meaning; OLDEST_BESIDE rises to it where gateways that do not know of that
cannot run beside those which do. A change that only adds keys raises neither. docs/store.md has the rules.
"""

from __future__ import annotations

import re

from gateway.errors import StartupFault, StoreFault
from gateway.store.connection import Store
from gateway.store.scripts import load

LAYOUT, OLDEST_BESIDE = 1, 1
KEY = "gw:layout"
_SCRIPT = load("gateway.store", "layout")
_FORM = re.compile(rb"(\d{1,9}) (\d{1,9})")


async def check_layout(store: Store, own: int = LAYOUT, oldest: int = OLDEST_BESIDE) -> None:
    """Notes this gateway's layout in the store. Raises StartupFault where it and those before it cannot share one."""
    try:
        held: bytes = await store.eval(_SCRIPT, [KEY], [own, oldest])
    except StoreFault as fault:
        raise StartupFault(f"the store at {store.where} cannot be used: {fault}") from fault
    form = _FORM.fullmatch(held)
    if form is None:
        raise StartupFault(f"the store at {store.where} has a `{KEY}` that no gateway wrote; use another database")
    number, least = map(int, form.groups())
    if own < least:
        raise StartupFault(
            f"the store at {store.where} has layout {number}, and only gateways of layout {least} or newer can use it; "
            f"this one has {own}: start a newer gateway, or give this one another store"
        )
    if number < oldest:
        raise StartupFault(
            f"the store at {store.where} has layout {number}, and this gateway cannot run beside those of a layout "
            f"before {oldest}: end them all, delete `{KEY}`, and start again"
        )

"""What must hold before anything is served: a policy folder that compiles, with its keys usable, and a store that is
fit for use. The parent of several processes looks at the folder too, before it starts them."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from functools import partial

from gateway.errors import StartupFault, StoreFault
from gateway.finders.watch import missing_extra
from gateway.model import Policy
from gateway.money.keys import DEMO_KEY
from gateway.policy.live import LivePolicy
from gateway.settings import Settings
from gateway.store.connection import Store
from gateway.store.key_file import once_written
from gateway.store.layout import check_layout
from gateway.store.sealing import Sealing
from gateway.store.wire import UNUSABLE, ReplyFault

_POLICY_KEY = b"gateway policy versions"
_ISSUED_KEYS = b"gateway issued keys"
_JOBS = b"gateway jobs"
JOBS_KEY_FILE = "jobs.key"
_KEY_BYTES = 32
SHORTEST_KEY = 16
STORE_SECONDS, STORE_PAUSE = 5.0, 0.2
"""How long a start waits for a store that does not answer, and between two tries: a store that starts beside us, or a
machine that is busy because all start at once. What lasts longer is for whoever starts us again."""
_log = logging.getLogger("gateway")


def load_policy(settings: Settings) -> LivePolicy:
    """The folder, with what keys need around them. Raises PolicyFault or StartupFault."""
    if not settings.policies.is_dir():
        raise StartupFault(f"no policy folder at {settings.policies}; give one with --policies or GATEWAY_POLICIES")
    pepper = settings.key_pepper.get_secret_value()
    zone = settings.zone
    live = LivePolicy(
        settings.policies,
        refuse=lambda old, new: keys_refused(new, pepper, old) or zone_refused(new, zone) or missing_extra(new),
    )
    refusal = keys_refused(live.current, pepper) or zone_refused(live.current, zone) or missing_extra(live.current)
    if refusal is not None:
        raise StartupFault(refusal)
    if not live.current.tenants:
        _log.warning("no tenants: only direct calls from this host are answered, none of web pages or proxies")
    return live


def keys_refused(policy: Policy, pepper: str, before: Policy | None = None) -> str | None:
    """Why the keys of this policy must not take effect: hashes without their pepper, or keys that are suddenly gone.

    A file that is missing for a moment must not open the gateway to everybody on this host.
    """
    if any(key != DEMO_KEY for key in policy.keys) and not pepper:
        return "tenants.yaml holds keyed hashes: set GATEWAY_KEY_PEPPER to the pepper they were made with"
    if before is not None and before.tenants and not policy.tenants:
        return "tenants.yaml: its tenants are gone; put it back, or restart the gateway to run without keys"
    return None


def policy_key(settings: Settings) -> bytes | None:
    """Under which replicas share policies; None: they do not.

    `GATEWAY_POLICY_KEY`, else one derived from the pepper, which all replicas hold too. An embedded store serves this
    gateway alone, so a key for its lifetime will do: whatever an earlier life announced means nothing then, and the
    folder holds after a restart. Raises StartupFault for a key that could be guessed from what it sealed.
    """
    if settings.policy_key is not None:
        given = settings.policy_key.get_secret_value().encode()
        if given and len(given) < SHORTEST_KEY:
            raise StartupFault(f"GATEWAY_POLICY_KEY: give at least {SHORTEST_KEY} characters, or none to share nothing")
        return given or None
    if settings.redis_url is None:
        return secrets.token_hex(_KEY_BYTES).encode()
    pepper = settings.key_pepper.get_secret_value()
    return hmac.digest(pepper.encode(), _POLICY_KEY, "sha256") if pepper else None


def issued_seal(settings: Settings) -> Sealing | None:
    """Under which replicas share the keys that are made at run time; None without a pepper: there are none then."""
    pepper = settings.key_pepper.get_secret_value()
    if not pepper:
        return None
    return Sealing(hmac.digest(pepper.encode(), _ISSUED_KEYS, "sha256"), "GATEWAY_KEY_PEPPER")


def jobs_secret(settings: Settings) -> bytes | None:
    """Under which jobs are sealed in the store: `GATEWAY_JOBS_KEY`, else one derived from the pepper, else, where the
    store is this gateway's alone, that of a file beside it. None: replicas share no secret, so there are no jobs.
    Raises StartupFault."""
    if settings.jobs_key is not None:
        return settings.jobs_key.get_secret_value().encode()
    if pepper := settings.key_pepper.get_secret_value():
        return hmac.digest(pepper.encode(), _JOBS, "sha256").hex().encode()
    if settings.redis_url is not None:
        return None
    try:
        return once_written(settings.data_dir / JOBS_KEY_FILE)
    except OSError as fault:
        raise StartupFault(
            f"the key of jobs cannot be kept in {settings.data_dir} ({fault.strerror}); set GATEWAY_JOBS_KEY"
        ) from None


def zone_refused(policy: Policy, zone: str | None) -> str | None:
    """Why this policy must not take effect: the gateway stands in a zone that it does not have."""
    if zone is None or zone in policy.zones:
        return None
    known = ", ".join(policy.zones) or "none"
    return f"GATEWAY_ZONE is `{zone}`, which is no zone of backends.yaml; it has {known}"


async def check_store(url: str) -> None:
    """Raises StartupFault for a store that cannot be used, before anything is served."""
    store = Store(url)
    try:
        await patiently(store.check)
        await patiently(partial(check_layout, store))
    finally:
        await store.aclose()


async def patiently(check: Callable[[], Awaitable[None]], seconds: float = STORE_SECONDS) -> None:
    """`check` of a store, again while it fails by what may pass. Raises its last StartupFault."""
    last = time.monotonic() + seconds
    told = False
    while True:
        try:
            return await check()
        except StartupFault as fault:
            if not _may_pass(fault.__cause__) or time.monotonic() >= last:
                raise
            if not told:
                _log.warning("%s; trying again for %g s", fault, seconds)
                told = True
        await asyncio.sleep(STORE_PAUSE)


def _may_pass(cause: BaseException | None) -> bool:
    """A store that is slow, starts, loads or changes its primary; not one that refuses us, or is set up wrongly."""
    if isinstance(cause, ReplyFault):
        return cause.code in UNUSABLE
    return isinstance(cause, StoreFault | OSError) and not isinstance(cause, ssl.SSLError)

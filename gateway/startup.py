"""What must hold before anything is served: a policy folder that compiles, with its keys usable, and a store that is
fit for use. The parent of several processes looks at the folder too, before it starts them."""

from __future__ import annotations

import logging

from gateway.errors import StartupFault
from gateway.model import Policy
from gateway.money.keys import DEMO_KEY
from gateway.policy.live import LivePolicy
from gateway.settings import Settings
from gateway.store.connection import Store

_log = logging.getLogger("gateway")


def load_policy(settings: Settings) -> LivePolicy:
    """The folder, with what keys need around them. Raises PolicyFault or StartupFault."""
    if not settings.policies.is_dir():
        raise StartupFault(f"no policy folder at {settings.policies}; give one with --policies or GATEWAY_POLICIES")
    pepper = settings.key_pepper.get_secret_value()
    zone = settings.zone
    live = LivePolicy(
        settings.policies, refuse=lambda old, new: keys_refused(new, pepper, old) or zone_refused(new, zone)
    )
    refusal = keys_refused(live.current, pepper) or zone_refused(live.current, zone)
    if refusal is not None:
        raise StartupFault(refusal)
    if not live.current.keys:
        _log.warning("no key is configured: only loopback callers are answered")
    return live


def keys_refused(policy: Policy, pepper: str, before: Policy | None = None) -> str | None:
    """Why the keys of this policy must not take effect: hashes without their pepper, or keys that are suddenly gone.

    A file that is missing for a moment must not open the gateway to everybody on this host.
    """
    if any(key != DEMO_KEY for key in policy.keys) and not pepper:
        return "tenants.yaml holds keyed hashes: set GATEWAY_KEY_PEPPER to the pepper they were made with"
    if before is not None and before.keys and not policy.keys:
        return "tenants.yaml: its keys are gone; put it back, or restart the gateway to run without keys"
    return None


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
        await store.check()
    finally:
        await store.aclose()

"""`/admin/v1/keys` for operators: every key there is, made here or written in tenants.yaml, and what it opens.

A secret is told once, in the answer to whoever had it made, and kept nowhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request

from gateway.console.incoming import body
from gateway.console.store_words import in_our_words
from gateway.edge.services import Services
from gateway.errors import InvalidKey, InvalidRequest, KeyConflict, NotFound
from gateway.model import IssuedKey, Policy, Tenant
from gateway.money.keys import DEMO_KEY, hash_key, new_key
from gateway.policy.issued import NewKeyIn, granted, read_new, terms_of
from gateway.policy.validate import nearest

MAX_BODY_BYTES = 64 << 10
USUAL_GRACE_SECONDS = 86_400.0
LONGEST_GRACE_SECONDS = 30 * 86_400.0
SHARED = "the replicas share keys"
_SHOWN = ("name", "unit", "cap", "per", "hard", "local")
"""Of a quota; the address of its webhook may be a secret."""
State = Literal["active", "expired", "revoked", "refused"]


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a rotation: how long the secret that is replaced stays good, in seconds."""

    grace_s: float = USUAL_GRACE_SECONDS


def key_routes(services: Services) -> APIRouter:
    """To be included where access has been checked."""
    api, ring = APIRouter(), services.keyring

    @api.get("")
    async def every_key(tenant: str | None = None) -> Mapping[str, Any]:
        """All keys, of one tenant if it is named, and whose tokens stand for one; `faults`: what lies in the store and
        is no key of ours."""
        rows = await asyncio.to_thread(all_rows, services.policy, ring.keys, tenant)
        return {"keys": rows, "faults": ring.faults, "issuers": services.signers.told()}

    @api.post("", status_code=201)
    async def make(request: Request) -> Mapping[str, Any]:
        """Body: the terms of a key as in tenants.yaml, and `tenant`. Answers with `key`, the secret, this once."""
        asked = read_new(await body(request, MAX_BODY_BYTES))
        secret, key = make_key(services, asked)
        with in_our_words(SHARED):
            await ring.put(key)
        return {"key": secret, **issued_row(services.policy, key)}

    @api.get("/{id}")
    async def one_key(id: str) -> Mapping[str, Any]:
        rows = await asyncio.to_thread(all_rows, services.policy, ring.keys, None)
        found = [row for row in rows if row["id"] == id]
        if not found:
            _known(services, id)
        return found[0]

    @api.delete("/{id}")
    async def revoke(id: str) -> Mapping[str, Any]:
        """It opens nothing from now on: here at once, on every replica within a second. For good.

        503 where the store is away: it is closed here, and the others hear of it when the store is back."""
        _known(services, id)
        with in_our_words(f"`{id}` is closed at this replica alone so far: {SHARED}"):
            return issued_row(services.policy, await ring.revoke(id))

    @api.post("/{id}/rotate")
    async def rotate(request: Request, id: str) -> Mapping[str, Any]:
        """Another secret for the same key, told this once; the one before is good for `grace_s` seconds more."""
        grace = read_rotation(await body(request, MAX_BODY_BYTES))
        was = _known(services, id)
        secret, key = rotated(services, was, grace)
        with in_our_words(SHARED):
            await ring.put(key, was)
        return {"key": secret, **issued_row(services.policy, key)}

    return api


def make_key(services: Services, asked: NewKeyIn) -> tuple[str, IssuedKey]:
    """The secret, and the key. Raises NotFound, KeyConflict or InvalidRequest for terms that would open nothing."""
    policy = services.policy
    if asked.tenant not in policy.tenants:
        raise NotFound(f"no tenant `{asked.tenant}` in tenants.yaml; {nearest(asked.tenant, [*policy.tenants])}")
    secret = new_key()
    hashed = hash_key(services.settings.key_pepper.get_secret_value(), secret)
    id = asked.id or f"key-{hashed[:12]}"
    if id in services.keyring.keys or any(tenant.key == id for tenant in policy.keys.values()):
        raise KeyConflict(f"there is a key `{id}` already, or was: ids are given once", param="id")
    expires = None if asked.expires is None else asked.expires.timestamp()
    if expires is not None and expires <= time.time():
        raise InvalidRequest("expires: lies in the past", param="expires")
    made = IssuedKey(
        id=id, tenant=asked.tenant, hash=hashed, created=time.time(), terms=terms_of(asked), expires=expires
    )
    try:
        granted(policy, made)
    except InvalidKey:
        raise InvalidRequest(
            f"residency: give `local` or zones of the policy; {nearest(asked.residency or '', [*policy.zones])}",
            param="residency",
        ) from None
    return secret, made


def rotated(services: Services, key: IssuedKey, grace: float) -> tuple[str, IssuedKey]:
    """Raises KeyConflict for a key that is over."""
    now = time.time()
    if key.over is not None and key.over <= now:
        raise KeyConflict(f"`{key.id}` is over: make another key")
    secret = new_key()
    hashed = hash_key(services.settings.key_pepper.get_secret_value(), secret)
    return secret, replace(key, hash=hashed, old_hash=key.hash, old_until=now + grace, serial=key.serial + 1)


def all_rows(policy: Policy, issued: Mapping[str, IssuedKey], tenant: str | None) -> list[dict[str, Any]]:
    """Those of tenants.yaml first, then those made at run time."""
    written = [_row(one, "tenants.yaml") for hashed, one in policy.keys.items() if hashed != DEMO_KEY]
    rows = [*written, *(issued_row(policy, key) for key in issued.values())]
    return sorted((row for row in rows if tenant in (None, row["tenant"])), key=lambda row: (row["tenant"], row["id"]))


def issued_row(policy: Policy, key: IssuedKey) -> dict[str, Any]:
    """What it opens under this policy; `why` says why that is nothing."""
    try:
        row, why = _row(granted(policy, key), "run time"), None
    except InvalidKey as refused:
        row, why = _row(Tenant(key.tenant, key=key.id, expires=key.expires), "run time", "refused"), refused.message
    old = key.old_until if key.old_until is not None and key.old_until > time.time() else None
    state = "revoked" if key.revoked is not None else row["state"]
    return {**row, "state": state, "why": why, "created": key.created, "revoked": key.revoked, "old_until": old}


def _row(one: Tenant, source: str, state: State | None = None) -> dict[str, Any]:
    """Times are seconds since the epoch; `models` are the lists that must all hold."""
    over = one.expires is not None and one.expires <= time.time()
    return {
        "id": one.key,
        "tenant": one.name,
        "source": source,
        "state": "expired" if over else state or "active",
        "expires": one.expires,
        "models": [list(globs) for globs in (one.models, one.also_models) if globs is not None],
        "residency": one.residency.words(),
        "priority": one.priority,
        "tags": sorted(one.tags),
        "quotas": [{name: told for name, told in asdict(quota).items() if name in _SHOWN} for quota in one.quotas],
    }


def _known(services: Services, id: str) -> IssuedKey:
    """One made at run time. Raises NotFound, or KeyConflict for one that the policy folder alone can change."""
    key = services.keyring.keys.get(id)
    if key is not None:
        return key
    if any(tenant.key == id for tenant in services.policy.keys.values()):
        raise KeyConflict(f"`{id}` is written in tenants.yaml: change it there")
    raise NotFound(f"no key `{id}`; {nearest(id, [*services.keyring.keys])}")


def read_rotation(raw: bytes) -> float:
    """Raises InvalidRequest."""
    try:
        asked = msgspec.json.decode(raw, type=Rotation) if raw else Rotation()
    except msgspec.MsgspecError as fault:
        raise InvalidRequest(f"the body of a rotation is {{grace_s}}: {fault}", param="grace_s") from None
    if not 0 <= asked.grace_s <= LONGEST_GRACE_SECONDS:
        raise InvalidRequest(f"grace_s: from 0 to {LONGEST_GRACE_SECONDS:g} seconds", param="grace_s")
    return asked.grace_s

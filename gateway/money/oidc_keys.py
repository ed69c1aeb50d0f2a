"""The public keys of those who sign tokens: fetched in the background, kept while their issuer is down."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.errors import BadAnswer, UpstreamFault
from gateway.model import Issuer

FRESH_SECONDS = 300.0
"""Between two fetches where all is well: how long a key that its issuer took back still opens something."""
LEAST_SECONDS = 10.0
"""Between two fetches, whoever asks: a token with an unknown key must not make us ask its issuer each time."""
TICK_SECONDS = 1.0
MOST_KEYS = 64
SHORTEST_RSA_BITS = 2048
"""RFC 7518, 3.3."""
KINDS = frozenset({"RSA", "EC", "OKP"})
"""Never `oct`: a shared secret."""
_LOOPBACK = ("http://127.0.0.1", "http://[::1]", "http://localhost")
_log = logging.getLogger("gateway")

Fetch = Callable[[str], Awaitable[bytes]]
"""Raises UpstreamFault."""
Where = tuple[str, str | None]
"""An issuer is fetched anew where its address changes."""


class SigningKey(NamedTuple):
    """`algorithm`: the only one that it may be used with; None: any of its kind."""

    key: Any
    algorithm: str | None


class _State:
    def __init__(self) -> None:
        self.keys: Mapping[str, SigningKey] | None = None
        self.raw: Any = None
        self.fault: str | None = None
        self.tried = self.fetched = float("-inf")
        self.asked = False


class IssuerKeys:
    """One per process. `issuers` gives those of the policies that may decide now; `on_change` is called whenever the
    keys of one of them are others than before."""

    def __init__(
        self, fetch: Fetch, issuers: Callable[[], Collection[Issuer]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch, self._issuers, self._now = fetch, issuers, now
        self._states: dict[Where, _State] = {}
        self._wanted = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []

    def of(self, issuer: Issuer) -> Mapping[str, SigningKey] | None:
        """`kid` -> key; None where they were never fetched."""
        state = self._states.get(_where(issuer))
        return None if state is None else state.keys

    def ask(self, issuer: Issuer) -> None:
        """A token names a key that is not there: there may be news."""
        state = self._states.get(_where(issuer))
        if state is not None:
            state.asked = True
        self._wanted.set()

    def told(self) -> list[dict[str, Any]]:
        """For operators: each issuer, how many keys are known, and what was wrong at the last fetch."""
        rows = [(issuer, self._states.get(_where(issuer), _State())) for issuer in self._issuers()]
        return [{"issuer": one.name, "keys": len(state.keys or ()), "fault": state.fault} for one, state in rows]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue
            self._wanted.clear()

    async def look(self) -> None:
        """Fetches what is due; one slow issuer does not keep the others waiting for its time-out twice."""
        issuers = {_where(one): one for one in self._issuers()}
        self._states = {where: self._states.get(where) or _State() for where in issuers}
        due = [(issuers[where], state) for where, state in self._states.items() if self._due(state)]
        await asyncio.gather(*(self._refresh(issuer, state) for issuer, state in due))

    def _due(self, state: _State) -> bool:
        now = self._now()
        if now - state.tried < LEAST_SECONDS:
            return False
        return state.asked or state.fault is not None or now - state.fetched >= FRESH_SECONDS

    async def _refresh(self, issuer: Issuer, state: _State) -> None:
        state.tried, state.asked = self._now(), False
        try:
            raw = await self._document(issuer)
            keys = signing_keys(raw)
        except UpstreamFault as fault:
            _failed(issuer, state, fault.message)
            return
        except Exception as fault:  # what others publish must not end the refresh of all issuers
            _failed(issuer, state, f"what it publishes cannot be read ({type(fault).__name__})")
            return
        state.fetched = state.tried
        if state.keys is None or raw != state.raw:
            state.keys, state.raw = keys, raw
            for listener in self.on_change:
                listener()
        if keys:
            state.fault = None
        else:
            _failed(issuer, state, "it publishes no key that could sign a token")

    async def _document(self, issuer: Issuer) -> Any:
        url = issuer.jwks_url
        if url is None:
            found = _json(await self._fetch(issuer.url.rstrip("/") + "/.well-known/openid-configuration"))
            if found.get("issuer") != issuer.url:
                raise BadAnswer("its discovery document is that of another issuer")
            url = found.get("jwks_uri")
            safe = ("https://", *_LOOPBACK) if issuer.url.startswith(_LOOPBACK) else "https://"
            if not isinstance(url, str) or not url.startswith(safe):
                raise BadAnswer("its discovery document names no https address of its keys")
        return _json(await self._fetch(url))


def signing_keys(document: Mapping[str, Any]) -> dict[str, SigningKey]:
    """`kid` -> key, of those that may sign tokens: none where their issuer took all of them back. Raises BadAnswer for
    what is no set of keys."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise BadAnswer("what it publishes is no set of keys")
    made = [_key(one) for one in listed[:MOST_KEYS] if isinstance(one, dict)]
    return dict(one for one in made if one is not None)


def _key(one: Mapping[str, Any]) -> tuple[str, SigningKey] | None:
    kid, kind, algorithm = one.get("kid"), one.get("kty"), one.get("alg")
    if not isinstance(kid, str) or not isinstance(kind, str) or kind not in KINDS:
        return None
    if one.get("use", "sig") != "sig" or "d" in one:
        return None
    try:
        key = jwt.PyJWK(dict(one)).key
    except Exception:  # PyJWT lets through whatever its parts raise: NotImplementedError for `alg: none`, for one
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < SHORTEST_RSA_BITS:
        return None
    return kid, SigningKey(key, algorithm if isinstance(algorithm, str) else None)


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadAnswer("its answer is no JSON object")
    return found


def _failed(issuer: Issuer, state: _State, fault: str) -> None:
    """Logged once, until it is well again, or another fault."""
    if state.fault != fault:
        told = {"issuer": issuer.name, "fault": fault, "known": len(state.keys or ())}
        _log.warning("an issuer's keys are not as they should be", extra={"fields": told})
    state.fault = fault


def _where(issuer: Issuer) -> Where:
    return issuer.url, issuer.jwks_url

"""Addresses of bought APIs that can be written and are seldom meant. Yields warnings."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.policy.addresses import is_private, names_version
from gateway.policy.schema import ManagedBackend, ManagedUpstream
from gateway.policy.source import Fault
from gateway.policy.sources import Sources

_NO_VERSION = (
    "names no version of the API: requests go to `/chat/completions` right below it; "
    "write it as the provider gives it, such as https://api.example.com/v1"
)
_PLAIN = "sends its key in the clear: write https://"


def address_warnings(sources: Sources) -> Iterator[Fault]:
    for index, backend in sources.backends.sound.items():
        for j, account in enumerate(backend.upstreams):
            if isinstance(backend, ManagedBackend) and isinstance(account, ManagedUpstream):
                for said in _said(backend, account):
                    yield sources.backends.document.fault(("backends", index, "upstreams", j, "url"), said)


def _said(backend: ManagedBackend, account: ManagedUpstream) -> Iterator[str]:
    if not names_version(account.url):
        yield _NO_VERSION
    plain = account.url.startswith("http://")
    if plain and account.key is not None and not backend.simulated and not is_private(account.url):
        yield _PLAIN

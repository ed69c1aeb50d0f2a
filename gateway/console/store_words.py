"""What goes wrong between replicas, in the words of the admin API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import NoCapacity, StoreFault

STORE_RETRY_AFTER_SECONDS = 2


@contextmanager
def in_our_words(what: str = "the replicas share workers") -> Iterator[None]:
    """A store that is away becomes NoCapacity."""
    try:
        yield
    except StoreFault as fault:
        raise NoCapacity(f"{what} through the store: {fault}", retry_after=STORE_RETRY_AFTER_SECONDS) from None

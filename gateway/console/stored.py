"""What an admin call says where the store is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import NoCapacity, StoreFault

RETRY_AFTER_SECONDS = 2


@contextmanager
def in_time() -> Iterator[None]:
    """A store that does not answer becomes NoCapacity."""
    try:
        yield
    except StoreFault as fault:
        said = f"the replicas share this through the store: {fault}"
        raise NoCapacity(said, retry_after=RETRY_AFTER_SECONDS) from None

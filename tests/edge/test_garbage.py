"""What failed or left is freed at once: until the garbage collector comes, megabytes of bodies could wait for it."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator

import pytest

from gateway.edge.account import Account
from gateway.edge.deadline import Patience
from gateway.edge.protocol import Protocol
from gateway.errors import FleetSaturated
from tests.edge.serving import WAIT_SECONDS, serving
from tests.worlds import request


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def connections() -> int:
    return sum(isinstance(each, Protocol) for each in gc.get_objects())


@pytest.mark.parametrize("sent", [b"", b"x" * 10, b"x" * 300_000], ids=len)
def test_a_connection_that_ends_in_the_upload(sent: bytes) -> None:
    with serving(Patience()) as server:
        before = connections()
        with server.connect() as connection:
            connection.sendall(b"POST /hang HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n" + sent)
        assert server.left.wait(WAIT_SECONDS)
        deadline = time.monotonic() + WAIT_SECONDS
        while connections() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert connections() == before


def test_an_account_keeps_no_error() -> None:
    """Its traceback leads to the request, which has the account."""
    account = Account(request(), "v1")
    try:
        raise FleetSaturated("full")
    except FleetSaturated as error:
        account.fail(error)
        kept = weakref.ref(error)
    assert kept() is None
    assert account.error == "fleet_saturated"

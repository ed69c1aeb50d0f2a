"""One TCP or TLS connection: opening it, checking whom it reached, telling its owner what happens on it."""

from __future__ import annotations

import asyncio
import math
import os
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Protocol, cast

from gateway.errors import ConnectFailed, PermitRefused, UpstreamTimeout
from gateway.model import Network


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect. A peer outside `networks` is refused before it gets a byte; none given: any peer will do."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_hostname: str | None = None
    networks: tuple[Network, ...] = ()


class Owner(Protocol):
    """What a connection calls. None of these may raise."""

    def received(self, data: bytes) -> None: ...
    def ended(self) -> None:
        """The peer will send no more; the connection closes itself."""

    def lost(self) -> None: ...
    def writable(self) -> None: ...
    def expired(self) -> None:
        """The deadline set with `watch` has passed."""


class Connection(asyncio.Protocol):
    """Belongs to one owner at a time. Without one it is idle: any byte, end or deadline then closes it.

    One timer serves all deadlines: it is moved only when a deadline comes before it, and looks again when it fires
    too early, so a deadline that is pushed back for every piece of a stream costs an assignment.
    """

    __slots__ = (
        *("_gone", "_loop", "_poll", "_timer", "_timer_at"),
        *("blocked", "deadline", "idle_until", "owner", "peer", "transport"),
    )

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, gone: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._gone = gone
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.deadline = math.inf
        self.idle_until = math.inf
        """By `perf_counter`: `deadline` is by the clock of the loop, which stands still while a callback runs long."""
        self.owner: Owner | None = None
        self.blocked = False
        """The transport holds as much unsent data as it should."""
        self.peer = ""

    async def open(self, address: Address, seconds: float) -> None:
        """Connect within `seconds`. Raises ConnectFailed, PermitRefused or UpstreamTimeout("connect")."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._loop.create_connection(lambda: self, address.host, address.port)
                self._check_peer(address.networks)
                if address.tls is not None:
                    await self._start_tls(address.tls, address.server_hostname or address.host)
        except (OSError, UnicodeError) as fault:
            self.close()
            if limit.expired():
                raise UpstreamTimeout("connect", seconds, processed=False) from None
            word = "tls" if isinstance(fault, ssl.SSLError) else "unreachable"
            raise ConnectFailed(_reason(fault), word) from None  # the cause names the address
        except BaseException:
            self.close()
            raise

    def _check_peer(self, networks: tuple[Network, ...]) -> None:
        name = self.transport.get_extra_info("peername")
        if not name:
            raise ConnectFailed("the connection ended as soon as it was open")
        self.peer = name[0]
        if not networks:
            return
        ip = ip_address(self.peer.partition("%")[0])
        plain = (isinstance(ip, IPv6Address) and ip.ipv4_mapped) or ip
        if not any(plain in network or ip in network for network in networks):
            raise PermitRefused("the connected peer lies outside the networks declared for this backend")

    async def _start_tls(self, context: ssl.SSLContext, hostname: str) -> None:
        plain = self.transport
        try:
            secured = await self._loop.start_tls(plain, self, context, server_hostname=hostname)
        except BaseException:
            plain.abort()
            raise
        if secured is None:  # uvloop and asyncio answer so when the transport was closed meanwhile
            raise ConnectionResetError
        self.transport = secured

    def watch(self, deadline: float) -> None:
        """Call the owner's `expired` once the loop's clock has reached `deadline`, unless it is moved before."""
        self.deadline = deadline
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._loop.time() < self.deadline:
            self.watch(self.deadline)
        elif self.owner is not None:
            self.owner.expired()
        else:
            self.close()

    def stale(self) -> bool:
        """Of an idle connection: the peer has ended it or spoken, even if the event loop has not heard of it yet."""
        return self.transport.is_closing() or bool(self._poll(0))

    def close(self) -> None:
        """At once, dropping what is unsent, so that the upstream stops working for nobody. Idempotent."""
        if hasattr(self, "transport"):
            self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        self._poll = poll.poll

    def data_received(self, data: bytes) -> None:
        if self.owner is not None:
            self.owner.received(data)
        else:
            self.close()

    def eof_received(self) -> None:
        if self.owner is not None:
            self.owner.ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadline = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.owner is not None:
            self.owner.lost()
        self._gone(self)

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        if self.owner is not None:
            self.owner.writable()


def _reason(fault: OSError | UnicodeError) -> str:
    """What went wrong, without the address that the system's own messages repeat."""
    if isinstance(fault, ssl.SSLError):
        return f"TLS handshake failed: {fault.reason or 'no reason given'}"
    if isinstance(fault, socket.gaierror | UnicodeError):
        return "the host name cannot be resolved"
    return f"connect failed: {os.strerror(fault.errno) if fault.errno else type(fault).__name__}"

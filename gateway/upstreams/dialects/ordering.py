"""How an upstream is spoken to that does not take our callers' bytes as they are: by an order, which it may take a
while to fill. One file beside this one per provider or engine, one row each in `ordered.py`.

A dialect is PURE: it says which call to make next and reads what came back. Who makes the calls, waits between them,
books the money and keeps the results is `upstreams/orders.py` and whoever called that. So every dialect is tested by
tables, and a job that another process goes on with needs nothing but its `ticket`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from msgspec import Raw

from gateway.errors import UpstreamFault
from gateway.model import EndpointName, JobState, MediaAsk, Upstream, Usage, Workflow

LOOK_BYTES = 32 << 20
"""Of an answer about an order: GMI and Replicate repeat the order in it, with its pictures in base64."""
PictureRole = Literal["image", "mask", "first_frame", "last_frame", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture (or sound) that the caller sent along: checked, and held as bytes. Never an address of the caller's."""

    data: bytes = field(repr=False)
    media_type: str
    role: PictureRole = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request, as a dialect sees it. `fields` are the caller's own body fields (of a form: as JSON text), for what
    only this API knows; `prompt` is what is drawn, filmed or spoken."""

    endpoint: EndpointName
    model: str
    """Its name at that upstream."""
    ask: MediaAsk
    prompt: str = field(repr=False)
    fields: Mapping[str, Raw] = field(default_factory=dict, repr=False)
    pictures: tuple[Picture, ...] = field(default=(), repr=False)
    workflow: Workflow | None = field(default=None, repr=False)
    """Of a worker that is given a graph instead of a request: the template that the policy names."""
    mark: str = ""
    """Ours, unguessable and the same for every try of this order: sent along where the API lets one list by it."""


class Call(NamedTuple):
    """One HTTP request to the upstream's own host. `path` holds the query; one that begins with `/` is the whole of it,
    any other is below the upstream's address (a worker's is its root, without `/v1`). Where `headers` show no key of
    their own, the upstream's goes up as a bearer token."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    looks: bool = False
    """Its answer says how things are and holds no result: it may have LOOK_BYTES."""

    def __repr__(self) -> str:
        return f"Call({self.method} {self.path.partition('?')[0]}, {len(self.body)} bytes)"


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


class Piece(NamedTuple):
    """A result: its bytes, or where they are. Exactly one of `data`, `url`, `call` is set."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    """At a host that the dialect's `hosts` or the backend's `artefact_hosts` allow; fetched without our key."""
    call: Call | None = None
    """At the upstream itself, with our key."""
    name: str = ""
    """As in `Artefact`."""

    def __repr__(self) -> str:
        return f"Piece({self.media_type}, {self.name})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an answer says of the order. `succeeded` has its pieces, `failed` its fault."""

    state: JobState
    ticket: str | None = None
    """All that the next calls need, as text that the dialect alone reads; None: as before."""
    percent: int | None = None
    pieces: tuple[Piece, ...] = field(default=(), repr=False)
    usage: Usage | None = None
    """None: not told; the order then says what was made (`routing/units.py:usage_of_ask`)."""
    fault: UpstreamFault | None = None
    """Judged as any other: `Refused` with a code that `upstreams/codes.py` knows (content, spend, overload)."""
    after: float | None = None
    """Seconds until it should be asked again, where it says so."""


class Dialect(Protocol):
    """What every provider's file gives. Methods that take an answer raise UpstreamFault where it cannot be read."""

    @property
    def name(self) -> str: ...

    @property
    def hosts(self) -> tuple[str, ...]:
        """Globs of the hosts where its results may lie; empty: at the upstream alone."""
        ...

    @property
    def poll_seconds(self) -> float:
        """Between two looks at a running order."""
        ...

    def submit(self, upstream: Upstream, order: Order) -> Call:
        """Raises InvalidRequest, naming the caller's parameter, for what this API cannot do."""
        ...

    def submitted(self, order: Order, answer: Answer) -> Told: ...

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call: ...

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told: ...

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        """None: nothing stops it."""
        ...

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        """A list in which an order may be that was sent and whose answer was lost; None: there is no such list."""
        ...

    def found(self, order: Order, answer: Answer) -> Told | None:
        """That order; None: it surely is not there, so it may be sent anew."""
        ...


@runtime_checkable
class Staged(Protocol):
    """Of a dialect that needs more than one call for one of its steps. It has these beside `submit` and `cancel`."""

    def before(self, upstream: Upstream, order: Order) -> tuple[Call, ...]:
        """Uploads to be made before it is submitted; that they succeed is all that is asked of them."""
        ...

    def stops(self, upstream: Upstream, order: Order, ticket: str) -> tuple[Call, ...]:
        """Instead of `cancel`: all of them are made."""
        ...

"""What all simulated providers share: routes, a key, faults, jobs that take their time, files, and a bill.

A provider is an ASGI application on simfleet's connection (so that it can break one off), run by `serving.py`::

    with serve(Gmi(key="k", job_s=0.05)) as sim:
        sim.url                             # http://127.0.0.1:PORT
        sim.provider.faults.stuck = True    # or, from another process: POST /sim/faults {"stuck": true}
        sim.provider.submits, sim.provider.bill()

Its file says `routes()` (method, whole path, handler, whether it makes a paid job), how a refusal looks (`wrong`) and
what it charges (`rates`).
"""

from __future__ import annotations

import contextlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from loadtests.simfleet.exchange import ClientGone, Exchange, Header

JSON = b"application/json"
QUEUED_SHARE = 0.3
"""Of its time, a job is queued for so much, and runs for the rest."""
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Unit = Literal["image", "second", "character", "token", "job"]


class Refuse(msgspec.Struct):
    """A submit that is refused in the provider's own shape. `times`: so often, then no more."""

    status: int = 429
    code: str = ""
    message: str = "refused"
    retry_after: float | None = None
    times: int = 1_000_000


class Faults(msgspec.Struct):
    """What goes wrong; all at their defaults: nothing."""

    at_once: bool | None = None
    """Whether the POST answers with the result; None: as that API does for that model."""
    stuck: bool = False
    """Jobs are queued for ever."""
    fail: str | None = None
    """Jobs fail, for this reason; `fail_code` where the API has codes."""
    fail_code: str = ""
    reason_key: str = "error"
    """Where the reason of a failed job lies, for APIs that have several such places."""
    filtered: bool = False
    """Jobs succeed with no result."""
    refuse: Refuse | None = None
    lose_answers: int = 0
    """So many submits make their job and break off the connection instead of answering."""
    result_status: int = 200
    """Of the result's address."""
    slow_s: float = 0.0
    """Before any answer."""
    poll_status: int = 200
    """Other than 200: each look at a job is answered with it."""


class Rate(NamedTuple):
    """Of the first row whose glob matches the model, and whose `which` is that of the job where it has one."""

    models: str
    unit: Unit
    usd: Decimal
    which: str = ""
    """Such as a resolution or a quality."""


@dataclass(slots=True)
class Made:
    media_type: str
    data: bytes
    width: int = 0
    height: int = 0


@dataclass(slots=True)
class Job:
    id: str
    model: str
    asked: dict[str, Any]
    made: list[Made]
    unit: Unit
    quantity: float
    """Of `unit`: what is charged when it succeeded."""
    which: str = ""
    beside: Decimal = Decimal(0)
    """USD for what it read."""
    takes_s: float = 0.0
    created: float = field(default_factory=time.time)
    cancelled: bool = False
    stuck: bool = False
    fail: str | None = None
    fail_code: str = ""

    @property
    def state(self) -> State:
        age = time.time() - self.created
        if self.cancelled:
            return "cancelled"
        if self.stuck or age < QUEUED_SHARE * self.takes_s:
            return "queued"
        if age < self.takes_s:
            return "running"
        return "succeeded" if self.fail is None else "failed"


class Ask(NamedTuple):
    """One HTTP request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    match: re.Match[str] | None = None

    @property
    def json(self) -> dict[str, Any]:
        """Raises Wrong where the body is not a JSON object."""
        try:
            return msgspec.json.decode(self.raw, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise Wrong(400, "", "the body is not a JSON object") from None


class Reply(NamedTuple):
    body: object
    """Bytes as they are, anything else as JSON."""
    status: int = 200
    headers: tuple[Header, ...] = ()
    content_type: bytes = JSON


class Wrong(Exception):
    """A refusal; its provider says how it looks."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[Header, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


Handler = Callable[[Ask], Reply]


class Route(NamedTuple):
    method: str
    path: str
    """Of the whole path, as a regular expression; groups are in `Ask.match`."""
    handler: Handler
    submits: bool = False
    """It makes a paid job."""
    polls: bool = False


class Provider(ABC):
    """One account at one provider. `job_s`: how long a job takes."""

    name: ClassVar[str]
    root: ClassVar[str] = ""
    """The path of the address that its users know."""
    rates: ClassVar[tuple[Rate, ...]] = ()

    def __init__(self, *, key: str = "sim-key", job_s: float = 0.05, public: str = "") -> None:
        self.key, self.job_s = key, job_s
        self.public = public
        """Scheme, host and port of the addresses in its answers; empty: set by `serve`."""
        self._routes = [(route, re.compile(route.path)) for route in self.routes()]
        self.reset()

    def reset(self) -> None:
        """As new: no faults, no jobs, no bill."""
        self.faults = Faults()
        self.jobs: dict[str, Job] = {}
        self.asks: list[Ask] = []
        """Every request but those of files and of the control pages."""
        self.submits = 0
        """Paid jobs that were made, also where the answer was lost."""

    @abstractmethod
    def routes(self) -> list[Route]: ...

    @abstractmethod
    def wrong(self, fault: Wrong) -> object:
        """The body of a refusal."""

    def authorized(self, ask: Ask) -> bool:
        return ask.headers.get("authorization") == f"Bearer {self.key}"

    # -- jobs --------------------------------------------------------------------------------------------------

    def take(
        self, model: str, asked: dict[str, Any], made: list[Made], unit: Unit, quantity: float, **more: Any
    ) -> Job:
        """A new job under the faults of now. `more`: `which`, `beside`, `takes_s`, `id`."""
        faults = self.faults
        self.submits += 1
        job = Job(
            id=more.get("id") or f"{self.name}-{self.submits:06d}",
            model=model,
            asked=asked,
            made=[] if faults.filtered else made,
            unit=unit,
            quantity=0 if faults.filtered else quantity,
            which=more.get("which", ""),
            beside=more.get("beside", Decimal(0)),
            takes_s=0.0 if faults.at_once else more.get("takes_s", self.job_s),
            stuck=faults.stuck,
            fail=faults.fail,
            fail_code=faults.fail_code,
        )
        self.jobs[job.id] = job
        return job

    def job(self, id: str) -> Job:
        """Raises Wrong(404)."""
        if id not in self.jobs:
            raise Wrong(404, "", "no such job")
        return self.jobs[id]

    def urls(self, job: Job) -> list[str]:
        """Where its files lie."""
        return [
            f"{self.public}/files/{job.id}/{i}.{made.media_type.rpartition('/')[2]}" for i, made in enumerate(job.made)
        ]

    def rate(self, job: Job) -> Decimal:
        """USD for one unit; zero where no row matches."""
        found = (r for r in self.rates if fnmatchcase(job.model, r.models) and r.which in ("", job.which))
        return next((rate.usd for rate in found), Decimal(0))

    def charge(self, job: Job) -> Decimal:
        """USD; only what succeeded is charged."""
        made = self.rate(job) * Decimal(str(job.quantity)) + job.beside
        return made if job.state == "succeeded" else Decimal(0)

    def bill(self) -> Decimal:
        """USD, by the provider's own list."""
        return sum((self.charge(job) for job in self.jobs.values()), Decimal(0))

    # -- requests ----------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        await self.handle(Exchange(scope, receive, send))

    async def handle(self, exchange: Exchange) -> None:
        with contextlib.suppress(ClientGone):
            ask = _ask(exchange, await exchange.body())
            if self.faults.slow_s and not ask.path.startswith("/sim/"):
                await exchange.left_within(self.faults.slow_s)
            reply = self.answer(ask)
            if reply is None:
                exchange.connection.reset()
                await exchange.gone
                return
            await exchange.reply(reply.status, reply.body, reply.headers, reply.content_type)

    def answer(self, ask: Ask) -> Reply | None:
        """None: the connection breaks off."""
        if ask.path.startswith("/sim/"):
            return self._control(ask)
        if ask.path.startswith("/files/"):
            return self._file(ask)
        self.asks.append(ask)
        try:
            return self._routed(ask)
        except Wrong as fault:
            return Reply(self.wrong(fault), fault.status, fault.headers)

    def _routed(self, ask: Ask) -> Reply | None:
        if not self.authorized(ask):
            raise Wrong(401, "", "wrong key")
        for route, path in self._routes:
            match = path.fullmatch(ask.path)
            if match is None or route.method != ask.method:
                continue
            if route.polls and self.faults.poll_status != 200:
                raise Wrong(self.faults.poll_status, "", "not now")
            if route.submits:
                self._refuse()
            reply = route.handler(ask._replace(match=match))
            if route.submits and self.faults.lose_answers:
                self.faults.lose_answers -= 1
                return None
            return reply
        raise Wrong(404, "", "no such path")

    def _refuse(self) -> None:
        refuse = self.faults.refuse
        if refuse is None or refuse.times <= 0:
            return
        refuse.times -= 1
        wait = refuse.retry_after
        headers = () if wait is None else ((b"retry-after", f"{wait:g}".encode()),)
        raise Wrong(refuse.status, refuse.code, refuse.message, headers)

    def _file(self, ask: Ask) -> Reply:
        _, _, id, name = ask.path.split("/", 3)
        job = self.jobs.get(id)
        at = int(name.partition(".")[0])
        if job is None or job.state != "succeeded" or at >= len(job.made):
            return Reply(b"", 404)
        if self.faults.result_status != 200:
            return Reply(b"denied", self.faults.result_status)
        return Reply(job.made[at].data, content_type=job.made[at].media_type.encode())

    def _control(self, ask: Ask) -> Reply:
        match ask.method, ask.path:
            case "POST", "/sim/faults":
                self.faults = msgspec.json.decode(ask.raw, type=Faults)
                return Reply({})
            case "GET", "/sim/state":
                return Reply(self.state())
            case _:
                return Reply({"error": "no such control page"}, 404)

    def state(self) -> dict[str, object]:
        jobs = [
            {"id": j.id, "model": j.model, "state": j.state, "usd": str(self.charge(j))} for j in self.jobs.values()
        ]
        return {"name": self.name, "submits": self.submits, "usd": str(self.bill()), "jobs": jobs}


def _ask(exchange: Exchange, raw: bytes) -> Ask:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers.items()}
    query = dict(parse_qsl(exchange.query.decode("latin-1"), keep_blank_values=True))
    return Ask(exchange.method, exchange.path, query, headers, raw)

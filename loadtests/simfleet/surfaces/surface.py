"""What every text engine's surface is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.engine import Engine
from loadtests.simfleet.faults import Change
from loadtests.simfleet.framing import VLLM, Flavour
from loadtests.simfleet.metrics import Load, Stats
from loadtests.simfleet.refusal import Refusal
from loadtests.simfleet.talks import SPOKEN_BY_ALL, Talk

TEXT_PLAIN = b"text/plain; version=0.0.4; charset=utf-8"
SERVICE_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Reply:
    """A page: anything but bytes is encoded as JSON."""

    body: object = b""
    status: int = 200
    content_type: bytes = b"application/json"


@dataclass(frozen=True, slots=True)
class Hosted:
    """What a worker serves now. `models` are names of one and the same model; `adapters` are LoRA names on top."""

    models: tuple[str, ...]
    adapters: tuple[str, ...] = ()
    asleep: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.models, *self.adapters)


@dataclass(frozen=True, slots=True)
class Seen:
    """One worker process at one instant. `load` is as late as its gauges are; `engine` is the live truth."""

    config: WorkerConfig
    hosted: Hosted
    load: Load
    engine: Engine
    stats: Stats
    started: float
    """Unix seconds."""
    cpu_s: float = 0.0
    ready: bool = True
    """Neither loading nor warming up."""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return self.hosted.models[0]


Show = Callable[[Seen], Reply]
Act = Callable[[Seen, dict[str, Any]], Change]
"""A POST that changes what is served, given its JSON body."""


class Surface(ABC):
    """How one engine's server shows itself. One object per process: a revived worker starts with a new one."""

    flavour: ClassVar[Flavour] = VLLM
    talks: ClassVar[Mapping[str, Talk]] = SPOKEN_BY_ALL
    owner: ClassVar[str] = "vllm"
    """`owned_by` of its model cards."""
    any_model: ClassVar[bool] = False
    """Whether it takes every model's name for its own."""
    aborts_plain: ClassVar[bool] = True
    """Whether an answer that is not streamed ends when its client leaves."""
    server: ClassVar[bytes] = b"uvicorn"
    """Value of its header `server`."""
    continues: ClassVar[bool] = False
    """Whether a chat may end with a partial answer that is to be continued (`continue_final_message`)."""
    strict: ClassVar[bool] = False
    """Whether a continuation must say `add_generation_prompt: false`."""
    error_type: ClassVar[str] = "InternalServerError"
    """Of every status that `error_types` does not know."""
    full_status: ClassVar[int] = SERVICE_UNAVAILABLE
    full_text: ClassVar[str] = "The request queue is full."
    error_types: ClassVar[Mapping[int, str]] = {
        400: "BadRequestError",
        404: "NotFoundError",
        405: "MethodNotAllowedError",
        503: "ServiceUnavailableError",
    }
    metrics_pages: ClassVar[frozenset[str]] = frozenset({"/metrics"})
    """Paths of its load metrics: what the metrics faults act on."""
    actions: ClassVar[Mapping[str, Act]] = {}
    """POST path -> what it changes."""
    refuses_while_loading: ClassVar[str | None] = None
    """Said with a 503 to requests that come too early; None: they wait."""
    apart: ClassVar[bool] = False
    """Whether the metrics are on a second port."""

    def __init__(self, config: WorkerConfig, started: float) -> None:
        self.config = config
        self.started = started
        self.pages: dict[str, Show] = {"/metrics": self.metrics, "/health": self.health, **self.more_pages()}
        """GET path -> its page. /v1/models is apart: it answers for `hosted`."""

    @abstractmethod
    def metrics(self, seen: Seen) -> Reply:
        """The engine's own metrics page."""

    def more_pages(self) -> dict[str, Show]:
        return {}

    def health(self, seen: Seen) -> Reply:
        return Reply(status=200 if seen.ready else SERVICE_UNAVAILABLE)

    def models(self, seen: Seen) -> Reply:
        """The body of GET /v1/models."""
        made = {"object": "model", "created": int(seen.started), "owned_by": self.owner}
        roots = [{"id": name, **made, **self.card(seen, name, None)} for name in seen.hosted.models]
        adapters = [{"id": name, **made, **self.card(seen, name, seen.model)} for name in seen.hosted.adapters]
        return Reply({"object": "list", "data": roots + adapters})

    def card(self, seen: Seen, name: str, parent: str | None) -> dict[str, object]:
        """What this engine says of one model besides its name."""
        return {"root": seen.model if parent is None else name, "parent": parent}

    def error(self, refusal: Refusal) -> object:
        """The body of an error answer."""
        return refusal.wrapped()

    def message_error(self, refusal: Refusal) -> object:
        """The same on /v1/messages."""
        return refusal.anthropic()


def json_bytes(value: object) -> bytes:
    return msgspec.json.encode(value)

"""A scenario: one YAML file that says what is offered, when, and by which kind of client. Unknown keys are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, model_validator

from gateway.policy.source import Fault, in_order, parse
from gateway.policy.strict import Strict
from gateway.policy.validate import shape_faults
from loadtests.load.phases import Phase, days, joined, square
from loadtests.stack import ROOT

FOLDER = ROOT / "loadtests" / "scenarios"
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Level = Annotated[float, Field(ge=0, le=100)]
Text = Annotated[str, StringConstraints(min_length=1)]
Model = TypeVar("Model", bound=Strict)


class ScenarioFault(Exception):
    """A file that does not say what it must; each line of the message has its place."""


class Step(Strict):
    name: Text
    share: Positive
    """Of the run, in proportion to the other steps."""
    level: Level
    to: Level | None = None
    """Level at its end, reached in a straight line; without it the level stays."""


class Wave(Strict):
    low: Level
    high: Level
    times: Annotated[int, Field(ge=1, le=50)] = 1


class Replay(Strict):
    """The requests of TRACE at their own times."""

    speed: Positive = 1.0
    """Times as fast as the trace."""
    skip: Annotated[float, Field(ge=0)] = 0.0
    """Seconds of the trace that are left out at its beginning."""


class Load(Strict):
    """Exactly one of the four."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)] | None = None
    day: Wave | None = None
    square: Wave | None = None
    replay: Replay | None = None

    @model_validator(mode="after")
    def _one(self) -> Load:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of `steps`, `day`, `square`, `replay`; it has {len(given)}")
        if self.steps and not any(step.level or step.to for step in self.steps):
            raise ValueError("must have a step whose level is above 0")
        return self

    def phases(self, seconds: float) -> tuple[Phase, ...]:
        """Of a load that is not a replay."""
        if self.steps is not None:
            parts = [(s.name, s.share, s.level, s.level if s.to is None else s.to) for s in self.steps]
            return joined(parts, seconds)
        if self.day is not None:
            return days(self.day.low, self.day.high, self.day.times, seconds)
        assert self.square is not None
        return square(self.square.low, self.square.high, self.square.times, seconds)


class Lengths(Strict):
    """Tokens of chat requests. The demo's workers write 20 tokens a second, so an answer of 211 tokens (the mean of the
    conversation trace) would hold its seat for 11 s: halved, a run of two minutes sees enough requests for a p95."""

    output_scale: Positive = 0.5
    longest_output: Annotated[int, Field(ge=1)] = 240
    """After scaling. Longer answers would keep the run waiting at its end; it cuts 2 % of the conversation trace."""
    longest_prompt: Annotated[int, Field(ge=1)] = 7500
    """The demo's workers take 8,192 tokens with the answer."""


class Chat(Strict):
    kind: Literal["chat"]
    model: Text = "llama-3.3-70b"
    weight: Positive = 1.0
    flagged: Share = 0.1
    """Of them carry `X-Data-Residency: local`."""
    plain: Share = 0.05
    """Of them are not streamed."""


class Image(Strict):
    kind: Literal["image"]
    model: Text = "picture"
    weight: Positive = 1.0
    size: Text = "1024x1024"


class Speech(Strict):
    kind: Literal["speech"]
    model: Text = "voice"
    weight: Positive = 1.0
    characters: Annotated[int, Field(ge=1, le=4096)] = 120


class Video(Strict):
    kind: Literal["video"]
    model: Text = "film"
    weight: Positive = 1.0
    size: Text = "1280x720"
    seconds: Annotated[int, Field(ge=1, le=60)] = 4


Request = Annotated[Chat | Image | Speech | Video, Field(discriminator="kind")]


class Slow(Strict):
    share: Share
    bytes_per_second: Positive


class Leave(Strict):
    share: Share
    within: Positive
    """They close the connection at a moment drawn from 0 to so many seconds after asking."""
    phases: tuple[Text, ...] = ()
    """In these phases only; none: in all."""


class Clients(Strict):
    """What sets chat clients apart from one that reads as fast as it can, to the end."""

    slow: Slow | None = None
    leave: Leave | None = None


class Scenario(Strict):
    about: Text
    """What it is for, in a sentence or two: the report repeats it."""
    seconds: Annotated[float, Field(gt=0, le=86_400)]
    unit: Literal["capacity", "per_second"] = "capacity"
    """Of levels: multiples of what the local fleet carries, or requests per second."""
    load: Load
    burstiness: Annotated[float, Field(ge=0.01, le=1000)] = 1.0
    """The Gamma distribution's shape, as in `vllm bench serve`: 1 is Poisson, less has bursts."""
    requests: Annotated[tuple[Request, ...], Field(min_length=1)] = (Chat(kind="chat"),)
    lengths: Lengths = Lengths()
    clients: Clients = Clients()
    drain_seconds: Positive = 30.0
    """How long answers may still take after the last request was due."""

    @model_validator(mode="after")
    def _fits(self) -> Scenario:
        if self.load.replay and self.burstiness != 1.0:
            raise ValueError("`burstiness` has no effect on a replay, whose times are the trace's own; leave it out")
        if self.load.replay and [request.kind for request in self.requests] != ["chat"]:
            raise ValueError("a replay sends the trace's requests; `requests` may hold one `kind: chat` and no more")
        leave = self.clients.leave
        if leave and leave.phases and not self.load.replay:
            known = [phase.name for phase in self.load.phases(self.seconds)]
            if unknown := [name for name in leave.phases if name not in known]:
                raise ValueError(f"`clients.leave.phases` names `{unknown[0]}`; there are {', '.join(known)}")
        return self

    @property
    def chat(self) -> Chat | None:
        """The first kind of chat that it sends."""
        return next((request for request in self.requests if isinstance(request, Chat)), None)


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> tuple[str, Scenario]:
    """By its name in `scenarios/`, or a file of one's own: its name, and what it says. Raises ScenarioFault."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if path.parent == FOLDER and not path.exists():
        raise ScenarioFault(f"there is no scenario `{name}`; there are {', '.join(names())}, or give a file.yaml")
    return path.stem, strictly(Scenario, path)


def strictly(shape: type[Model], path: Path) -> Model:
    """A YAML file as what it must be. Raises ScenarioFault with `file:line:column: key: what is wrong` lines."""
    try:
        document = parse(str(path), path.read_bytes())
    except OSError as fault:
        raise ScenarioFault(f"{path}: {fault.strerror or fault}") from None
    faults: list[Fault] = in_order(shape_faults(document, shape))
    if faults:
        raise ScenarioFault("\n".join(map(str, faults)))
    return shape.model_validate_json(json.dumps(document.data))

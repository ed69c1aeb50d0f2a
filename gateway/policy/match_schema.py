"""Which requests a rule is about, as pydantic models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.model import EndpointName, Modality, Priority
from gateway.policy.strict import Strict
from gateway.policy.words import Clock, Glob, HeaderName, Name, OneOrMore, Timezone, ZoneName

MAX_EXPRESSION = 2_000
"""Characters of a `when`: a longer one is a program, and belongs into several rules."""
Tokens = Annotated[int, Field(ge=0, le=100_000_000)]
HeaderGlob = Annotated[str, Field(min_length=1, max_length=200)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class TokenRange(Strict):
    """From `min` to `max`, both included; at least one of them."""

    min: Tokens | None = None
    """The fewest."""
    max: Tokens | None = None
    """The most."""

    @model_validator(mode="after")
    def in_order(self) -> TokenRange:
        if self.min is None and self.max is None:
            raise ValueError("must set `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the wrong way round: `min` {self.min} is more than `max` {self.max}")
        return self


class WindowIn(Strict):
    """Part of the week. `to` is not included; a window that ends before it begins lasts over midnight and belongs to
    the day on which it begins."""

    days: OneOrMore[Day] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    """On which it begins; default: every day."""
    from_: Annotated[Clock, Field(alias="from")] = "00:00"
    """When it begins."""
    to: Clock = "24:00"
    """When it is over."""
    timezone: Timezone = "UTC"
    """An IANA name such as Europe/Berlin."""

    @model_validator(mode="after")
    def lasts(self) -> WindowIn:
        if self.from_ == self.to:
            raise ValueError(f"lasts no time: `from` and `to` are both {self.to}")
        return self


class MatchIn(Strict):
    """All of what is written must hold; nothing written matches everything. A list matches where one of it does."""

    model: OneOrMore[Glob] | None = None
    """Model names; `*` and `?` stand for anything."""
    modality: OneOrMore[Modality] | None = None
    """What the model makes."""
    endpoint: OneOrMore[EndpointName] | None = None
    """The path without its /v1/."""
    tenant: OneOrMore[Name] | None = None
    """Names of tenants.yaml."""
    tags: OneOrMore[Name] | None = None
    """The tenant has every one of these tags."""
    residency: ZoneName | None = None
    """`any`: requests under some residency demand; `none`: those under none; `local`, or a zone: those whose data must
    stay there."""
    priority: OneOrMore[Priority] | None = None
    """`X-Gateway-Priority`, at most the tenant's; `standard` where it is not sent."""
    stream: bool | None = None
    """Whether a stream is asked for."""
    prompt_tokens: TokenRange | None = None
    """Expected length of the prompt."""
    output_tokens: TokenRange | None = None
    """Expected length of all outputs, at most what the caller allows."""
    headers: (
        Annotated[dict[HeaderName, Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1)] | None
    ) = None
    """Header -> its value; `*` and `?` stand for anything, case does not matter in the name."""
    time: OneOrMore[WindowIn] | None = None
    """Windows of the week; one of them must be open."""
    when: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)] | None = None
    """A CEL expression over `request`, `tenant`, `fleet` and `backend` that must be true."""

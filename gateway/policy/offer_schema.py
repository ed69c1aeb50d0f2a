"""What a served model can do, as it is written in models.yaml. What is not written, the catalogue knows, or nobody."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from gateway.catalog.offers import offer_of
from gateway.model import EndpointName, Offer
from gateway.policy.price_schema import Size, Word
from gateway.policy.strict import Strict
from gateway.policy.words import Amount, Count, Listed, OneOrMore, Positive

Ratio = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}:[1-9][0-9]{0,2}$")]
Pictures = Annotated[int, Field(ge=0, le=64)]


class SizeRuleIn(Strict):
    """Any size within these bounds, in pixels."""

    multiple: Count = 1
    """Divides width and height."""
    least_pixels: Amount = 1
    """Width x height, at least."""
    most_pixels: Amount | None = None
    """Width x height, at most."""
    longest_side: Count | None = None
    """Of width and height, at most."""
    most_ratio: Annotated[float, Field(ge=1)] | None = None
    """The longer side is at most so many times the shorter."""


class SecondsIn(Strict):
    """Any length between these two, in seconds."""

    least: Positive
    """The shortest."""
    most: Positive
    """The longest."""

    @model_validator(mode="after")
    def in_order(self) -> SecondsIn:
        if self.least > self.most:
            raise ValueError("`least` must not be above `most`")
        return self


class DefaultsIn(Strict):
    """What it gives where the request does not say: prices and work are counted with it."""

    size: Size | Word | None = None
    """In pixels (1024x1024), or a word of the API (2K)."""
    seconds: Positive | None = None
    """Of a film."""
    fps: Positive | None = None
    """Pictures of a film in a second."""
    quality: Word | None = None
    """As the API calls it."""
    resolution: Word | None = None
    """Of a film, such as 720p."""
    steps: Count | None = None
    """Denoising steps."""


class OfferIn(Strict):
    """What it can do; what is not written bounds nothing. A request that asks for more is routed to a backend that can,
    or refused with what is supported."""

    endpoints: OneOrMore[EndpointName] | None = None
    """The paths it is asked by; default: all that its backend speaks."""
    sizes: Listed[Size | Word] = ()
    """Sizes in pixels (1024x1024), or words of the API (2K)."""
    any_size: SizeRuleIn | None = None
    """Beside `sizes`, whatever fits this."""
    resolutions: Listed[Word] = ()
    """Of films, such as 720p."""
    aspect_ratios: Listed[Ratio] = ()
    """Such as 16:9."""
    qualities: Listed[Word] = ()
    """As the API calls them, such as low."""
    seconds: Annotated[tuple[Positive, ...], Field(min_length=1)] | SecondsIn | None = None
    """Lengths that can be ordered: a list, or `{least, most}`."""
    formats: Listed[Word] = ()
    """Of files, such as png or mp3."""
    voices: Listed[Word] = ()
    """Their names."""
    n: Count | None = None
    """Pictures or films of one request, at most."""
    prompt_characters: Count | None = None
    """The longest prompt, or text to be spoken."""
    images: Annotated[tuple[Pictures, ...], Field(min_length=2, max_length=2)] | None = None
    """Fewest and most pictures that are sent along: [0, 0] takes none, [1, 1] needs one."""
    mask: bool = True
    """Whether it takes a mask."""
    streams: bool = True
    """Whether it sends pictures piece by piece."""
    defaults: DefaultsIn = DefaultsIn()
    """What it gives where the request does not say."""

    @model_validator(mode="after")
    def in_order(self) -> OfferIn:
        if self.images is not None and self.images[0] > self.images[1]:
            raise ValueError("`images` are fewest and most, in this order")
        return self

    def made(self) -> Offer:
        return offer_of(self.model_dump())

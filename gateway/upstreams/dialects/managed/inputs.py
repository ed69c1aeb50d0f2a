"""How the models of a marketplace (fal, Replicate) call what OpenAI's fields say: one row of data per family of models.

What a row does not name is refused where the caller asks for it. What the caller says in the marketplace's own words
passes as it is, but for what a row sets and what is charged: that is said in our words, so that it is looked at,
counted and priced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any, Literal

from gateway.errors import InvalidRequest
from gateway.upstreams.dialects.managed.parts import (
    cannot,
    data_url,
    number,
    of_openai_alone,
    own_fields,
    pictures,
    resolution_of,
    whole,
)
from gateway.upstreams.dialects.ordering import Order

PRICED = {
    "num_images": "n", "num_outputs": "n", "num_samples": "n", "number_of_images": "n", "max_images": "n",
    "batch_size": "n", "num_videos": "n", "duration": "seconds", "num_frames": "seconds", "video_length": "seconds",
    "image_size": "size", "video_size": "size", "width": "size", "height": "size",
}  # fmt: skip
"""Words for how much is made, which is what is charged: of whatever model, they are said in ours."""
SizeAs = Literal["object", "sides", "text", "star"]
SecondsAs = Literal["number", "text", "suffixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Names of a model's inputs; None: it has no such one."""

    prompt: str = "prompt"
    n: str | None = None
    size: str | None = None
    size_as: SizeAs = "object"
    """`{"width", "height"}`; two inputs `width` and `height`; `1024x1024`; `1024*1024`."""
    ratio: str | None = None
    resolution: str | None = None
    quality: str | None = None
    seconds: str | None = None
    seconds_as: SecondsAs = "number"
    """8, "8" or "8s"."""
    fps: str | None = None
    format: str | None = None
    voice: str | None = None
    speed: str | None = None
    image: str | None = None
    images: str | None = None
    """Takes all of them, as a list."""
    last: str | None = None
    """The last picture of a film."""
    mask: str | None = None
    openai: tuple[str, ...] = ()
    """OpenAI's own fields that it knows."""
    jpg: str = "jpeg"
    """Its word for it."""

    def owned(self) -> dict[str, str]:
        """Input -> our field for it; of those that are called as ours are, nothing needs to be said."""
        named = (
            (self.prompt, "prompt or input"),
            (self.n, "n"),
            (self.size, "size"),
            (self.ratio, "aspect_ratio or size"),
            (self.resolution, "resolution"),
            (self.quality, "quality"),
            (self.seconds, "seconds"),
            (self.format, "output_format or response_format"),
            (self.voice, "voice"),
            (self.image, "image or input_reference"),
            (self.images, "image"),
            (self.last, "last_frame"),
            (self.mask, "mask"),
        )
        ours = {"prompt", "n", "size", "aspect_ratio", "resolution", "quality", "seconds", "output_format", "voice"}
        ours |= {"image", "mask", "input"}
        return {name: field for name, field in named if name is not None and name not in ours}


def arguments(order: Order, inputs: Inputs, reserved: dict[str, str]) -> dict[str, Any]:
    """All inputs of the order's model. Raises InvalidRequest, naming the caller's field."""
    ask = order.ask
    made: dict[str, Any] = {inputs.prompt: order.prompt}
    if ask.n > 1 or (inputs.n is not None and order.endpoint.startswith("images/")):
        made[_named(inputs.n, "n", "one at a time")] = ask.n
    made |= _frame(order, inputs)
    for name, field, said in (
        (inputs.quality, "quality", ask.quality),
        (inputs.fps, "fps", _rounded(ask.fps)),
        (inputs.voice, "voice", ask.voice),
        (inputs.seconds, "seconds", _seconds(ask.seconds, inputs.seconds_as)),
    ):
        if said is not None:
            made[_named(name, field, "what it has as its own")] = said
    if ask.format is not None:
        field = "response_format" if order.endpoint == "audio/speech" else "output_format"
        made[_named(inputs.format, field, "the format it has")] = inputs.jpg if ask.format == "jpeg" else ask.format
    made |= of_openai_alone(order, inputs.openai)
    return (
        made | _spoken(order, inputs) | _pictures(order, inputs) | own_fields(order, PRICED | inputs.owned() | reserved)
    )


def _named(name: str | None, field: str, does: str) -> str:
    if name is None:
        raise InvalidRequest(f"{field} cannot be said to this model, which makes {does}", param=field)
    return name


def _rounded(number: float | None) -> int | float | None:
    return None if number is None else whole(number)


def _seconds(seconds: float | None, form: SecondsAs) -> int | float | str | None:
    if seconds is None:
        return None
    shown: dict[SecondsAs, Callable[[], int | float | str]] = {
        "number": lambda: whole(seconds),
        "text": lambda: f"{seconds:g}",
        "suffixed": lambda: f"{seconds:g}s",
    }
    return shown[form]()


def _frame(order: Order, inputs: Inputs) -> dict[str, Any]:
    """Size, ratio and resolution. A size in pixels is a ratio and a resolution to a model that has those two."""
    ask, made = order.ask, dict[str, Any]()
    ratio, resolution = ask.ratio, resolution_of(order)
    if ask.size is not None:
        pixels = ask.pixels
        if inputs.size is not None or inputs.size_as == "sides":
            made |= _size(ask.size, pixels, inputs)
            if inputs.size_as == "sides" and inputs.ratio is not None:
                made[inputs.ratio] = "custom"
        elif pixels is None or min(pixels) < 1 or inputs.ratio is None or inputs.resolution is None:
            instead = "use aspect_ratio" if inputs.ratio is not None else "leave it out"
            raise InvalidRequest(f"size in pixels cannot be said to this model: {instead}", param="size")
        else:
            common = gcd(*pixels)
            ratio = ratio or f"{pixels[0] // common}:{pixels[1] // common}"
            resolution = resolution or f"{min(pixels)}p"
    if ratio is not None:
        made[_named(inputs.ratio, "aspect_ratio", "the ratio of its size")] = ratio
    if resolution is not None:
        made[_named(inputs.resolution, "resolution", "its own resolution")] = resolution
    return made


def _size(size: str, pixels: tuple[int, int] | None, inputs: Inputs) -> dict[str, Any]:
    if pixels is None:
        if inputs.size_as == "sides" or inputs.size is None:
            raise InvalidRequest("size must be WIDTHxHEIGHT for this model", param="size")
        return {inputs.size: size}  # a word of the API's own, such as 2K
    width, height = pixels
    if inputs.size is None or inputs.size_as == "sides":
        return {"width": width, "height": height}
    shown = {"object": {"width": width, "height": height}, "text": f"{width}x{height}", "star": f"{width}*{height}"}
    return {inputs.size: shown[inputs.size_as]}


def _spoken(order: Order, inputs: Inputs) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if order.endpoint != "audio/speech":
        return made
    if inputs.speed is None:
        cannot(order, "speed")
    elif (speed := number(order, "speed", 0.25, 4.0)) is not None:
        made[inputs.speed] = speed
    cannot(order, "instructions")
    return made


def _pictures(order: Order, inputs: Inputs) -> dict[str, Any]:
    """As data addresses: nobody fetches an address of the caller's."""
    made: dict[str, Any] = {}
    param = "input_reference" if order.endpoint == "videos" else "image"
    first = [data_url(one) for one in pictures(order, "image", "first_frame", "reference")]
    last = [data_url(one) for one in pictures(order, "last_frame")]
    masks = [data_url(one) for one in pictures(order, "mask")]
    if first and inputs.images is not None:
        made[inputs.images] = first
    elif len(first) > 1:
        raise InvalidRequest(f"{param}: this model takes one picture, not {len(first)}", param=param)
    elif first:
        made[_named(inputs.image, param, "its own pictures")] = first[0]
    if last:
        made[_named(inputs.last, "last_frame", "its own end")] = last[0]
    if masks:
        made[_named(inputs.mask, "mask", "whole pictures")] = masks[0]
    return made

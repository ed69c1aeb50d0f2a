"""What one served model can do, and what it has against a request: one judgement, for routing before anybody is asked
and for a dialect before anything is sent or paid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.model.media import MediaAsk
from gateway.model.words import EndpointName

MOST_LISTED = 12
"""Values that a message names; of more it names the first ones."""


class Complaint(NamedTuple):
    """`param`: the caller's word for what cannot be done; `message` says what can."""

    param: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRule:
    """Sizes that are not a list: `multiple` divides both sides; their product, the longer one and its ratio to the
    shorter one are bounded."""

    multiple: int = 1
    least_pixels: int = 1
    most_pixels: int = 1 << 40
    longest_side: int = 1 << 20
    most_ratio: float = 1e6

    def fits(self, pixels: tuple[int, int]) -> bool:
        short, long = sorted(pixels)
        return (
            short > 0
            and short % self.multiple == 0
            and long % self.multiple == 0
            and self.least_pixels <= short * long <= self.most_pixels
            and long <= self.longest_side
            and long <= short * self.most_ratio
        )

    def told(self) -> str:
        """In words, without what bounds nothing."""
        said, none = ["WIDTHxHEIGHT"], SizeRule()
        if self.multiple > 1:
            said.append(f"both divisible by {self.multiple}")
        if self.longest_side < none.longest_side:
            said.append(f"at most {self.longest_side} a side")
        if self.most_pixels < none.most_pixels:
            said.append(f"{self.least_pixels} to {self.most_pixels} pixels")
        if self.most_ratio < none.most_ratio:
            said.append(f"no longer than {self.most_ratio:g} times its width")
        return ", ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one served model can do: its capability table. An empty tuple bounds nothing; None: not known, so nobody
    refuses for it."""

    endpoints: frozenset[EndpointName] | None = None
    """The paths it can serve; None: all that its upstream speaks."""
    sizes: tuple[str, ...] = ()
    any_size: SizeRule | None = None
    """Beside `sizes`, whatever fits this."""
    resolutions: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    """Lengths that can be ordered."""
    seconds_range: tuple[float, float] | None = None
    """Or any between these two, both included."""
    formats: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    most_n: int | None = None
    most_prompt: int | None = None
    """Characters."""
    inputs: tuple[int, int] | None = None
    """Fewest and most pictures sent along."""
    mask: bool = True
    streams: bool = True
    """Whether it can send a picture or a sound piece by piece."""
    steps: int | None = None
    """Where the request says none: what its work is counted with. So for the next three."""
    default_size: str | None = None
    default_seconds: float | None = None
    default_fps: float | None = None
    default_quality: str | None = None
    default_resolution: str | None = None

    def complaint(self, endpoint: EndpointName, ask: MediaAsk) -> Complaint | None:
        """The first thing that it cannot do of it; None: all of it can be done, as far as anybody knows."""
        if self.endpoints is not None and endpoint not in self.endpoints:
            return Complaint("model", f"it is asked by {listed(sorted(self.endpoints))}, not by {endpoint}")
        return (
            self._size(ask)
            or _one_of("resolution", ask.resolution, self.resolutions)
            or _one_of("aspect_ratio", ask.ratio, self.ratios)
            or _one_of("quality", ask.quality, self.qualities)
            or _one_of("voice", ask.voice, self.voices)
            or _one_of("response_format" if endpoint == "audio/speech" else "output_format", ask.format, self.formats)
            or self._seconds(ask)
            or self._amounts(endpoint, ask)
            or self._pictures(endpoint, ask)
            or self._pieces(endpoint, ask)
        )

    def _size(self, ask: MediaAsk) -> Complaint | None:
        if ask.size is None or not (self.sizes or self.any_size):
            return None
        if ask.size.lower().replace("*", "x") in [one.lower() for one in self.sizes]:
            return None
        rule, pixels = self.any_size, ask.pixels
        if rule is not None and pixels is not None and rule.fits(pixels):
            return None
        ways = [listed(self.sizes)] if self.sizes else []
        if rule is not None:
            ways.append(rule.told())
        return Complaint("size", f"`{ask.size}` is not supported; give {' or '.join(ways)}")

    def _seconds(self, ask: MediaAsk) -> Complaint | None:
        seconds, within = ask.seconds, self.seconds_range
        if seconds is None or not (self.seconds or within) or seconds in self.seconds:
            return None
        if within is not None and within[0] <= seconds <= within[1]:
            return None
        can = [f"{one:g}" for one in self.seconds] + ([f"{within[0]:g} to {within[1]:g}"] if within else [])
        return Complaint("seconds", f"{seconds:g} s is not supported; give {listed(can)}")

    def _amounts(self, endpoint: EndpointName, ask: MediaAsk) -> Complaint | None:
        if self.most_n is not None and ask.n > self.most_n:
            return Complaint("n", f"at most {self.most_n} at once")
        characters = ask.characters if endpoint == "audio/speech" else ask.prompt_characters
        if self.most_prompt is not None and characters > self.most_prompt:
            what = "input" if endpoint == "audio/speech" else "prompt"
            return Complaint(what, f"it has {characters} characters, at most {self.most_prompt} are supported")
        return None

    def _pictures(self, endpoint: EndpointName, ask: MediaAsk) -> Complaint | None:
        if ask.mask and not self.mask:
            return Complaint("mask", "it takes no mask")
        if self.inputs is None or self.inputs[0] <= ask.inputs <= self.inputs[1]:
            return None
        least, most = self.inputs
        wanted = f"exactly {least}" if least == most else f"{least} to {most}"
        return Complaint("input_reference" if endpoint == "videos" else "image", f"send {wanted} pictures along")

    def _pieces(self, endpoint: EndpointName, ask: MediaAsk) -> Complaint | None:
        if self.streams or not (ask.streams or ask.partial_images):
            return None
        if endpoint == "audio/speech":
            return Complaint("stream_format", "its sound comes whole")
        param = "stream" if ask.streams else "partial_images"
        return Complaint(param, "it does not send pictures piece by piece: they come whole")


def _one_of(param: str, value: str | None, known: Sequence[str]) -> Complaint | None:
    if value is None or not known or value.lower() in [one.lower() for one in known]:
        return None
    return Complaint(param, f"`{value}` is not supported; give {listed(known)}")


def listed(values: Sequence[str]) -> str:
    shown = [*values[:MOST_LISTED], *(["..."] if len(values) > MOST_LISTED else [])]
    *most, last = shown
    return f"{', '.join(most)} or {last}" if most else last

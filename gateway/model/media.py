"""Pictures, films and sound: what a request asks for, what a served model can do, and what becomes of a long one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.model.words import EndpointName

Modality = Literal["text", "image", "video", "audio"]
"""What a model makes, or, of sound that it hears, what it takes."""
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
"""Of a generation that outlives its request. The last four are ends: a job has exactly one."""
ENDED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaAsk:
    """What one request asks for, as routing sees it. None: it does not say, and gets what the API gives then."""

    n: int = 1
    """Pictures or films."""
    size: str | None = None
    """`WIDTHxHEIGHT` in pixels, or a word of the API such as `2K`; never `auto`, which is None."""
    resolution: str | None = None
    """Of a film, such as `720p`."""
    ratio: str | None = None
    """`WIDTH:HEIGHT`."""
    quality: str | None = None
    seconds: float | None = None
    """Of the film."""
    fps: float | None = None
    frames: int | None = None
    """Of the film, where it is ordered by them: our own workers take that."""
    steps: int | None = None
    """Denoising steps."""
    characters: int = 0
    """To be spoken."""
    audio_seconds: float | None = None
    """Of the sound that is sent along; a guess by its bytes where it is streamed through."""
    format: str | None = None
    """Of the file, such as `png` or `mp3`."""
    voice: str | None = None
    prompt_characters: int = 0
    inputs: int = 0
    """Pictures that are sent along; a mask is none of them."""
    mask: bool = False
    partial_images: int = 0

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height, where `size` says them."""
        if self.size is None:
            return None
        width, _, height = self.size.lower().replace("*", "x").partition("x")
        return (int(width), int(height)) if width.isdigit() and height.isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRule:
    """Sizes that are not a list: `multiple` divides both sides; their product, the longer one and its ratio to the
    shorter one are bounded."""

    multiple: int = 1
    least_pixels: int = 1
    most_pixels: int = 1 << 40
    longest_side: int = 1 << 20
    most_ratio: float = 1e6


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


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that a generation made, as it is kept."""

    id: str
    media_type: str
    size: int
    """Bytes."""
    digest: str = ""
    """SHA-256 in hex."""
    name: str = ""
    """`video`, `thumbnail`, `image-0`: what it is of its job."""
    width: int | None = None
    height: int | None = None

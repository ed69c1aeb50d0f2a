"""Pictures, films and sound: what a request asks for, and what becomes of a long one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    streams: bool = False
    """It is to come piece by piece."""

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height, where `size` says them."""
        if self.size is None:
            return None
        width, _, height = self.size.lower().replace("*", "x").partition("x")
        return (int(width), int(height)) if width.isdigit() and height.isdigit() else None


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

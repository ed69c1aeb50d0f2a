"""Volcengine Ark and BytePlus ModelArk: what Seedream (pictures) and Seedance (films) take.

Source: volcengine-ark-runtime 5.0.54 and the provider's pages. UNVERIFIED: the bounds in pixels of the models after
Seedream 4.5, and the longest films of Seedance 2.
"""

from __future__ import annotations

from gateway.model import Offer, SizeRule
from gateway.upstreams.dialects.managed.families import Family, Key, passing
from gateway.upstreams.dialects.managed.parts import data_url, whole
from gateway.upstreams.dialects.ordering import Picture

_RATIOS = ("16:9", "9:16", "4:3", "3:4", "1:1", "21:9")
_FILMS = {
    "1280x720": ("720p", "16:9"),
    "720x1280": ("720p", "9:16"),
    "1920x1080": ("1080p", "16:9"),
    "1080x1920": ("1080p", "9:16"),
    "864x480": ("480p", "16:9"),
    "480x864": ("480p", "9:16"),
}


def _pictures(words: tuple[str, ...], least: int, most: int, formats: tuple[str, ...]) -> Offer:
    return Offer(
        sizes=words,
        any_size=SizeRule(least_pixels=least, most_pixels=most, most_ratio=16.0),
        formats=formats,
        most_n=1,
        inputs=(0, 14),
        mask=False,
        streams=False,
        default_size="2K",
    )


def _films(seconds: tuple[float, float], resolutions: tuple[str, ...], inputs: tuple[int, int]) -> Offer:
    return Offer(
        sizes=tuple(size for size, (resolution, _) in _FILMS.items() if resolution in resolutions),
        resolutions=resolutions,
        ratios=_RATIOS,
        seconds_range=seconds,
        most_n=1,
        inputs=inputs,
        mask=False,
        streams=False,
        default_seconds=5.0,
        default_resolution="720p",
        default_fps=24.0,
    )


def _text(prompt: str) -> dict[str, str]:
    return {"type": "text", "text": prompt}


def _frame(picture: Picture) -> dict[str, object]:
    roles = {"last_frame": "last_frame", "reference": "reference_image"}
    return {
        "type": "image_url",
        "image_url": {"url": data_url(picture)},
        "role": roles.get(picture.role, "first_frame"),
    }


_FRAME = Key("content[]", _frame)


def _seedream(glob: str, offer: Offer) -> Family:
    """`sequential_image_generation` does not pass: the model then decides how many pictures are made, and charged."""
    return Family(
        models=(glob,),
        offers={"images/generations": offer, "images/edits": offer},
        keys={"prompt": Key("prompt"), "size": Key("size"), "format": Key("output_format")},
        pictures={"image": Key("image[]", data_url), "reference": Key("image[]", data_url)},
        passes=passing("seed", "guidance_scale", "watermark", "optimize_prompt_options"),
        fixed={"response_format": "b64_json"},
    )


def _seedance(glob: str, offer: Offer) -> Family:
    return Family(
        models=(glob,),
        offers={"videos": offer},
        keys={
            "prompt": Key("content[]", _text),
            "seconds": Key("duration", whole),
            "resolution": Key("resolution"),
            "ratio": Key("ratio"),
        },
        pictures={"image": _FRAME, "first_frame": _FRAME, "last_frame": _FRAME, "reference": _FRAME},
        passes=passing("seed", "watermark", "camera_fixed", "generate_audio", "service_tier", "draft"),
        films=_FILMS,
    )


_NEW = ("480p", "720p", "1080p")
FAMILIES: tuple[Family, ...] = (
    _seedream("*seedream-4-0*", _pictures(("1K", "2K", "4K"), 921_600, 16_777_216, ("jpeg",))),
    _seedream("*seedream-4-5*", _pictures(("2K", "4K"), 3_686_400, 16_777_216, ("jpeg",))),
    _seedream("*seedream-5*", _pictures(("2K", "3K"), 3_686_400, 10_404_496, ("jpeg", "png"))),
    _seedance("*seedance-1*lite*", _films((2.0, 12.0), _NEW, (0, 4))),
    _seedance("*seedance-1*", _films((2.0, 12.0), _NEW, (0, 2))),
    _seedance("*seedance-2-0-fast*", _films((4.0, 15.0), ("480p", "720p"), (0, 9))),
    _seedance("*seedance-2-0-mini*", _films((4.0, 15.0), ("480p", "720p"), (0, 9))),
    _seedance("*seedance-2*", _films((4.0, 15.0), _NEW, (0, 9))),
)

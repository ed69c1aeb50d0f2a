"""Volcengine Ark and BytePlus ModelArk: what Seedream (pictures) and Seedance (films) take.

Source: volcengine-ark-runtime 5.0.54 and the provider's pages. UNVERIFIED: the bounds in pixels of the models after
Seedream 4.5, and the longest films of Seedance 2.
"""

from __future__ import annotations

from gateway.catalog.cards import offers
from gateway.upstreams.dialects.managed.families import Family, Key, passing
from gateway.upstreams.dialects.managed.parts import data_url, whole
from gateway.upstreams.dialects.ordering import Picture

_CAN = offers("volcengine-ark")
_FILMS = {
    "1280x720": ("720p", "16:9"),
    "720x1280": ("720p", "9:16"),
    "1920x1080": ("1080p", "16:9"),
    "1080x1920": ("1080p", "9:16"),
    "864x480": ("480p", "16:9"),
    "480x864": ("480p", "9:16"),
}


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


def _seedream(glob: str, family: str) -> Family:
    """`sequential_image_generation` does not pass: the model then decides how many pictures are made, and charged."""
    return Family(
        models=(glob,),
        offers={"images/generations": _CAN[family], "images/edits": _CAN[family]},
        keys={"prompt": Key("prompt"), "size": Key("size"), "format": Key("output_format")},
        pictures={"image": Key("image[]", data_url), "reference": Key("image[]", data_url)},
        passes=passing("seed", "guidance_scale", "watermark", "optimize_prompt_options"),
        fixed={"response_format": "b64_json"},
    )


def _seedance(glob: str, family: str) -> Family:
    """`draft` does not pass: no price list has what it costs. Of `service_tier` rules decide (`routing/fields.py`)."""
    return Family(
        models=(glob,),
        offers={"videos": _CAN[family]},
        keys={
            "prompt": Key("content[]", _text),
            "seconds": Key("duration", whole),
            "resolution": Key("resolution"),
            "ratio": Key("ratio"),
        },
        pictures={"image": _FRAME, "first_frame": _FRAME, "last_frame": _FRAME, "reference": _FRAME},
        passes=passing("seed", "watermark", "camera_fixed", "generate_audio", "service_tier"),
        films=_FILMS,
    )


FAMILIES: tuple[Family, ...] = (
    _seedream("*seedream-4-0*", "seedream-4.0"),
    _seedream("*seedream-4-5*", "seedream-4.5"),
    _seedream("*seedream-5*", "seedream-5"),
    _seedance("*seedance-1*lite*", "seedance-1-lite"),
    _seedance("*seedance-1*", "seedance-1"),
    _seedance("*seedance-2-0-fast*", "seedance-2-small"),
    _seedance("*seedance-2-0-mini*", "seedance-2-small"),
    _seedance("*seedance-2*", "seedance-2"),
)

"""Alibaba's models of pictures and films (Wan, Qwen-Image) on DashScope: what each takes.

Source: dashscope 2.0.2 and the provider's help pages. UNVERIFIED: that each takes a picture as a data URL (the SDK
uploads files to the provider's own storage instead); the highest `n` of the picture models.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.catalog.cards import offers
from gateway.upstreams.dialects.managed.families import Family, Key, passing, starred, upper
from gateway.upstreams.dialects.managed.parts import data_url, whole
from gateway.upstreams.dialects.ordering import Picture

_WIDE = {
    "1280x720": ("720p", "16:9"),
    "720x1280": ("720p", "9:16"),
    "960x960": ("720p", "1:1"),
    "1088x832": ("720p", "4:3"),
    "832x1088": ("720p", "3:4"),
    "1920x1080": ("1080p", "16:9"),
    "1080x1920": ("1080p", "9:16"),
    "1440x1440": ("1080p", "1:1"),
    "1632x1248": ("1080p", "4:3"),
    "1248x1632": ("1080p", "3:4"),
}
_CAN = offers("dashscope")
_EDITED = _CAN["edited"]


def _media(picture: Picture) -> dict[str, str]:
    role = "last_frame" if picture.role == "last_frame" else "first_frame"
    return {"type": role, "url": data_url(picture)}


def _part(picture: Picture) -> dict[str, str]:
    return {"image": data_url(picture)}


def _text(prompt: str) -> dict[str, str]:
    return {"text": prompt}


_PASSES = {"negative_prompt": "input.negative_prompt"} | {
    name: f"parameters.{name}" for name in passing("seed", "prompt_extend", "watermark", "shot_type", "audio")
}
_IMAGE_PASSES = {
    name: f"parameters.{name}"
    for name in passing("seed", "prompt_extend", "watermark", "negative_prompt", "enable_interleave")
}
_PROMPT, _SECONDS = Key("input.prompt"), Key("parameters.duration", whole)
_RESOLUTION = Key("parameters.resolution", upper)
_CONTENT = "input.content[]"
"""The parts of one message: `dashscope.py` makes the message."""
FAMILIES: tuple[Family, ...] = (
    Family(
        models=("wan2.7-t2v*", "wan3.0-video*"),
        offers={"videos": _CAN["t2v-2.7"]},
        keys={"prompt": _PROMPT, "seconds": _SECONDS, "resolution": _RESOLUTION, "ratio": Key("parameters.ratio")},
        passes=_PASSES,
        films=_WIDE,
    ),
    Family(
        models=("wan2.5-t2v*", "wan2.6-t2v*"),
        offers={"videos": _CAN["t2v"]},
        keys={"prompt": _PROMPT, "seconds": _SECONDS, "size": Key("parameters.size", starred)},
        passes=_PASSES,
        films=_WIDE,
    ),
    Family(
        models=("wan2.7-i2v*",),
        offers={"videos": _CAN["i2v-2.7"]},
        keys={"prompt": _PROMPT, "seconds": _SECONDS, "resolution": _RESOLUTION},
        pictures={
            "image": Key("input.media[]", _media),
            "first_frame": Key("input.media[]", _media),
            "last_frame": Key("input.media[]", _media),
        },
        passes=_PASSES,
        films=_WIDE,
    ),
    Family(
        models=("wan2.5-i2v*", "wan2.6-i2v*"),
        offers={"videos": _CAN["i2v"]},
        keys={"prompt": _PROMPT, "seconds": _SECONDS, "resolution": _RESOLUTION},
        pictures={"image": Key("input.img_url", data_url), "first_frame": Key("input.img_url", data_url)},
        passes=_PASSES,
        films=_WIDE,
    ),
    Family(
        models=("wan*-t2i*", "qwen-image-plus*", "qwen-image-max*", "qwen-image", "z-image*"),
        offers={"images/generations": _CAN["picture"]},
        keys={
            "prompt": Key(_CONTENT, _text),
            "n": Key("parameters.n"),
            "size": Key("parameters.size", starred),
        },
        passes=_IMAGE_PASSES,
    ),
    Family(
        models=("wan*-image*", "qwen-image-edit*", "qwen-image-2*", "qwen-image-3*"),
        offers={"images/generations": replace(_EDITED, inputs=(0, 0)), "images/edits": replace(_EDITED, inputs=(1, 4))},
        keys={
            "prompt": Key(_CONTENT, _text),
            "n": Key("parameters.n"),
            "size": Key("parameters.size", starred),
        },
        pictures={"image": Key(_CONTENT, _part), "reference": Key(_CONTENT, _part)},
        passes=_IMAGE_PASSES,
    ),
)

"""Veo on Vertex AI: what each model takes. Source: google-genai 3.4.0 and Google's page of the API.

UNVERIFIED: whether the models of 3.1 (but lite) are retired (2026-11-17 by one price list, by Google's page not).
"""

from __future__ import annotations

from gateway.catalog.cards import offers
from gateway.model import Offer
from gateway.upstreams.dialects.managed.families import Family, Key, passing
from gateway.upstreams.dialects.managed.parts import plain_base64, whole
from gateway.upstreams.dialects.ordering import Picture

_CAN = offers("google-vertex")
_SMALL = {
    "1280x720": ("720p", "16:9"),
    "720x1280": ("720p", "9:16"),
    "1920x1080": ("1080p", "16:9"),
    "1080x1920": ("1080p", "9:16"),
}
_LARGE = _SMALL | {"3840x2160": ("4k", "16:9"), "2160x3840": ("4k", "9:16")}


def _image(picture: Picture) -> dict[str, str]:
    return {"bytesBase64Encoded": plain_base64(picture), "mimeType": picture.media_type}


def _reference(picture: Picture) -> dict[str, object]:
    return {"image": _image(picture), "referenceType": "asset"}


def _family(glob: str, offer: Offer) -> Family:
    return Family(
        models=(glob,),
        offers={"videos": offer},
        keys={
            "prompt": Key("instance.prompt"),
            "n": Key("parameters.sampleCount"),
            "seconds": Key("parameters.durationSeconds", whole),
            "ratio": Key("parameters.aspectRatio"),
            "resolution": Key("parameters.resolution"),
        },
        pictures={
            "image": Key("instance.image", _image),
            "first_frame": Key("instance.image", _image),
            "last_frame": Key("instance.lastFrame", _image),
            "reference": Key("instance.referenceImages[]", _reference),
        },
        passes={
            "negative_prompt": "parameters.negativePrompt",
            "generate_audio": "parameters.generateAudio",
            "person_generation": "parameters.personGeneration",
            "enhance_prompt": "parameters.enhancePrompt",
        }
        | {
            name: f"parameters.{name}"
            for name in passing("seed", "generateAudio", "personGeneration", "negativePrompt")
        },
        films=_LARGE if "4k" in offer.resolutions else _SMALL,
    )


FAMILIES: tuple[Family, ...] = (
    _family("veo-3.1-lite-*", _CAN["veo-lite"]),
    _family("veo-3.1-*", _CAN["veo"]),
)

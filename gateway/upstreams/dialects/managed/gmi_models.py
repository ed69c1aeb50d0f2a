"""GMI Cloud's models of media: what each takes, and how its payload spells it.

Sources: docs.gmicloud.ai, model quickstarts; what others recorded of live runs in September 2026. Slugs are case
sensitive. UNVERIFIED: that a picture may be a data URL with every model (the documents say "URL or base64"); the name
of the first frame of wan2.7-i2v (one probe says `img_url`); the audio formats other than MP3.
"""

from __future__ import annotations

from gateway.catalog.cards import offers
from gateway.upstreams.dialects.managed.families import Family, Key, passing, starred, text, upper
from gateway.upstreams.dialects.managed.parts import data_url, whole

FILMS = {
    "1280x720": ("720p", "16:9"),
    "720x1280": ("720p", "9:16"),
    "1920x1080": ("1080p", "16:9"),
    "1080x1920": ("1080p", "9:16"),
}
_WIDE = {**FILMS, "832x480": ("480p", "16:9"), "480x832": ("480p", "9:16")}
_CAN = offers("gmi")


def _mp3(_: str) -> str:
    return "mp3_44100_128"


_WAN_PASSES = passing("negative_prompt", "seed", "prompt_extend", "watermark", "shot_type")
FAMILIES: tuple[Family, ...] = (
    Family(
        models=("gpt-image-2-generate", "gpt-image-2"),
        offers={"images/generations": _CAN["gpt-image"]},
        keys={
            "prompt": Key("prompt"),
            "n": Key("n"),
            "size": Key("size"),
            "quality": Key("quality"),
            "format": Key("output_format"),
        },
    ),
    Family(
        models=("gpt-image-2-edit",),
        offers={"images/edits": _CAN["gpt-image-edit"]},
        keys={"prompt": Key("prompt"), "size": Key("size"), "quality": Key("quality")},
        pictures={"image": Key("image[]", data_url), "mask": Key("mask", data_url)},
    ),
    Family(
        models=("seedream-5.0-*",),
        offers={"images/generations": _CAN["seedream"], "images/edits": _CAN["seedream"]},
        keys={"prompt": Key("prompt"), "size": Key("size"), "format": Key("output_format")},
        pictures={"image": Key("image[]", data_url), "reference": Key("image[]", data_url)},
        passes=passing("max_images", "sequential_image_generation", "watermark"),
    ),
    Family(
        models=("veo-3.1-*", "Veo3", "Veo3-Fast"),
        offers={"videos": _CAN["veo"]},
        keys={
            "prompt": Key("prompt"),
            "seconds": Key("durationSeconds", whole),
            "ratio": Key("aspectRatio"),
            "resolution": Key("resolution"),
        },
        pictures={
            "image": Key("image", data_url),
            "first_frame": Key("image", data_url),
            "last_frame": Key("lastFrame", data_url),
        },
        passes={"generate_audio": "generateAudio", "person_generation": "personGeneration"}
        | passing("generateAudio", "personGeneration", "seed"),
        films=FILMS,
        seed="seed",
    ),
    Family(
        models=("wan2.7-i2v",),
        offers={"videos": _CAN["wan-i2v"]},
        keys={"prompt": Key("prompt"), "seconds": Key("duration", whole), "resolution": Key("resolution", upper)},
        pictures={
            "image": Key("first_frame", data_url),
            "first_frame": Key("first_frame", data_url),
            "last_frame": Key("last_frame", data_url),
        },
        passes=_WAN_PASSES,
        films=FILMS,
        seed="seed",
    ),
    Family(
        models=("wan2.6-i2v",),
        offers={"videos": _CAN["wan-i2v"]},
        keys={"prompt": Key("prompt"), "seconds": Key("duration", whole), "resolution": Key("resolution", upper)},
        pictures={"image": Key("img_url", data_url), "first_frame": Key("img_url", data_url)},
        passes={**_WAN_PASSES, "audio": "audio"},
        films=FILMS,
        seed="seed",
    ),
    Family(
        models=("wan2.6-t2v", "wan2.7-t2v"),
        offers={"videos": _CAN["wan-t2v"]},
        keys={"prompt": Key("prompt"), "seconds": Key("duration", whole), "size": Key("size", starred)},
        passes=_WAN_PASSES,
        films=_WIDE,
        seed="seed",
    ),
    Family(
        models=("Kling-Image2Video-*",),
        offers={"videos": _CAN["kling-i2v"]},
        keys={"prompt": Key("prompt"), "seconds": Key("duration", text)},
        pictures={"image": Key("image", data_url), "first_frame": Key("image", data_url)},
        passes=passing("negative_prompt", "cfg_scale"),
    ),
    Family(
        models=("elevenlabs-tts-*",),
        offers={"audio/speech": _CAN["elevenlabs"]},
        keys={"prompt": Key("text"), "voice": Key("voice_id"), "format": Key("output_format", _mp3)},
        passes=passing(
            "stability",
            "similarity_boost",
            "style",
            "speed",
            "use_speaker_boost",
            "seed",
            "apply_text_normalization",
        ),
        seed="seed",
    ),
    Family(
        models=("minimax-tts-speech-*",),
        offers={"audio/speech": _CAN["minimax"]},
        keys={"prompt": Key("text"), "voice": Key("voice_id"), "format": Key("format")},
        passes=passing(
            "vol",
            "pitch",
            "emotion",
            "language_boost",
            "audio_sample_rate",
            "bitrate",
            "channel",
            "sound_effects",
            "speed",
        ),
    ),
)

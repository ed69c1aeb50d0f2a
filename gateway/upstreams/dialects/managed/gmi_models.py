"""GMI Cloud's models of media: what each takes, and how its payload spells it.

Sources: docs.gmicloud.ai, model quickstarts; what others recorded of live runs in September 2026. Slugs are case
sensitive. UNVERIFIED: that a picture may be a data URL with every model (the documents say "URL or base64"); the name
of the first frame of wan2.7-i2v (one probe says `img_url`); the audio formats other than MP3.
"""

from __future__ import annotations

from gateway.model import Offer, SizeRule
from gateway.upstreams.dialects.managed.families import Family, Key, passing, starred, text, upper
from gateway.upstreams.dialects.managed.parts import data_url, whole

FILMS = {
    "1280x720": ("720p", "16:9"),
    "720x1280": ("720p", "9:16"),
    "1920x1080": ("1080p", "16:9"),
    "1080x1920": ("1080p", "9:16"),
}
_IMAGE_RULE = SizeRule(multiple=16, longest_side=3840, most_ratio=3.0, most_pixels=3840 * 2160)
_GPT = Offer(
    sizes=("1024x1024", "1024x1536", "1536x1024"),
    any_size=_IMAGE_RULE,
    qualities=("low", "medium", "high"),
    formats=("png", "jpeg"),
    most_n=10,
    most_prompt=32_000,
    inputs=(0, 0),
    mask=False,
    streams=False,
    default_size="1024x1024",
)
_GPT_EDIT = Offer(
    sizes=_GPT.sizes,
    any_size=_IMAGE_RULE,
    qualities=_GPT.qualities,
    most_n=1,
    most_prompt=32_000,
    inputs=(1, 16),
    streams=False,
    default_size="1024x1024",
)
_SEEDREAM = Offer(
    sizes=("2K", "3K"),
    any_size=SizeRule(least_pixels=3_686_400, most_pixels=10_404_496, most_ratio=16.0),
    formats=("jpeg", "png"),
    most_n=1,
    inputs=(0, 14),
    mask=False,
    streams=False,
    default_size="2K",
)
"""`n` is 1: its `max_images` lets the model decide how many there are, and are charged, so nobody says it."""
_VEO = Offer(
    sizes=tuple(FILMS),
    resolutions=("720p", "1080p"),
    ratios=("16:9", "9:16"),
    seconds=(4.0, 6.0, 8.0),
    most_n=1,
    most_prompt=2000,
    inputs=(0, 2),
    mask=False,
    default_seconds=8.0,
    default_resolution="720p",
)
_WAN_I2V = Offer(
    sizes=tuple(FILMS),
    resolutions=("720p", "1080p"),
    seconds_range=(2.0, 15.0),
    most_n=1,
    inputs=(1, 2),
    mask=False,
    default_seconds=5.0,
    default_resolution="1080p",
)
_WIDE = {**FILMS, "832x480": ("480p", "16:9"), "480x832": ("480p", "9:16")}
_WAN_T2V = Offer(
    sizes=tuple(_WIDE),
    resolutions=("480p", "720p", "1080p"),
    ratios=("16:9", "9:16"),
    seconds=(5.0, 10.0, 15.0),
    most_n=1,
    most_prompt=2000,
    inputs=(0, 0),
    mask=False,
    default_seconds=5.0,
    default_resolution="720p",
)
_KLING = Offer(seconds=(5.0, 10.0), most_n=1, most_prompt=2500, inputs=(1, 1), mask=False, default_seconds=5.0)
_ELEVEN = Offer(formats=("mp3",), most_prompt=5000, streams=False)
_MINIMAX = Offer(formats=("mp3", "flac"), most_prompt=10_000, streams=False)


def _mp3(_: str) -> str:
    return "mp3_44100_128"


_WAN_PASSES = passing("negative_prompt", "seed", "prompt_extend", "watermark", "shot_type")
FAMILIES: tuple[Family, ...] = (
    Family(
        models=("gpt-image-2-generate", "gpt-image-2"),
        offers={"images/generations": _GPT},
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
        offers={"images/edits": _GPT_EDIT},
        keys={"prompt": Key("prompt"), "size": Key("size"), "quality": Key("quality")},
        pictures={"image": Key("image[]", data_url), "mask": Key("mask", data_url)},
    ),
    Family(
        models=("seedream-5.0-*",),
        offers={"images/generations": _SEEDREAM, "images/edits": _SEEDREAM},
        keys={"prompt": Key("prompt"), "size": Key("size"), "format": Key("output_format")},
        pictures={"image": Key("image[]", data_url), "reference": Key("image[]", data_url)},
        passes=passing("watermark"),
    ),
    Family(
        models=("veo-3.1-*", "Veo3", "Veo3-Fast"),
        offers={"videos": _VEO},
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
        offers={"videos": _WAN_I2V},
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
        offers={"videos": _WAN_I2V},
        keys={"prompt": Key("prompt"), "seconds": Key("duration", whole), "resolution": Key("resolution", upper)},
        pictures={"image": Key("img_url", data_url), "first_frame": Key("img_url", data_url)},
        passes={**_WAN_PASSES, "audio": "audio"},
        films=FILMS,
        seed="seed",
    ),
    Family(
        models=("wan2.6-t2v", "wan2.7-t2v"),
        offers={"videos": _WAN_T2V},
        keys={"prompt": Key("prompt"), "seconds": Key("duration", whole), "size": Key("size", starred)},
        passes=_WAN_PASSES,
        films=_WIDE,
        seed="seed",
    ),
    Family(
        models=("Kling-Image2Video-*",),
        offers={"videos": _KLING},
        keys={"prompt": Key("prompt"), "seconds": Key("duration", text)},
        pictures={"image": Key("image", data_url), "first_frame": Key("image", data_url)},
        passes=passing("negative_prompt", "cfg_scale"),
    ),
    Family(
        models=("elevenlabs-tts-*",),
        offers={"audio/speech": _ELEVEN},
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
        offers={"audio/speech": _MINIMAX},
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

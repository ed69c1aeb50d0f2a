"""What goes out for an order, and what is refused before anything does: tables, no network."""

from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest

from gateway.errors import InvalidRequest, Refused
from gateway.model import EndpointName, MediaAsk
from gateway.upstreams.credentials import KLING_SECONDS, key_header, kling_token, passing_header
from gateway.upstreams.dialects.ordering import Picture
from loadtests.simproviders.samples import png
from tests.simproviders.buying import body_of, dialect_at, order, upstream

PICTURE = Picture(data=png(), media_type="image/png")
LAST = Picture(data=png(9, 9), media_type="image/png", role="last_frame")
MASK = Picture(data=png(), media_type="image/png", role="mask")
PLAIN = base64.b64encode(png()).decode()
URL = f"data:image/png;base64,{PLAIN}"
VOICE = "JBFqnCBsd6RMkjVDRZzb"
IMAGE: EndpointName = "images/generations"
EDIT: EndpointName = "images/edits"
FILM: EndpointName = "videos"
SPEECH: EndpointName = "audio/speech"
NOW = 1_790_000_000.0


def sent(name: str, endpoint: EndpointName, model: str, **more: Any) -> tuple[str, Any]:
    account = upstream(name, f"https://api.{name}.example/v1")
    call = dialect_at(account, endpoint).submit(account, order(endpoint, model, "A fox", **more))
    assert call.method == "POST"
    return call.path, body_of(call)


@pytest.mark.parametrize(
    ("endpoint", "model", "more", "body"),
    [
        (IMAGE, "fal-ai/flux/dev", {"ask": MediaAsk(steps=4, format="jpeg"),
                                      "fields": {"num_inference_steps": 4, "background": "auto"}},
         {"prompt": "A fox", "num_images": 1, "num_inference_steps": 4, "output_format": "jpeg"}),
        (IMAGE, "fal-ai/flux-pro/v1.1-ultra", {"ask": MediaAsk(ratio="21:9"), "fields": {"raw": True}},
         {"prompt": "A fox", "num_images": 1, "aspect_ratio": "21:9", "raw": True}),
        (EDIT, "fal-ai/nano-banana-pro/edit", {"pictures": (PICTURE, PICTURE), "fields": {"resolution": "2K"}},
         {"prompt": "A fox", "num_images": 1, "resolution": "2K", "image_urls": [URL, URL]}),
        (EDIT, "openai/gpt-image-2/edit", {"pictures": (PICTURE, MASK), "ask": MediaAsk(quality="low"),
                                               "fields": {"background": "transparent"}},
         {"prompt": "A fox", "num_images": 1, "quality": "low", "image_urls": [URL], "mask_url": URL,
          "background": "transparent"}),
        (FILM, "fal-ai/kling-video/v2.1/pro/image-to-video",
         {"pictures": (PICTURE, LAST), "ask": MediaAsk(seconds=10), "fields": {"cfg_scale": 0.4, "seconds": "10"}},
         {"prompt": "A fox", "duration": "10", "image_url": URL, "cfg_scale": 0.4,
          "tail_image_url": "data:image/png;base64," + base64.b64encode(png(9, 9)).decode()}),
        (FILM, "fal-ai/veo3.1", {"ask": MediaAsk(seconds=8, size="1920x1080")},
         {"prompt": "A fox", "duration": "8s", "aspect_ratio": "16:9", "resolution": "1080p"}),
        (FILM, "somebody/new-text-to-video", {"ask": MediaAsk(seconds=5), "fields": {"shot": "wide"}},
         {"prompt": "A fox", "duration": "5", "shot": "wide"}),
        (SPEECH, "fal-ai/kokoro/tts", {"ask": MediaAsk(voice="af_bella"), "fields": {"speed": 1.5, "voice": ""}},
         {"text": "A fox", "voice": "af_bella", "speed": 1.5}),
    ],
)  # fmt: skip
def test_fal(endpoint: EndpointName, model: str, more: dict[str, Any], body: dict[str, Any]) -> None:
    assert sent("fal", endpoint, model, **more) == (f"/{model}", body)


@pytest.mark.parametrize(
    ("endpoint", "model", "more", "path", "asked"),
    [
        (IMAGE, "black-forest-labs/flux-schnell", {"ask": MediaAsk(n=2, format="jpeg")},
         "models/black-forest-labs/flux-schnell/predictions",
         {"prompt": "A fox", "num_outputs": 2, "output_format": "jpg"}),
        (IMAGE, "black-forest-labs/flux-1.1-pro", {"ask": MediaAsk(size="1024x768")},
         "models/black-forest-labs/flux-1.1-pro/predictions",
         {"prompt": "A fox", "width": 1024, "height": 768, "aspect_ratio": "custom"}),
        (EDIT, "black-forest-labs/flux-kontext-pro", {"pictures": (PICTURE,)},
         "models/black-forest-labs/flux-kontext-pro/predictions", {"prompt": "A fox", "input_image": URL}),
        (FILM, "deployments/acme/films", {"ask": MediaAsk(seconds=5)},
         "deployments/acme/films/predictions", {"prompt": "A fox", "duration": 5}),
        (FILM, "kwaivgi/kling-v2.1", {"ask": MediaAsk(seconds=5), "pictures": (PICTURE,)},
         "models/kwaivgi/kling-v2.1/predictions", {"prompt": "A fox", "duration": 5, "start_image": URL}),
        (SPEECH, "minimax/speech-02-turbo", {"ask": MediaAsk(voice="Wise_Woman", format="wav")},
         "models/minimax/speech-02-turbo/predictions",
         {"text": "A fox", "voice_id": "Wise_Woman", "audio_format": "wav"}),
    ],
)  # fmt: skip
def test_replicate(endpoint: EndpointName, model: str, more: dict[str, Any], path: str, asked: dict[str, Any]) -> None:
    assert sent("replicate", endpoint, model, **more) == (f"/v1/{path}", {"input": asked})


def test_a_version_of_replicate_is_in_the_body() -> None:
    path, body = sent("replicate", IMAGE, "stability-ai/sdxl:abc123")
    assert (path, body["version"]) == ("/v1/predictions", "abc123")


@pytest.mark.parametrize(
    ("endpoint", "more", "path", "body"),
    [
        (FILM, {"ask": MediaAsk(seconds=5, size="720x1280"), "mark": "m-1"}, "videos/text2video",
         {"duration": "5", "mode": "std", "aspect_ratio": "9:16", "external_task_id": "m-1"}),
        (FILM, {"ask": MediaAsk(seconds=10, quality="high"), "pictures": (PICTURE, LAST)}, "videos/image2video",
         {"duration": "10", "mode": "pro", "image": PLAIN, "image_tail": base64.b64encode(png(9, 9)).decode()}),
        (FILM, {"fields": {"negative_prompt": "rain", "cfg_scale": 0.5}}, "videos/text2video",
         {"duration": "5", "negative_prompt": "rain", "cfg_scale": 0.5}),
        (IMAGE, {"ask": MediaAsk(n=3, ratio="4:3", resolution="2K")}, "images/generations",
         {"n": 3, "aspect_ratio": "4:3", "resolution": "2k"}),
        (EDIT, {"pictures": (PICTURE,)}, "images/generations", {"n": 1, "image": PLAIN}),
    ],
)  # fmt: skip
def test_kling(endpoint: EndpointName, more: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    assert sent("kling", endpoint, "kling-v2-1", **more) == (
        f"/v1/{path}",
        {"model_name": "kling-v2-1", "prompt": "A fox", **body},
    )


@pytest.mark.parametrize(
    ("form", "codec", "sound"),
    [
        (None, "mp3_44100_128", {"format": "mp3", "bitrate": 128_000}),
        ("mp3", "mp3_44100_128", {"format": "mp3", "bitrate": 128_000}),
        ("wav", "wav_24000", {"format": "wav"}),
        ("pcm", "pcm_24000", {"format": "pcm"}),
    ],
)
def test_formats_of_speech(form: str | None, codec: str, sound: dict[str, Any]) -> None:
    ask = MediaAsk(voice=VOICE, format=form)
    path, _ = sent("elevenlabs", SPEECH, "eleven_v3", ask=ask)
    assert path == f"/v1/text-to-speech/{VOICE}?output_format={codec}"
    path, body = sent("minimax", SPEECH, "speech-2.6-hd", ask=ask, fields={"speed": 1.5, "vol": 2, "pitch": -1})
    assert path == "/v1/t2a_v2"
    assert body == {
        "model": "speech-2.6-hd",
        "text": "A fox",
        "stream": False,
        "output_format": "hex",
        "voice_setting": {"voice_id": VOICE, "speed": 1.5, "vol": 2, "pitch": -1},
        "audio_setting": {"sample_rate": 24_000, "channel": 1, **sound},
    }


@pytest.mark.parametrize(
    ("model", "more", "path", "body"),
    [
        ("MiniMax-Hailuo-02", {"ask": MediaAsk(seconds=6, resolution="768p"), "pictures": (PICTURE,)}, "/v1",
         {"prompt": "A fox", "duration": 6, "resolution": "768P", "first_frame_image": URL}),
        ("T2V-01", {"fields": {"prompt_optimizer": False}}, "/v1", {"prompt": "A fox", "prompt_optimizer": False}),
        ("MiniMax-H3", {"ask": MediaAsk(seconds=5, ratio="16:9", resolution="2k"), "pictures": (PICTURE, LAST)}, "/v2",
         {"duration": 5, "ratio": "16:9", "resolution": "2k", "content": [
             {"type": "text", "text": "A fox"},
             {"type": "image_url", "image_url": {"url": URL}, "role": "first_frame"},
             {"type": "image_url", "image_url": {
                 "url": "data:image/png;base64," + base64.b64encode(png(9, 9)).decode()}, "role": "last_frame"}]}),
    ],
)  # fmt: skip
def test_minimax_films(model: str, more: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    assert sent("minimax", FILM, model, **more) == (f"{path}/video_generation", {"model": model, **body})


def test_gemini_films() -> None:
    ask = MediaAsk(seconds=8, size="1920x1080", n=2)
    path, body = sent("gemini", FILM, "veo-3.1-generate-001", ask=ask, pictures=(PICTURE, LAST), fields={"seed": 7})
    assert path == "/v1beta/models/veo-3.1-generate-001:predictLongRunning"
    assert body["parameters"] == {
        "aspectRatio": "16:9",
        "resolution": "1080p",
        "sampleCount": 2,
        "durationSeconds": 8,
        "seed": 7,
    }
    assert body["instances"][0]["image"] == {"bytesBase64Encoded": PLAIN, "mimeType": "image/png"}
    assert "lastFrame" in body["instances"][0]


REFUSED = [
    ("fal", IMAGE, "fal-ai/flux/dev", {"ask": MediaAsk(n=9)}, "n", "4"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"num_images": 3}}, "num_images", "use n"),
    ("fal", FILM, "somebody/new-model", {"fields": {"num_frames": 999}}, "num_frames", "use seconds"),
    ("replicate", IMAGE, "somebody/new-model", {"fields": {"batch_size": 9}}, "batch_size", "use n"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"background": "transparent"}}, "background", "cannot"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"output_compression": 50}}, "output_compression", "cannot"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"stream": True}}, "stream", "whole"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"resolution": "2K"}}, "resolution", "its own"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"image_size": "square"}}, "image_size", "use size"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"image_url": "http://10.0.0.1/"}}, "image_url", "use image"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"fields": {"sync_mode": True}}, "sync_mode", "response_format"),
    ("fal", IMAGE, "fal-ai/flux/dev", {"ask": MediaAsk(format="webp")}, "output_format", "jpeg or png"),
    ("fal", IMAGE, "fal-ai/imagen4/preview", {"ask": MediaAsk(size="1024x1024")}, "size", "aspect_ratio"),
    ("fal", IMAGE, "fal-ai/recraft/v3", {"ask": MediaAsk(n=2)}, "n", "one at a time"),
    ("fal", EDIT, "fal-ai/flux/dev", {"pictures": (PICTURE, PICTURE)}, "image", "0 to 1"),
    ("fal", FILM, "fal-ai/kling-video/v2.1", {"ask": MediaAsk(seconds=7)}, "seconds", "5 or 10"),
    ("fal", FILM, "fal-ai/kling-video/v2.1", {"fields": {"duration": "10"}}, "duration", "use seconds"),
    ("fal", FILM, "fal-ai/kling-video/image-to-video", {}, "input_reference", "1 to 2"),
    ("fal", FILM, "fal-ai/veo3.1", {"ask": MediaAsk(resolution="8k")}, "resolution", "720p, 1080p or 4k"),
    ("fal", SPEECH, "fal-ai/kokoro/tts", {"fields": {"instructions": "softly"}}, "instructions", "cannot"),
    ("fal", IMAGE, "fal-ai/kokoro/tts", {}, "model", "audio/speech"),
    ("replicate", IMAGE, "black-forest-labs/flux-schnell", {"ask": MediaAsk(size="1x1")}, "size", "aspect_ratio"),
    ("replicate", IMAGE, "black-forest-labs/flux-schnell", {"ask": MediaAsk(ratio="7:1")}, "aspect_ratio", "16:9"),
    ("replicate", IMAGE, "stability-ai/sdxl", {"ask": MediaAsk(size="2K")}, "size", "WIDTHxHEIGHT"),
    ("replicate", FILM, "google/veo-3.1", {"ask": MediaAsk(seconds=5)}, "seconds", "4, 6 or 8"),
    ("replicate", IMAGE, "black-forest-labs/flux-1.1-pro", {"fields": {"width": 64}}, "width", "use size"),
    ("kling", FILM, "kling-v2-1", {"ask": MediaAsk(seconds=6)}, "seconds", "5 or 10"),
    ("kling", FILM, "kling-v2-1", {"ask": MediaAsk(size="640x480")}, "size", "1280x720"),
    ("kling", FILM, "kling-v2-1", {"ask": MediaAsk(n=2)}, "n", "1"),
    ("kling", FILM, "kling-v2-1", {"fields": {"callback_url": "https://x"}}, "callback_url", "webhook"),
    ("kling", FILM, "kling-v2-1", {"fields": {"mode": "pro"}}, "mode", "use quality"),
    ("kling", FILM, "kling-v2-1", {"fields": {"seed": 3}}, "seed", "cfg_scale"),
    ("kling", IMAGE, "kling-v2-1", {"ask": MediaAsk(size="1024x1024")}, "size", "aspect_ratio"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice="alloy")}, "voice", "george"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk()}, "voice", "20 letters"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice="../../v1/voices/xyz00")}, "voice", "20 letters"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice=VOICE, format="aac")}, "response_format", "mp3, opus"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice=VOICE), "fields": {"speed": 2}}, "speed", "0.7 to 1.2"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice=VOICE), "fields": {"speed": "x"}}, "speed", "0.7"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice=VOICE), "fields": {"instructions": "x"}},
     "instructions", "cannot"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice=VOICE), "fields": {"stream_format": "sse"}},
     "stream_format", "audio"),
    ("elevenlabs", SPEECH, "eleven_v3", {"ask": MediaAsk(voice=VOICE), "fields": {"zzz": 1}}, "zzz", "seed"),
    ("minimax", SPEECH, "speech-2.6-hd", {"ask": MediaAsk()}, "voice", "MiniMax voice"),
    ("minimax", SPEECH, "speech-2.6-hd", {"ask": MediaAsk(voice="v", format="opus")}, "response_format", "flac"),
    ("minimax", SPEECH, "speech-2.6-hd", {"ask": MediaAsk(voice="v"), "fields": {"speed": 4}}, "speed", "0.5 to 2"),
    ("minimax", FILM, "MiniMax-Hailuo-02", {"ask": MediaAsk(seconds=7)}, "seconds", "6 or 10"),
    ("minimax", FILM, "MiniMax-Hailuo-02", {"ask": MediaAsk(ratio="1:1")}, "aspect_ratio", "picture"),
    ("minimax", FILM, "MiniMax-Hailuo-02", {"ask": MediaAsk(size="1280x720")}, "size", "resolution"),
    ("minimax", FILM, "I2V-01", {}, "input_reference", "exactly 1"),
    ("minimax", FILM, "MiniMax-H3", {"ask": MediaAsk(seconds=99)}, "seconds", "4 to 15"),
    ("gemini", FILM, "veo-3.1-generate-001", {"ask": MediaAsk(seconds=5)}, "seconds", "4, 6 or 8"),
    ("gemini", FILM, "veo-3.1-generate-001", {"ask": MediaAsk(size="100x100")}, "size", "1280x720"),
    ("gemini", FILM, "veo-3.1-generate-001", {"fields": {"sampleCount": 4}}, "sampleCount", "use n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "endpoint", "model", "more", "param", "says"), REFUSED)
def test_what_an_api_cannot_do_is_named(
    name: str, endpoint: EndpointName, model: str, more: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent(name, endpoint, model, **more)
    assert caught.value.param == param
    assert says in caught.value.message


def test_a_prompt_that_is_too_long_is_the_callers() -> None:
    account = upstream("kling", "https://api.klingai.com")
    with pytest.raises(InvalidRequest, match="2500") as caught:
        dialect_at(account, FILM).submit(account, order(FILM, "kling-v2-1", "x" * 2501))
    assert caught.value.param == "prompt"


def test_klings_token_is_a_jwt_that_others_can_read() -> None:
    secret = "a secret of more than thirty-two bytes, or PyJWT warns"
    token = kling_token(f"access:{secret}", NOW)
    options = {"verify_exp": False, "verify_nbf": False}
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert jwt.decode(token, secret, algorithms=["HS256"], options=options) == {
        "iss": "access",
        "exp": int(NOW) + KLING_SECONDS,
        "nbf": int(NOW) - 5,
    }


@pytest.mark.parametrize("key", ["", "access", ":secret", "access:"])
def test_a_key_that_is_no_klings_is_not_shown(key: str) -> None:
    with pytest.raises(Refused) as caught:
        kling_token(key, NOW)
    assert caught.value.account
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("fal", (b"authorization", b"Key k")),
        ("replicate", (b"authorization", b"Bearer k")),
        ("minimax", (b"authorization", b"Bearer k")),
        ("elevenlabs", (b"xi-api-key", b"k")),
        ("gemini", (b"x-goog-api-key", b"k")),
    ],
)
def test_how_a_key_is_shown(name: str, header: tuple[bytes, bytes]) -> None:
    assert key_header(upstream(name, "https://h", "k"), NOW) == header
    assert key_header(upstream(name, "https://h", None), NOW) is None


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("openai", (b"authorization", b"Bearer k")),
        ("azure", (b"api-key", b"k")),
        ("anthropic", (b"x-api-key", b"k")),
        ("gemini", (b"authorization", b"Bearer k")),
        ("ark", (b"authorization", b"Bearer k")),
    ],
)
def test_how_a_key_is_shown_beside_a_callers_own_body(name: str, header: tuple[bytes, bytes]) -> None:
    assert passing_header(upstream(name, "https://h", "k")) == header
    assert passing_header(upstream(name, "https://h", None)) is None


def test_a_service_account_is_never_sent() -> None:
    account = upstream("vertex", "https://h", '{"client_email": "a"}')
    assert (key_header(account, NOW), passing_header(account)) == (None, None)

"""Pictures and speech from simulated workers of the engines that make them, through the official SDK."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from PIL import Image

from tests.gateways import Lane, Site
from tests.studio import picture

LANES = [
    Lane(
        name,
        workers=2,
        cloud=False,
        model={"modality": "audio" if name == "voices" else "image"},
        worker={"engine": engine},
        sim={"engine": engine, "job_batch": 4, "unit_s": 0.02},
    )
    for name, engine in (
        ("vllm-omni", "vllm-omni"),
        ("sglang-diffusion", "sglang-diffusion"),
        ("voices", "vllm-omni"),
    )
]


@pytest.mark.parametrize("engine", ["vllm-omni", "sglang-diffusion"])
def test_pictures(site: Site, engine: str) -> None:
    with site.sdk() as client:
        raw = client.images.with_raw_response.generate(model=engine, prompt="a fox", n=2, size="512x512")
    made = raw.parse().data or []
    assert len(made) == 2
    for one in made:
        with Image.open(BytesIO(base64.b64decode(one.b64_json or ""))) as opened:
            assert opened.format == "PNG"
    told = site.receipt(raw.headers["x-request-id"])
    assert (told["outcome"], told["usage"]["images"], told["usage"]["estimated"]) == ("local", 2, False)
    site.quiet(engine)


@pytest.mark.parametrize("engine", ["vllm-omni", "sglang-diffusion"])
def test_edits(site: Site, engine: str) -> None:
    with site.sdk() as client:
        made = client.images.edit(model=engine, image=[picture(), picture("JPEG")], mask=picture(), prompt="a hat", n=2)
    assert len(made.data or []) == 2
    site.quiet(engine)


def test_speech(site: Site) -> None:
    with site.sdk() as client:
        answer = client.audio.speech.create(model="voices", voice="alloy", input="Guten Morgen")
        assert answer.read()[:4] == b"RIFF"
        assert answer.response.headers["content-type"] == "audio/wav"
    told = site.receipt(answer.response.headers["x-request-id"])
    assert (told["usage"]["characters"], told["error"]) == (12, None)
    site.quiet("voices")

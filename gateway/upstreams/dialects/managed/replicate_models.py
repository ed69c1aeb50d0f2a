"""Models of Replicate: how their inputs are called, and what they can do. From their schemas on Replicate as of
November 2026, UNVERIFIED where a version may have others; what no row names gets the words that most of them share."""

from __future__ import annotations

from gateway.upstreams.dialects.managed.inputs import Inputs
from gateway.upstreams.dialects.managed.offers import Offers, Row, rows_of

PLAIN = Inputs(
    n="num_outputs", ratio="aspect_ratio", resolution="resolution", seconds="duration", format="output_format",
    image="image", last="last_frame", voice="voice", speed="speed", jpg="jpg",
)  # fmt: skip

INPUTS: tuple[Row[Inputs], ...] = (
    Row("black-forest-labs/flux-1.1-pro*", Inputs(size_as="sides", ratio="aspect_ratio", format="output_format",
        image="image_prompt", jpg="jpg")),
    Row("black-forest-labs/flux-kontext-*", Inputs(ratio="aspect_ratio", format="output_format", image="input_image",
        jpg="jpg")),
    Row("black-forest-labs/flux-*", Inputs(n="num_outputs", ratio="aspect_ratio", format="output_format",
        image="image", mask="mask", jpg="jpg")),
    Row("stability-ai/sdxl*", Inputs(n="num_outputs", size_as="sides", image="image",
        mask="mask")),
    Row("google/nano-banana*", Inputs(ratio="aspect_ratio", format="output_format", images="image_input", jpg="jpg")),
    Row("google/imagen-*", Inputs(ratio="aspect_ratio", format="output_format", jpg="jpg")),
    Row("google/veo-*", Inputs(ratio="aspect_ratio", resolution="resolution", seconds="duration", image="image",
        last="last_frame")),
    Row("kwaivgi/kling-*", Inputs(ratio="aspect_ratio", seconds="duration", image="start_image", last="end_image")),
    Row("minimax/hailuo-*", Inputs(resolution="resolution", seconds="duration", image="first_frame_image",
        last="last_frame_image")),
    Row("minimax/speech-*", Inputs(prompt="text", voice="voice_id", speed="speed", format="audio_format")),
    Row("wan-video/*", Inputs(ratio="aspect_ratio", resolution="resolution", seconds="duration", image="image",
        last="last_image", fps="frames_per_second")),
    Row("bytedance/seedance-*", Inputs(ratio="aspect_ratio", resolution="resolution", seconds="duration", image="image",
        last="last_frame_image", fps="fps")),
    Row("*tts*", Inputs(prompt="text", voice="voice", speed="speed")),
    Row("*kokoro*", Inputs(prompt="text", voice="voice", speed="speed")),
)  # fmt: skip

OFFERS: Offers = rows_of(
    "replicate",
    {
        "black-forest-labs/flux-schnell": "schnell",
        "black-forest-labs/flux-1.1-pro": "flux-pro",
        "black-forest-labs/flux-*": "flux",
        "google/veo-*": "veo",
        "kwaivgi/kling-*": "kling",
        "minimax/speech-*": "speech",
    },
)

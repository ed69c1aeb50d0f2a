"""Models of fal: how their inputs are called, and what they can do. fal's own model pages as of November 2026, where
not marked; what no row names gets the words that most of its models share."""

from __future__ import annotations

from gateway.upstreams.dialects.managed.inputs import Inputs
from gateway.upstreams.dialects.managed.offers import Offers, Row, rows_of

SIZED = Inputs(n="num_images", size="image_size", format="output_format", image="image_url")
"""Pictures in pixels: most image models, and what is taken where nothing is known."""
RATIOED = Inputs(n="num_images", ratio="aspect_ratio", format="output_format", image="image_url")
EDITED = Inputs(
    n="num_images", ratio="aspect_ratio", resolution="resolution", format="output_format", images="image_urls"
)
FILMED = Inputs(
    ratio="aspect_ratio", resolution="resolution", seconds="duration", seconds_as="text", image="image_url",
    last="end_image_url", fps="frames_per_second",
)  # fmt: skip
SPOKEN = Inputs(prompt="text", voice="voice", speed="speed")

INPUTS: tuple[Row[Inputs], ...] = (
    Row("fal-ai/flux-pro/v1.1-ultra", RATIOED),
    Row("fal-ai/imagen*", RATIOED),
    Row("fal-ai/nano-banana*", EDITED),
    Row("fal-ai/gemini-*-image*", EDITED),
    Row("openai/gpt-image-*", Inputs(n="num_images", size="image_size", quality="quality", format="output_format",
        images="image_urls", mask="mask_url",
        openai=("background", "input_fidelity"))),  # UNVERIFIED: the names of pictures
    Row("fal-ai/bytedance/seed*-to-image", Inputs(n="num_images", size="image_size", images="image_urls")),
    Row("fal-ai/recraft/*", Inputs(size="image_size")),
    Row("*/kling-video/*", Inputs(ratio="aspect_ratio", seconds="duration", seconds_as="text", image="image_url",
        last="tail_image_url")),
    Row("fal-ai/veo*", Inputs(ratio="aspect_ratio", resolution="resolution", seconds="duration", seconds_as="suffixed",
        image="image_url")),
    Row("fal-ai/minimax/speech-*", Inputs(prompt="text", format="output_format")),
    Row("minimax/h3/*", FILMED),
    Row("*/minimax/hailuo-*", Inputs(seconds="duration", seconds_as="text", resolution="resolution", image="image_url",
        last="end_image_url")),
    Row("*/tts*", SPOKEN),
    Row("*-to-video*", FILMED),
)  # fmt: skip

OFFERS: Offers = rows_of(
    "fal",
    {
        "fal-ai/flux-pro/v1.1-ultra": "ultra",
        "fal-ai/flux/*": "flux",
        "fal-ai/nano-banana*": "nano-banana",
        "fal-ai/imagen*": "imagen",
        "*/kling-video/*image-to-video": "kling-i2v",
        "*/kling-video/*": "kling",
        "fal-ai/veo3*": "veo",
        "bytedance/seedance-*": "seedance",
        "*/tts*": "speech",
    },
)

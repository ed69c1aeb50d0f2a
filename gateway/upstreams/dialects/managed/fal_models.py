"""Models of fal: how their inputs are called, and what they can do. fal's own model pages as of November 2026, where
not marked; what no row names gets the words that most of its models share."""

from __future__ import annotations

from gateway.model import Offer, SizeRule
from gateway.upstreams.dialects.managed.inputs import Inputs
from gateway.upstreams.dialects.managed.offers import FILMS, PICTURES, SPEECH, Offers, Row

_WIDE = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16", "9:21")

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

OFFERS: Offers = (
    Row("fal-ai/flux-pro/v1.1-ultra", Offer(endpoints=PICTURES, ratios=_WIDE, formats=("jpeg", "png"), most_n=4)),
    Row("fal-ai/flux/*", Offer(endpoints=PICTURES, formats=("jpeg", "png"), most_n=4, inputs=(0, 1), mask=False,
        default_size="1024x768", any_size=SizeRule(multiple=1, longest_side=14142), steps=28)),
    Row("fal-ai/nano-banana*", Offer(endpoints=PICTURES, ratios=_WIDE, formats=("jpeg", "png", "webp"), most_n=4,
        mask=False)),
    Row("fal-ai/imagen*", Offer(endpoints=PICTURES, ratios=("1:1", "16:9", "9:16", "3:4", "4:3"), most_n=4,
        inputs=(0, 0), mask=False)),
    Row("*/kling-video/*image-to-video", Offer(endpoints=FILMS, seconds=(5.0, 10.0),
        default_seconds=5.0, inputs=(1, 2), mask=False, most_prompt=2500)),
    Row("*/kling-video/*", Offer(endpoints=FILMS, seconds=(5.0, 10.0), default_seconds=5.0,
        ratios=("16:9", "9:16", "1:1"), inputs=(0, 2), mask=False, most_prompt=2500)),
    Row("fal-ai/veo3*", Offer(endpoints=FILMS, seconds=(4.0, 6.0, 8.0), default_seconds=8.0,
        ratios=("16:9", "9:16", "1:1"), resolutions=("720p", "1080p", "4k"), inputs=(0, 2), mask=False)),
    Row("bytedance/seedance-*", Offer(endpoints=FILMS, seconds_range=(4.0, 15.0), default_seconds=5.0,
        resolutions=("480p", "720p", "1080p"), mask=False)),
    Row("*/tts*", Offer(endpoints=SPEECH)),
)  # fmt: skip

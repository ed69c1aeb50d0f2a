"""vLLM-Omni (images, video, audio): gauges of its own prefix. Its queue per stage is inside `num_requests_waiting`."""

from __future__ import annotations

from gateway.upstreams.dialects.engines.common import HEALTH, MODELS, VERSION, counted
from gateway.upstreams.dialects.engines.engine import Engine, Page, starts

read = counted("vllm_omni:num_requests_running", "vllm_omni:num_requests_waiting")

ENGINE = Engine("vllm-omni", pages=(Page("/metrics", starts("vllm_omni:"), read),), details=(MODELS, HEALTH, VERSION))

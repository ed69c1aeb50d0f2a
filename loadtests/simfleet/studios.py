"""The media servers by the engine's name; the text engines are in `surfaces.TEXT`."""

from __future__ import annotations

from collections.abc import Mapping

from .config import WorkerConfig
from .media import MediaWorker
from .surfaces.comfyui import ComfyUi
from .surfaces.sglang_diffusion import SglangDiffusion
from .surfaces.trtllm_video import TrtLlmVideo
from .surfaces.vllm_omni import VllmOmni

MEDIA: Mapping[str, type[MediaWorker]] = {
    "vllm-omni": VllmOmni,
    "sglang-diffusion": SglangDiffusion,
    "comfyui": ComfyUi,
}
"""`WorkerConfig.engine` -> the server that speaks it."""


def media_of(config: WorkerConfig) -> type[MediaWorker] | None:
    """None: it is a server of text."""
    return TrtLlmVideo if (config.engine, config.makes) == ("trtllm", "video") else MEDIA.get(config.engine)

"""Which providers can be simulated, by the name of their dialect."""

from __future__ import annotations

from collections.abc import Mapping

from .ark import Ark
from .azure import Azure
from .base import Provider
from .dashscope import DashScope
from .elevenlabs import ElevenLabs
from .fal import Fal
from .gemini import Gemini
from .gmi import Gmi
from .kling import Kling
from .minimax import MiniMax
from .openai import OpenAi
from .replicate import Replicate
from .vertex import Vertex

PROVIDERS: Mapping[str, type[Provider]] = {
    each.name: each
    for each in (Ark, Azure, DashScope, ElevenLabs, Fal, Gemini, Gmi, Kling, MiniMax, OpenAi, Replicate, Vertex)
}

"""What the servers of a fleet look like from outside: one file per engine, and the table that names them.

The text engines share the step-level engine of the simulator; a surface only says how a worker tells of itself: its
pages, its metrics, its errors. The media servers (``media``) have a queue of jobs instead. Names and shapes are those
of the engines' own sources (vLLM 0.33, SGLang 0.5.23, TensorRT-LLM, Triton, TGI, llama.cpp, NIM, vLLM-Omni, ComfyUI).
"""

from __future__ import annotations

from collections.abc import Mapping

from .llamacpp import LlamaCpp
from .nim import Nim, Nim2
from .sglang import Sglang
from .surface import Surface
from .tgi import Tgi
from .triton import Triton
from .trtllm import TrtLlm
from .vllm import Vllm, VllmV0

TEXT: Mapping[str, type[Surface]] = {
    "vllm": Vllm,
    "vllm-v0": VllmV0,
    "sglang": Sglang,
    "trtllm": TrtLlm,
    "triton": Triton,
    "tgi": Tgi,
    "llamacpp": LlamaCpp,
    "nim": Nim,
    "nim2": Nim2,
}
"""`WorkerConfig.engine` -> how such a server shows itself."""

"""What `make run` simulates: the workers, bought APIs and GPU page that policies/demo names, at its ports."""

from __future__ import annotations

from typing import Any

from loadtests.simfleet.config import DEFAULT_MANAGED_KEY

BASE_PORT = 9001
"""Where policies/demo expects the first worker; every other server has its port after it."""
TEXT_WORKERS = 4
CLOUD, GPUS, IMAGES, FILMS, VOICES, CHATS, QUEUE, OPENAI = 4, 5, 7, 9, 10, 11, 12, 13
"""Ports after the first one: of the API of the overflow, of two GPU pages, and of those that make media."""
COUNT = 14
PICTURES_MODEL, FILMS_MODEL, VOICES_MODEL = "Qwen/Qwen-Image", "Wan-AI/Wan2.2-T2V-A14B-Diffusers", "Qwen/Qwen3-TTS"
CHATS_MODEL = "deepseek-ai/DeepSeek-V3-0324"
_H200 = {"gpu_kind": "H200", "node": "node-2", "gpu": 0}
FILM_S = 4.0
"""How long a bought film takes."""


def config(base_port: int = BASE_PORT) -> dict[str, Any]:
    """The keys of simfleet's `FleetConfig`. `base_port` 0: any free ports."""

    def port(after: int) -> int:
        return base_port and base_port + after

    omni = {"engine": "vllm-omni", "job_batch": 2}
    texts = [{"port": port(i)} for i in range(TEXT_WORKERS)]
    images = [
        {"name": f"image-{i + 1}", "port": port(IMAGES + i), "model": PICTURES_MODEL, **omni, "reference_steps": 50}
        for i in range(2)
    ]
    film = {"name": "film-1", "port": port(FILMS), "model": FILMS_MODEL, **omni, **_H200}
    voice = {"name": "voice-1", "port": port(VOICES), "model": VOICES_MODEL, **omni, "gpu": 6, "unit_s": 0.1}
    # GMI's list price of that model, so that its bill and the gateway's agree.
    chats = {
        "name": "gmi-chat",
        "port": port(CHATS),
        "model": CHATS_MODEL,
        "usd_in_per_1m": 0.28,
        "usd_out_per_1m": 0.88,
    }
    account = {"api_key": DEFAULT_MANAGED_KEY}
    return {
        "seed": 1,
        "workers": [*texts, *images, film, voice],
        "managed": [{"port": port(CLOUD)}, chats],
        "providers": [
            {"kind": "gmi", "port": port(QUEUE), "job_s": FILM_S, **account},
            {"kind": "openai", "port": port(OPENAI), **account},
        ],
        "dcgm": {"first_port": port(GPUS)},
    }

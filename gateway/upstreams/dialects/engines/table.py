"""The engines by name, and whose a page is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gateway.upstreams.dialects.engines import (
    comfyui,
    llamacpp,
    nim,
    sglang,
    sglang_diffusion,
    tgi,
    triton,
    trtllm,
    vllm,
    vllm_omni,
)
from gateway.upstreams.dialects.engines.engine import Engine, Page

_ROWS = (
    vllm_omni.ENGINE,  # before vLLM, which it may wrap
    vllm.ENGINE,
    sglang_diffusion.ENGINE,
    sglang.ENGINE,
    trtllm.ENGINE,
    triton.ENGINE,
    tgi.ENGINE,
    llamacpp.ENGINE,
    nim.ENGINE,
    comfyui.ENGINE,
)
ENGINES: Mapping[str, Engine] = {row.name: row for row in _ROWS}


def candidates(stated: str | None) -> tuple[Engine, ...]:
    """What a worker may be: what `engine:` says, else any."""
    engine = ENGINES.get(stated or "")
    return _ROWS if engine is None else (engine,)


def paths(engines: Iterable[Engine]) -> Iterator[str]:
    """Where their pages are, each once: the commonest of all first."""
    pages = [page for engine in engines for page in engine.pages]
    ordered = sorted(pages, key=lambda page: (page.last, page.path != "/metrics"))
    yield from dict.fromkeys(page.path for page in ordered)


def recognise(engines: Iterable[Engine], body: bytes, path: str | None = None) -> tuple[Engine, Page] | None:
    """Whose page this is; of pages at `path` only, unless that is None."""
    for engine in engines:
        for page in engine.pages:
            if path in (None, page.path) and page.mine(body):
                return engine, page
    return None

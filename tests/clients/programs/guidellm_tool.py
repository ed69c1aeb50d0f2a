"""GuideLLM, by its own command, with a tokenizer that is made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bytes_tokenizer import OFFLINE, write
from features import KEY, LOCAL, NOWHERE, URL, run

COUNT, TOKENS = 24, 8
COMMAND = Path(sys.executable).parent / "guidellm"
FIXED = ["--profile", "kind=concurrent,streams=4", "--constraint", f"kind=max_requests,count={COUNT}"]
FIXED += ["--data", f"kind=synthetic_text,prompt_tokens=20,output_tokens={TOKENS}", "--disable-console"]


def benchmark(header: dict[str, str]) -> dict[str, Any]:
    """The one benchmark of its report. It asks `/health` first."""
    backend = {"kind": "openai_http", "target": URL, "model": "chat", "api_key": KEY, "extras": {"headers": header}}
    with tempfile.TemporaryDirectory() as place:
        out, tokenizer = Path(place) / "report.json", Path(place) / "tokenizer"
        write(tokenizer)
        typed = [COMMAND, "run", "--backend", json.dumps(backend), *FIXED]
        typed += ["--tokenizer", f"kind=huggingface_auto,model={tokenizer}", "--output", f"kind=json,path={out}"]
        ended = subprocess.run(
            typed, env={**os.environ, **OFFLINE}, capture_output=True, text=True, cwd=place, check=False
        )
        assert out.exists(), f"{ended.stdout} {ended.stderr}"[-400:]
        return json.loads(out.read_text())["benchmarks"][0]


def load() -> str:
    told = benchmark(LOCAL)
    assert told["metrics"]["request_totals"]["successful"] == COUNT, told["metrics"]["request_totals"]
    return f"{COUNT} requests, 4 at once"


def header() -> None:
    totals = benchmark(NOWHERE)["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"]) == (0, COUNT), totals


run({"load": load, "header": header})

"""AIPerf, by its own command. Its tokenizer `builtin` is fetched at the first use, so it gets one that is made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bytes_tokenizer import NAME, hub
from features import KEY, LOCAL, NOWHERE, URL, run

COUNT, TOKENS = 24, 8
COMMAND = Path(sys.executable).parent / "aiperf"
FIXED = ["--endpoint-type", "chat", "--streaming", "--concurrency", "4", "--workers-max", "1", "--ui", "none"]
FIXED += ["--synthetic-input-tokens-mean", "20", "--extra-inputs", "ignore_eos:true"]
FIXED += ["--no-gpu-telemetry", "--no-server-metrics"]


def profile(header: dict[str, str]) -> dict[str, Any] | str:
    """What it exported of `COUNT` requests; where none succeeded it exports nothing, and that is what it printed."""
    ((name, value),) = header.items()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        typed = [COMMAND, "profile", "-m", "chat", "--url", URL, "--api-key", KEY, "--tokenizer", NAME, *FIXED]
        typed += ["--output-tokens-mean", str(TOKENS), "--request-count", str(COUNT), "--artifact-dir", out]
        typed += ["--header", f"{name}:{value}"]
        env = {**os.environ, **hub(Path(place) / "home")}
        ended = subprocess.run(typed, env=env, capture_output=True, text=True, cwd=place, check=False)
        exported = out / "profile_export_aiperf.json"
        return json.loads(exported.read_text()) if exported.exists() else ended.stdout


def load() -> str:
    told = profile(LOCAL)
    assert isinstance(told, dict), told[-400:]
    assert told["request_count"]["avg"] == COUNT, told["error_summary"]
    assert told["total_usage_completion_tokens"]["avg"] == COUNT * TOKENS, told
    return f"{COUNT} requests, 4 at once"


def header() -> None:
    """The same command but for the header's value."""
    told = profile(NOWHERE)
    assert isinstance(told, str), told
    assert "responses were" in told, told[-400:]


run({"load": load, "header": header})

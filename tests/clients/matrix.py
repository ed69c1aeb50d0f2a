"""The clients, what each is started with, and what came of it: a table of client and feature."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
SECONDS: Final = 180.0
"""A load tool starts half a dozen processes; on a machine that is busy with others that takes a minute."""
COLUMNS: Final = (
    "chat", "stream", "tools", "embeddings", "images", "responses", "messages", "tokens", "load", "models",
    "401", "429", "503", "retry", "header", "page",
)  # fmt: skip
WIRE: Final = frozenset({"stream", "401", "429", "503", "header"})
SDK: Final = WIRE | {"page"}
"""What every client must show, a load tool aside; `page`: its lines in docs/clients.md do what they say."""


@dataclass(frozen=True, slots=True)
class Client:
    """`where`: who runs `program` (programs/NAME.py or node/NAME.mjs). `offers`: the features that it
    must try, no more and no fewer."""

    name: str
    where: str
    program: str
    offers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Result:
    client: str
    feature: str
    passed: bool
    said: str


def _client(name: str, where: str, program: str, *more: str, of: Iterable[str] = SDK) -> Client:
    return Client(name, where, program, frozenset((*of, *more)))


OPENAI_ALL: Final = ("chat", "tools", "embeddings", "images", "responses", "models", "retry")
CLIENTS: Final = (
    _client("openai (Python)", "suite", "openai_sdk", *OPENAI_ALL),
    _client("anthropic (Python)", "suite", "anthropic_sdk", "messages", "tools", "tokens", "models", "retry"),
    _client("LangChain", "sdks", "langchain_models", "chat", "tools", "embeddings", "responses", "messages", "retry"),
    _client("LlamaIndex", "sdks", "llama_index_models", "chat", "tools", "messages", "retry"),
    _client("LiteLLM SDK", "sdks", "litellm_sdk", *(set(OPENAI_ALL) - {"models"}), "messages"),
    _client("openai (Node)", "node", "openai_sdk", *OPENAI_ALL),
    _client("anthropic (Node)", "node", "anthropic_sdk", "messages", "tools", "tokens", "models", "retry"),
    _client("Vercel AI SDK", "node", "vercel_ai", *(set(OPENAI_ALL) - {"models"}), "messages"),
    _client("curl", "suite", "curl_tool", *(set(OPENAI_ALL) - {"responses"}), "messages"),
    _client("vllm bench serve, its wire", "suite", "vllm_bench", "load", "models", of=WIRE),
    _client("GuideLLM", "guidellm", "guidellm_tool", of=("load", "header")),
    _client("AIPerf", "aiperf", "aiperf_tool", of=("load", "header")),
)


def try_out(client: Client, interpreter: Sequence[str], env: Mapping[str, str]) -> list[Result]:
    """Every feature that the client must show, and any that it showed beside them (as failed: the table errs)."""
    folder, ending = (HERE / "node", "mjs") if client.where == "node" else (HERE / "programs", "py")
    ended = subprocess.run(
        [*interpreter, str(folder / f"{client.program}.{ending}")],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"feature"')]
    got = {line["feature"]: Result(client.name, line["feature"], line["passed"], line["said"]) for line in lines}
    last = (ended.stderr.strip().splitlines() or [f"ended with {ended.returncode}"])[-1]
    missing = [Result(client.name, name, False, f"not tried: {last}") for name in sorted(client.offers - got.keys())]
    extra = [Result(client.name, name, False, "not in the table of clients") for name in got.keys() - client.offers]
    return [*(got[name] for name in got.keys() & client.offers), *missing, *extra]


def table(results: Sequence[Result]) -> str:
    """Clients down, features across: `ok`, `FAIL`, or `.` where the client has no such thing."""
    names = list(dict.fromkeys(result.client for result in results))
    found = {(result.client, result.feature): result.passed for result in results}
    width = max(map(len, names), default=0)
    rows = [" ".join([" " * width, *COLUMNS])]
    for name in names:
        cells = [
            {True: "ok", False: "FAIL", None: "."}[found.get((name, feature))].ljust(len(feature))
            for feature in COLUMNS
        ]
        rows.append(" ".join([name.ljust(width), *cells]).rstrip())
    return "\n".join(rows)

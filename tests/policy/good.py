"""A small good folder in memory that uses every file and nearly every key; tests break it one place at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.errors import PolicyFault
from gateway.model import Policy
from gateway.policy.compile import compile_files
from gateway.policy.folder import Folder

SECRET = "sk-0123456789-do-not-print"
ENV = {"API_KEY": SECRET}
HASH = "0123456789abcdef" * 4

BACKENDS = """\
zones:
  fra: {within: [de, eu]}
  us: {}
backends:
  - name: h100
    kind: local
    zone: fra
    networks: [10.20.0.0/16]
    gpu: {kind: H100, usd_per_hour: 2.0}
    upstreams:
      - name: h100-1
        url: http://10.20.0.11:8000
        engine: vllm
        gpus: 2
        gpu_index: [0, 1]
        hostname: node-1
        dcgm: http://10.20.0.11:9400/metrics
        max_num_seqs: 128
      - name: h100-2
        url: http://10.20.0.12:8000/
        limit_work_s: 4.5
  - name: gmi
    kind: managed
    zone: us
    dialect: openai
    upstreams:
      - name: gmi
        url: https://api.example.com/v1
        key: ${env:API_KEY}
        max_concurrent: 50
"""
MODELS = """\
models:
  - name: llama-3.3-70b
    modality: text
    served_by:
      - {backend: h100, as: meta-llama/Llama-3.3-70B-Instruct}
      - {backend: gmi, as: llama-big, price: {input_per_1m: 0.25, output_per_1m: 0.75}}
"""
ROUTING = """\
defaults:
  backends: [h100]
  timeouts: {connect: 500ms}
rules:
  - name: flagged
    match: {residency: any}
    route: {max_wait: 20s}
  - name: chat
    match: {model: "llama-*", tenant: acme}
    route:
      slo: {ttft_ms: 1000, tpot_ms: 40, target: 0.95}
      limit: fixed
      spill:
        backends: [gmi]
        budget_usd_per_hour: 40
        when: {queue_depth: "> 8", gpu_util: ">= 0.95", kv_util: "> 0.1"}
      fields: {n: refuse}
  - name: rest
    route: {attempts: 2, residency: "local, eu"}
"""
TENANTS = f"""\
tenants:
  - name: acme
    keys: [{HASH}]
    models: ["llama-*"]
    residency: eu
    priority: standard
"""
GOOD: Mapping[str, str] = {
    "backends.yaml": BACKENDS,
    "models.yaml": MODELS,
    "routing.yaml": ROUTING,
    "tenants.yaml": TENANTS,
}


def folder(files: Mapping[str, str | bytes], root: Path = Path("/nonexistent")) -> Folder:
    return Folder(root, {name: text.encode() if isinstance(text, str) else text for name, text in files.items()})


def compiled(files: Mapping[str, str | bytes] = GOOD, env: Mapping[str, str] | None = ENV) -> Policy:
    return compile_files(folder(files), env)


def changed(file: str, old: str, new: str) -> dict[str, str]:
    """GOOD with the only `old` in `file` replaced."""
    assert GOOD[file].count(old) == 1, f"`{old}` must be in {file} exactly once"
    return {**GOOD, file: GOOD[file].replace(old, new)}


def faults_of(files: Mapping[str, str | bytes], env: Mapping[str, str] | None = ENV) -> list[str]:
    """The fault lines of a folder; none where it compiles."""
    try:
        compiled(files, env)
    except PolicyFault as fault:
        return list(fault.faults)
    return []

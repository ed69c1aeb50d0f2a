"""What a simulated fleet is made of. Read from JSON, YAML or flags; unknown keys are refused."""

from __future__ import annotations

import math
import zlib
from typing import Any, Literal, TypeVar

import msgspec

from loadtests.simproviders.table import PROVIDERS

T = TypeVar("T")
DEFAULT_MODEL = "meta-llama/Llama-3.3-70B-Instruct"
DEFAULT_MANAGED_KEY = "sim-managed-key"
LOOPBACK = "127.0.0.1"


TextEngine = Literal["vllm", "vllm-v0", "sglang", "trtllm", "triton", "tgi", "llamacpp", "nim", "nim2"]
MediaEngine = Literal["vllm-omni", "sglang-diffusion", "comfyui"]


class ConfigFault(Exception):
    """The fleet cannot be built as described; the message names the key."""


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One GPU worker. The defaults are the demo's "small H100": 16 sequences at 20 tokens/s each when full."""

    name: str
    port: int = 0
    node: str = "node-1"
    gpu: int = 0
    """Index of the GPU on its node: the DCGM label `gpu`."""
    gpu_kind: Literal["H100", "H200"] = "H100"
    model: str = DEFAULT_MODEL
    max_num_seqs: int = 16
    step_ms: float = 42.0
    """Fixed part of one engine step; 42 + 16 x 0.5 ms = 50 ms at a full batch."""
    per_seq_ms: float = 0.5
    per_prompt_token_ms: float = 0.04
    prefill_chunk: int = 2048
    """Tokens one step may compute (vLLM: max_num_batched_tokens)."""
    block_tokens: int = 16
    num_gpu_blocks: int = 2000
    max_model_len: int = 8192
    output_median: float = 180.0
    """Log-normal length of an answer whose request does not fix it."""
    output_sigma: float = 0.8
    gauge_lag_s: float = 1.0
    """Age of the load gauges on /metrics and of the DCGM page."""
    age_s: float = 0.0
    """How long its first process says it has been there already."""
    engine: TextEngine | MediaEngine = "vllm"
    """Whose surface it shows: a file of `surfaces`."""
    older: bool = False
    """The older spelling of that engine, where its surface has one."""
    metrics_port: int = 0
    """Triton's second port; 0: any free one."""
    page_kb: int = 0
    """Size of vLLM's metrics page with what else a busy server prints; 0: only what the engine itself prints."""
    tp: int = 1
    """Tensor-parallel ranks: GPUs from `gpu` upwards, and SGLang's lines per rank."""
    max_queued: int | None = None
    """Requests that may wait; one more is refused as the engine does it. None: no limit."""
    models: tuple[str, ...] = ()
    """More names of its model, after `model`."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters that are loaded."""
    max_lora: int = 4
    asleep: bool = False
    unit_s: float = 1.0
    """Media engines: seconds of GPU time per image, or per second of video or speech."""
    reference_steps: int = 0
    """Media engines: above 0 an image, or a second of video, costs `unit_s` at so many steps and 1024x1024, and what it
    weighs (steps x pixels) otherwise; 0: all cost the same."""
    makes: Literal["text", "video"] = "text"
    """Of trtllm-serve, whose visual mode is another server."""
    job_batch: int = 1
    """Media engines: jobs that run at once."""
    pod: str = ""
    namespace: str = "default"
    """Kubernetes labels of its GPUs on the DCGM page, if the page has such."""

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        """Of its GPUs, by node and index."""
        node = zlib.crc32(self.node.encode())
        return tuple(f"GPU-{node:08x}-0000-4000-8000-{self.gpu + rank:012x}" for rank in range(self.tp))

    @property
    def kv_tokens(self) -> int:
        return self.block_tokens * self.num_gpu_blocks


class ManagedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bought API. First token: log-normal (measured shape, median 0.45 s); limits are off unless set."""

    name: str
    port: int = 0
    model: str = DEFAULT_MODEL
    api_key: str = DEFAULT_MANAGED_KEY
    ttft_median_s: float = 0.45
    ttft_sigma: float = 0.35
    tokens_per_s: float = 60.0
    frames_per_s: float = 8.0
    output_median: float = 180.0
    output_sigma: float = 0.8
    rpm: int | None = None
    tpm: int | None = None
    usd_in_per_1m: float = 0.60
    usd_cached_per_1m: float = 0.30
    usd_out_per_1m: float = 1.80
    cached_share: float = 0.0
    """Of each prompt, so much is said to come out of the cache."""


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bought API that speaks a language of its own (`simproviders`). `job_s`: how long a film takes there."""

    kind: str
    name: str
    port: int = 0
    api_key: str = "sim-managed-key"
    job_s: float = 2.0


class DcgmConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the nodes' exporters print. `labels`: "now" (`hostname`), "before" (`Hostname`, until May 2026), "oldest"
    (`uuid`, `pod_name`, `pod_namespace`, `container_name`)."""

    labels: Literal["now", "before", "oldest"] = "before"
    kubernetes: bool = False
    """With the pod on each GPU, for workers that have one."""
    without: tuple[str, ...] = ()
    """Series that are not published, such as DCGM_FI_PROF_SM_ACTIVE."""
    first_port: int = 0
    """Of the first node's page, those of the others follow; 0: after the APIs."""


class Plan(msgspec.Struct, frozen=True):
    """Every server with its name and port settled (port 0: chosen by the system at bind)."""

    seed: int
    keep_alive_s: int
    workers: tuple[WorkerConfig, ...]
    managed: tuple[ManagedConfig, ...]
    nodes: dict[str, int]
    """DCGM pages: node name -> port."""
    dcgm: DcgmConfig = DcgmConfig()
    bills: str = ""
    providers: tuple[ProviderConfig, ...] = ()
    listen: str = LOOPBACK
    called: str = LOOPBACK
    """The host of the addresses that servers tell."""


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    # A real-sized worker: the step-level model that the admission rule was judged on.
    "h100": {
        "max_num_seqs": 128,
        "step_ms": 8.0,
        "per_seq_ms": 0.06,
        "per_prompt_token_ms": 0.04,
        "num_gpu_blocks": math.ceil(450_000 / 16),
        "max_model_len": 32_768,
    },
}


class FleetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file or the flags: a count, or a list with one object per server; `worker` and `api` hold shared values."""

    seed: int = 1
    base_port: int = 0
    """Workers take base_port upwards, then managed APIs, then DCGM pages; 0: any free ports, which those of `providers`
    have that state none."""
    preset: str = "small"
    workers: int | list[dict[str, Any]] = 4
    managed: int | list[dict[str, Any]] = 1
    worker: dict[str, Any] = {}
    api: dict[str, Any] = {}
    dcgm: dict[str, Any] = {}
    providers: list[dict[str, Any]] = []
    """`kind` is the name of a dialect such as gmi; `name` is that unless said."""
    gpus_per_node: int = 8
    keep_alive_s: int = 5
    """Idle connections are closed after this long (vLLM's default)."""
    listen: str = LOOPBACK
    """The address that every server binds. Another one lets others than this machine in: for networks of containers."""
    called: str = ""
    """The name by which others reach it, in the addresses that servers tell; empty: `listen`."""
    bills: str = ""
    """Path of the file in which the managed APIs write what they charge (`bills.py`); empty: nowhere."""

    def plan(self) -> Plan:
        """Settle names, nodes and ports. Raises ConfigFault."""
        if self.preset not in PRESETS:
            raise ConfigFault(f"preset: {self.preset!r} is unknown; one of {', '.join(PRESETS)}")
        workers: list[WorkerConfig] = [self._worker(i, given) for i, given in enumerate(_each(self.workers))]
        managed: list[ManagedConfig] = [
            self._managed(i, given, len(workers)) for i, given in enumerate(_each(self.managed))
        ]
        providers = tuple(_convert({"name": str(each.get("kind")), **each}, ProviderConfig) for each in self.providers)
        names = [*(each.name for each in workers), *(each.name for each in managed), *(each.name for each in providers)]
        if len(set(names)) != len(names):
            raise ConfigFault("name: every worker, managed API and provider needs its own")
        if unknown := {each.kind for each in providers} - PROVIDERS.keys():
            raise ConfigFault(f"kind: {', '.join(sorted(unknown))} unknown; one of {', '.join(PROVIDERS)}")
        dcgm = _convert(self.dcgm, DcgmConfig)
        first = dcgm.first_port or self._port(len(workers) + len(managed))
        nodes = dict.fromkeys(worker.node for worker in workers) or {"node-1": None}
        ports = {node: first + i if first else 0 for i, node in enumerate(nodes)}
        return Plan(
            self.seed,
            self.keep_alive_s,
            tuple(workers),
            tuple(managed),
            ports,
            dcgm,
            self.bills,
            providers,
            self.listen,
            self.called or self.listen,
        )

    def _worker(self, i: int, given: dict[str, Any]) -> WorkerConfig:
        node, gpu = divmod(i, self.gpus_per_node)
        placed = {"name": f"h100-{i + 1}", "port": self._port(i), "node": f"node-{node + 1}", "gpu": gpu}
        config = _convert({**placed, **PRESETS[self.preset], **self.worker, **given}, WorkerConfig)
        if config.max_model_len > config.kv_tokens:
            raise ConfigFault(f"{config.name}: max_model_len {config.max_model_len} exceeds the KV cache")
        return config

    def _managed(self, i: int, given: dict[str, Any], before: int) -> ManagedConfig:
        placed = {"name": f"managed-{i + 1}", "port": self._port(before + i)}
        return _convert({**placed, **self.api, **given}, ManagedConfig)

    def _port(self, offset: int) -> int:
        return self.base_port + offset if self.base_port else 0


def read(raw: bytes, *, yaml: bool = False) -> dict[str, Any]:
    """Decode a configuration file into its keys. Raises ConfigFault."""
    try:
        return msgspec.yaml.decode(raw, type=dict[str, Any]) if yaml else msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as fault:
        raise ConfigFault(f"configuration file: {fault}") from None


def build(values: dict[str, Any]) -> FleetConfig:
    """Check and type the keys of a fleet. Raises ConfigFault."""
    return _convert(values, FleetConfig)


def _each(servers: int | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{} for _ in range(servers)] if isinstance(servers, int) else servers


def _convert(values: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as fault:
        raise ConfigFault(str(fault)) from None

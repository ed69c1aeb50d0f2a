"""Short pages of each engine, in its own spelling: what it answers under which path."""

from __future__ import annotations

import json
from collections.abc import Mapping

Answers = Mapping[str, tuple[int, bytes]]
STARTED = 1_700_000_000.25
PROCESS = f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {STARTED!r}\n"


def text(page: str) -> tuple[int, bytes]:
    return 200, page.encode()


def told(body: object, status: int = 200) -> tuple[int, bytes]:
    return status, json.dumps(body).encode()


def models(*ids: str, owner: str = "vllm", **adapters: str) -> tuple[int, bytes]:
    """`adapters`: name -> its base."""
    rows = [{"id": name, "object": "model", "owned_by": owner, "parent": None} for name in ids]
    rows += [{"id": name, "object": "model", "owned_by": owner, "parent": base} for name, base in adapters.items()]
    return told({"object": "list", "data": rows})


VLLM_PAGE = PROCESS + (
    "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
    "# TYPE vllm:num_requests_running gauge\n"
    'vllm:num_requests_running{engine="0",model_name="m"} 2.0\n'
    'vllm:num_requests_running{engine="1",model_name="m"} 3.0\n'
    'vllm:num_requests_waiting{engine="0",model_name="m"} 0.0\n'
    'vllm:num_requests_waiting{engine="1",model_name="m"} 1.0\n'
    'vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 77.0\n'
    'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.2\nvllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.7\n'
    'vllm:engine_sleep_state{engine="0",sleep_state="awake"} 1.0\n'
    'vllm:engine_sleep_state{engine="0",sleep_state="weights_offloaded"} 0.0\n'
    'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0\n'
    'vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="1000"} 1.0\n'
)
SGLANG_PAGE = "".join(
    f'sglang:{name}{{engine_type="unified",model_name="m",tp_rank="{tp}",pp_rank="0",dp_rank="{dp}"}} {value}\n'
    for name, per_dp in (
        ("num_running_reqs", (2, 3)),
        ("num_queue_reqs", (0, 4)),
        ("token_usage", (0.25, 0.5)),
        ("max_total_num_tokens", (1000, 1000)),
    )
    for dp, value in enumerate(per_dp)
    for tp in (0, 1)
)
TRTLLM_PAGE = "".join(
    f'trtllm_{name}{{engine_type="trtllm",model_name="m"}} {value}\n'
    for name, value in (
        ("num_requests_running", 5.0),
        ("num_requests_waiting", 2.0),
        ("max_num_active_requests", 64.0),
        ("kv_cache_utilization", 0.5),
        ("kv_cache_max_blocks", 100.0),
        ("kv_cache_tokens_per_block", 32.0),
    )
)
ITERATION = {
    "numActiveRequests": 5,
    "numQueuedRequests": 2,
    "maxNumActiveRequests": 64,
    "iterLatencyMS": 11.5,
    "kvCacheStats": {"maxNumBlocks": 100, "freeNumBlocks": 50, "usedNumBlocks": 50, "tokensPerBlock": 32},
}
TRITON_PAGE = (
    'nv_inference_pending_request_count{model="ensemble",version="1"} 9\n'
    'nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 1\n'
    'nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 6\n'
    'nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512\n'
    'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.25\n'
    'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64\n'
    'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 100\n'
)
NIM_PAGE = PROCESS + (
    'num_requests_running{model_name="m"} 3.0\nnum_requests_waiting{model_name="m"} 1.0\n'
    'num_request_max{model_name="m"} 128.0\ngpu_cache_usage_perc{model_name="m"} 0.5\n'
)
OMNI_PAGE = PROCESS + (
    'vllm:num_requests_running{engine="0"} 9.0\n'
    'vllm_omni:num_requests_running{model_name="m"} 1.0\nvllm_omni:num_requests_waiting{model_name="m"} 2.0\n'
)
DIFFUSION_PAGE = (
    'sglang:diffusion_num_queue_reqs{replica="0",role="server"} 2.0\n'
    'sglang:diffusion_num_running_reqs{replica="0",role="server"} 1.0\n'
)
LLAMA_PAGE = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 5\nllamacpp:prompt_tokens_total 7\n"

SURFACES: Mapping[str, Answers] = {
    "vllm": {
        "/metrics": text(VLLM_PAGE),
        "/v1/models": models("base", lora="base"),
        "/version": told({"version": "0.33.0"}),
        "/health": (200, b""),
    },
    "sglang": {
        "/metrics": text(SGLANG_PAGE),
        "/v1/models": models("base", owner="sglang"),
        "/server_info": told({"version": "0.5.23", "max_running_requests": 256}),
        "/health": (200, b""),
    },
    "trtllm": {
        "/metrics": told([ITERATION]),
        "/prometheus/metrics": text(TRTLLM_PAGE),
        "/v1/models": models("base", owner="tensorrt_llm"),
        "/version": told({"version": "1.3.0"}),
        "/health": (200, b""),
    },
    "triton": {
        "/metrics": text(TRITON_PAGE),
        "/v1/models": models("base", owner="Triton Inference Server"),
        "/v2": told({"name": "triton", "version": "2.60.0", "extensions": []}),
        "/v2/health/ready": (200, b""),
    },
    "tgi": {
        "/metrics": text("tgi_batch_current_size 4\ntgi_queue_size 3\n"),
        "/v1/models": models("base", owner="base"),
        "/info": told({"model_id": "base", "version": "3.3.6", "max_concurrent_requests": 128}),
        "/health": (200, b""),
    },
    "llamacpp": {
        "/metrics": text(LLAMA_PAGE),
        "/v1/models": models("base", owner="llamacpp"),
        "/props": told({"total_slots": 4, "is_sleeping": False, "build_info": "b9999-abc"}),
        "/health": told({"status": "ok"}),
    },
    "nim": {
        "/v1/metrics": text(NIM_PAGE),
        "/v1/models": models("base", owner="system"),
        "/v1/version": told({"release": "1.15.0", "api": "1.0.0"}),
        "/v1/health/ready": told({"object": "health.response", "message": "Service is ready."}),
    },
    "vllm-omni": {
        "/metrics": text(OMNI_PAGE),
        "/v1/models": models("base"),
        "/version": told({"version": "0.30.0"}),
        "/health": told({"status": "healthy"}),
    },
    "sglang-diffusion": {
        "/metrics": text(DIFFUSION_PAGE),
        "/model_info": told({"model_path": "base", "model_type": "diffusion", "is_image_gen": True}),
        "/health": told({"status": "ok"}),
    },
    "comfyui": {
        "/prompt": told({"exec_info": {"queue_remaining": 3}}),
        "/system_stats": told({"system": {"comfyui_version": "0.9.1"}, "devices": []}),
    },
}
"""Engine -> what it answers; any other path is 404."""

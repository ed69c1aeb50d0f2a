"""Which fields of pictures and speech go to a worker of ours, by engine."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import EndpointName
from gateway.upstreams.dialects.workers.fields import check

PLAIN = {
    "images/generations": ("prompt", "n", "size", "seed", "num_inference_steps", "guidance_scale", "negative_prompt"),
    "images/edits": ("prompt", "image", "images", "mask", "output_format", "response_format", "metadata[team]"),
    "audio/speech": ("input", "voice", "instructions", "response_format", "speed", "stream_format", "metadata"),
}
ENGINES = ("vllm-omni", "sglang-diffusion", "trtllm", "openai", "an-engine-of-tomorrow", None)
DANGEROUS = (
    *("perf_dump_path", "upscaling_model_path", "output_path", "diffusers_kwargs", "generator_device", "file_path"),
    *("lora", "extra_params", "extra_body", "ref_audio", "ref_audio_2", "references", "reference_url", "prompt_path"),
)


def raw(*names: str, **more: object) -> dict[str, Raw]:
    return {name: Raw(msgspec.json.encode(value)) for name, value in {**dict.fromkeys(names, 1), **more}.items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("endpoint", PLAIN)
def test_what_shapes_the_result_passes(endpoint: EndpointName, engine: str | None) -> None:
    check(endpoint, engine, raw(*PLAIN[endpoint]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("endpoint", PLAIN)
@pytest.mark.parametrize("name", DANGEROUS)
def test_what_leads_somewhere_is_refused_by_name(endpoint: EndpointName, engine: str | None, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(endpoint, engine, raw("model", name))
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("endpoint", "name", "engine"),
    [
        ("images/generations", "flow_shift", "vllm-omni"),
        ("images/generations", "enable_teacache", "sglang-diffusion"),
        ("images/generations", "guidance_rescale", "trtllm"),
        ("audio/speech", "task_type", "vllm-omni"),
    ],
)
def test_what_one_engine_has_is_for_it_alone(endpoint: EndpointName, name: str, engine: str) -> None:
    check(endpoint, engine, raw(name))
    for other in set(ENGINES) - {engine}:
        with pytest.raises(InvalidRequest):
            check(endpoint, other, raw(name))


def test_what_does_not_go_up_is_not_refused() -> None:
    check("images/generations", "openai", raw("store", "prompt"), removed=("store",))
    check("chat/completions", "vllm", raw("anything"))


@pytest.mark.parametrize(
    "value",
    [{"url": "data:,", "path": "/etc"}, [{"image_url": {"url": "data:,", "local_path": "/etc"}}], [["a", {"x": 1}]]],
    ids=str,
)
def test_nothing_rides_beside_a_picture(value: object) -> None:
    with pytest.raises(InvalidRequest, match="is not passed on") as refused:
        check("images/generations", "sglang-diffusion", raw(images=value))
    assert refused.value.param == "images"
    check("images/generations", "sglang-diffusion", raw(images=[{"image_url": {"url": "data:,", "detail": "high"}}]))

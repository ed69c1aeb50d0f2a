"""What a caller may say to a worker of ours that takes pictures and speech as they come: these fields, and no others.

Such servers also read paths of their own disk and addresses to fetch: SGLang `perf_dump_path`, `upscaling_model_path`,
`output_path` and `diffusers_kwargs`; vLLM-Omni `lora`, `extra_params`, `ref_audio` and `references`. And each version
brings more of them, so what is not known to be harmless is refused. Bought APIs guard themselves: there unknown fields
pass. Films have a list of their own (`videos.py`), sound that is heard goes by `edge/upload.py`.

Sources: OpenAI's openapi (images, audio/speech); sglang 0.5.23 multimodal_gen/runtime/entrypoints/openai/protocol.py;
vllm_omni 0.30 entrypoints/openai/protocol/images.py and audio.py; TensorRT-LLM serve/openai_protocol.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import EndpointName
from gateway.upstreams.dialects.media_endpoints import PICTURE_FIELDS

_METADATA = "metadata"
_OPENAI = frozenset({"model", "prompt", "n", "size", "user", "stream", _METADATA})
_PICTURES = (
    _OPENAI
    | PICTURE_FIELDS
    | {
        *("quality", "style", "background", "moderation", "input_fidelity", "partial_images"),
        *("response_format", "output_format", "output_compression"),
        *("width", "height", "aspect_ratio", "negative_prompt", "seed", "num_inference_steps"),
        *("guidance_scale", "true_cfg_scale", "strength", "max_sequence_length"),
    }
)
"""OpenAI's, and what every diffusion model has, whoever serves it."""
_PICTURES_OF: Mapping[str, frozenset[str]] = {
    "vllm-omni": frozenset(
        {"flow_shift", "layers", "bot_task", "system_prompt", "use_system_prompt", "infer_align_image_size"}
    ),
    "sglang-diffusion": frozenset({"output_quality", "enable_teacache", "guidance_scale_2"}),
    "trtllm": frozenset({"guidance_rescale"}),
}
_SPEECH = frozenset(
    {
        *("model", "input", "voice", "instructions", "response_format", "speed", "stream", "stream_format", "user"),
        *(_METADATA, "language", "lang_code", "seed", "sample_rate", "temperature", "top_p", "top_k"),
        *("repetition_penalty", "max_new_tokens"),
    }
)
_SPEECH_OF: Mapping[str, frozenset[str]] = {
    "vllm-omni": frozenset({"task_type", "duration_seconds", "ambient_sound", "word_timestamps", "non_streaming_mode"}),
}
_TAKEN: Mapping[EndpointName, tuple[frozenset[str], Mapping[str, frozenset[str]]]] = {
    "images/generations": (_PICTURES, _PICTURES_OF),
    "images/edits": (_PICTURES, _PICTURES_OF),
    "audio/speech": (_SPEECH, _SPEECH_OF),
}
_OF_A_PICTURE = frozenset({"image_url", "url", "b64_json", "data", "type", "detail", "media_type", "mime_type", "role"})
"""Keys of an object that stands for a picture. The first four hold it, and were looked at as the request came."""

_any = msgspec.json.Decoder()


def check(endpoint: EndpointName, engine: str | None, fields: Mapping[str, Raw], removed: Collection[str] = ()) -> None:
    """Raises InvalidRequest, naming the first field that does not go to such a worker. `removed` ones do not go up."""
    if endpoint not in _TAKEN:
        return
    common, own = _TAKEN[endpoint]
    taken = common | own.get(engine or "", frozenset())
    for name in fields:
        if name in removed:
            continue
        if name not in taken and name.partition("[")[0] != _METADATA:
            raise InvalidRequest(f"`{name}` is not passed on to this model's workers", param=name)
        if name in PICTURE_FIELDS:
            _check_keys(name, fields[name])


def _check_keys(name: str, value: Raw) -> None:
    if memoryview(value)[:1].tobytes() == b'"':
        return  # a text, however long: there is nothing beside it
    for key in _keys(_any.decode(value)):
        if key not in _OF_A_PICTURE:
            raise InvalidRequest(f"`{key}` of `{name}` is not passed on to this model's workers", param=name)


def _keys(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from _keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from _keys(one)

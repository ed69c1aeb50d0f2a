"""What was used, in the words of the other API. Anthropic's `input_tokens` leaves out what a cache served or took in;
OpenAI's `prompt_tokens` has it in."""

from __future__ import annotations

from typing import Any

from gateway.model import Usage


def for_chat(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def for_messages(usage: Usage) -> dict[str, Any]:
    made: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        made["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return made


UNTOLD: dict[str, Any] = for_messages(Usage(0, 0))
"""Before anything was told; a client must find the fields."""

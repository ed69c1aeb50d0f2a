"""Which streams another worker can go on with, and what it is asked for then (by whom: `routing/capability.py`).

A chat is continued with the answer so far as its last message, left open (`continue_final_message`); a completion with
its prompt and the answer so far. Texts only, one of them: what a parser made of the model's words (tool calls,
reasoning), what holds for the answer as a whole (a schema, a grammar) or comes beside it (log probabilities) cannot be
taken up in the middle, because the state of whoever made it died with its worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

_WHOLE = frozenset(
    {
        *("tools", "functions", "tool_choice", "function_call", "modalities", "audio", "use_beam_search"),
        *("response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
        *("regex", "json_schema", "ebnf", "structural_tag", "logprobs", "top_logprobs", "prompt_logprobs"),
        *("echo", "suffix", "continue_final_message", "return_token_ids", "return_tokens_as_token_ids"),
        "reasoning_effort",
    }
)
"""Body fields that a request may only carry with a value that means the same as leaving them out."""
_TRUE_ELSE = frozenset({"add_generation_prompt", "include_reasoning", "separate_reasoning", "stream_reasoning"})
"""So may these, which are true where they are left out."""
_NOTHING = (b"null", b"false", b"[]", b"{}", b'"none"', b'{"type":"text"}')
_TRUE = (b"null", b"true")
_CAPS, _LEAST = ("max_tokens", "max_completion_tokens"), "min_tokens"
_any = msgspec.json.Decoder()
_text = msgspec.json.Decoder(str)
_list = msgspec.json.Decoder(list[Raw])
_options = msgspec.json.Decoder(dict[str, Any] | None)


def continuable(endpoint: str, fields: Mapping[str, Raw]) -> bool:
    """Whether the stream of such a request can be continued at all, as far as its body tells."""
    if endpoint not in ("chat/completions", "completions"):
        return False
    if any(name in fields and _plain(fields[name]) not in _NOTHING for name in _WHOLE):
        return False
    if any(name in fields and _plain(fields[name]) not in _TRUE for name in _TRUE_ELSE):
        return False
    if any(name in fields and not _counts(fields[name]) for name in (*_CAPS, _LEAST)):
        return False
    options = _options.decode(fields["stream_options"]) if "stream_options" in fields else None
    if options is not None and options.get("continuous_usage_stats"):
        return False
    return endpoint == "chat/completions" or bytes(fields.get("prompt", b""))[:1] == b'"'


def cap(fields: Mapping[str, Raw]) -> int | None:
    """The lowest of the caller's bounds on the output; None: there is none."""
    said = [_any.decode(fields[name]) for name in _CAPS if name in fields]
    return min((most for most in said if most is not None), default=None)


def continued(endpoint: str, fields: Mapping[str, Raw], text: str, written: int) -> dict[str, Raw]:
    """The body for what is left to write after `text`, of about `written` tokens. `text` ends with no white space in a
    chat: templates take it away. Nothing written yet: the caller's own body."""
    asked = dict(fields)
    for name in (*_CAPS, _LEAST):
        if name in fields and (bound := _any.decode(fields[name])) is not None:
            asked[name] = _raw(max(0 if name == _LEAST else 1, bound - written))
    if not text:
        return asked
    if endpoint == "completions":
        asked["prompt"] = _raw(_text.decode(fields["prompt"]) + text)
        return asked
    messages = [*_list.decode(fields["messages"]), _raw({"role": "assistant", "content": text})]
    asked["messages"] = _raw(messages)
    asked["continue_final_message"], asked["add_generation_prompt"] = Raw(b"true"), Raw(b"false")
    return asked


def _counts(value: Raw) -> bool:
    """Whether it is a number of tokens, or says none."""
    said = _any.decode(value)
    return said is None or type(said) is int


def _plain(value: Raw) -> bytes:
    return bytes(value).translate(None, b" \t\r\n")


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))

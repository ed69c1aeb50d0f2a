"""What an answer says is a pure function of the fleet's seed and the conversation it answers, whoever answers it.

So a stream that broke can be finished elsewhere and compared byte for byte with one that did not break. On engines
that continue a partial answer (`Surface.continues`: vLLM, SGLang, NIM 2), a chat whose last message is the assistant's,
sent with ``"continue_final_message": true, "add_generation_prompt": false``, is a continuation:

- the conversation is the messages *without* that last one, so the words and the natural length are those of the
  unbroken answer;
- the answer goes on right after the characters that the last message holds, also from within a word. A text that is no
  beginning of the answer counts as many tokens as it has words, and the answer goes on with the next;
- `max_tokens` counts the new tokens only, and the prompt's tokens include the partial answer, as with the engines.

vLLM refuses a continuation that leaves `add_generation_prompt` true (400); SGLang has no such field.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from .bodies import BadBody, GenBody

ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Origin:
    """The conversation, as a number; and what of its answer was said already."""

    key: int
    said: str = ""


def origin(body: GenBody, *, continues: bool, strict: bool) -> Origin:
    """`continues`: the engine goes on from a partial answer; `strict`: only if no new turn is asked for. Raises
    BadBody."""
    if not (continues and body.continue_final_message):
        return Origin(_key(bytes(body.messages) or bytes(body.prompt)))
    if strict and body.add_generation_prompt is not False:
        raise BadBody("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    messages = msgspec.json.decode(body.messages)
    if not isinstance(messages, list) or not messages or not _by_assistant(messages[-1]):
        raise BadBody("continue_final_message is set but the final message is not the assistant's.", "messages")
    return Origin(_key(msgspec.json.encode(messages[:-1])), _text(messages[-1].get("content")))


def _key(raw: bytes) -> int:
    """Of the value, not of its spelling: white space and escapes do not count."""
    return zlib.crc32(msgspec.json.encode(msgspec.json.decode(raw))) if raw else 0


def _by_assistant(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == ASSISTANT


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""

"""Request bodies, as far as a simulator needs them, and the rules of both APIs for refusing them."""

from __future__ import annotations

import math
from typing import Any

import msgspec

BYTES_PER_TOKEN = 4.2
"""English text in the Llama 3 tokenizer, about; the JSON around it stands in for the chat template."""


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class Function(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    function: Function


class NamedFunction(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct):
    function: NamedFunction


class GenBody(msgspec.Struct):
    """The fields of chat/completions and completions that change what a simulator does."""

    model: str | None = None
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    ignore_eos: bool | None = False
    tools: list[Tool] | None = None
    tool_choice: str | NamedTool | None = None
    user: str | None = None

    @property
    def limit(self) -> int | None:
        """The caller's limit on output tokens."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.continuous_usage_stats)

    def forced_tool(self) -> Function | None:
        """The function that the answer must call, if the request forces one."""
        if not self.tools:
            return None
        if isinstance(self.tool_choice, NamedTool):
            wanted = self.tool_choice.function.name
            return next((tool.function for tool in self.tools if tool.function.name == wanted), None)
        return self.tools[0].function if self.tool_choice == "required" else None


class BadBody(Exception):
    """The body cannot be served; `param` names the field at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


_decode = msgspec.json.Decoder(GenBody).decode
_decode_any = msgspec.json.Decoder().decode


def parse(raw: bytes, *, chat: bool) -> GenBody:
    """Decode and check a body. Raises BadBody."""
    try:
        raw.decode()  # a field kept raw is not checked for UTF-8 by the decoder
        body = _decode(raw)
    except msgspec.ValidationError as fault:
        raise BadBody(str(fault)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadBody("The request body is not valid JSON") from None
    field = "messages" if chat else "prompt"
    if bytes(body.messages if chat else body.prompt) in (b"", b"null", b"[]"):
        raise BadBody(f"Field required: {field}", field)
    if body.limit is not None and body.limit < 1:
        raise BadBody(f"max_tokens must be at least 1, got {body.limit}.", "max_tokens")
    if body.n is not None and body.n < 1:
        raise BadBody(f"n must be at least 1, got {body.n}.", "n")
    return body


def prompt_tokens(body: GenBody, *, chat: bool) -> list[int]:
    """Tokens of each prompt: one for a chat; completions may carry several texts or token lists. Raises BadBody."""
    if chat:
        return [_tokens(len(bytes(body.messages)))]
    prompt = _decode_any(body.prompt)
    if isinstance(prompt, str):
        return [_tokens(len(prompt.encode()))]
    if isinstance(prompt, list):
        if all(isinstance(part, int) for part in prompt):
            return [len(prompt)]
        if all(isinstance(part, str) for part in prompt):
            return [_tokens(len(part.encode())) for part in prompt]
        if all(isinstance(part, list) and part for part in prompt):
            return [len(part) for part in prompt]
    raise BadBody("prompt must be a string, a list of strings, or lists of token ids", "prompt")


def _tokens(length: int) -> int:
    return max(1, math.ceil(length / BYTES_PER_TOKEN))

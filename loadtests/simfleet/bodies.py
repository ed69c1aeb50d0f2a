"""Request bodies, as far as a simulator needs them, and the rules of both APIs for refusing them."""

from __future__ import annotations

import math
from typing import Any, TypeVar

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


class FlatTool(msgspec.Struct):
    """A tool of /v1/responses or /v1/messages."""

    name: str = ""
    parameters: dict[str, Any] | None = None
    input_schema: dict[str, Any] | None = None


class FlatChoice(msgspec.Struct):
    type: str
    name: str | None = None


class GenBody(msgspec.Struct):
    """The fields that change what a simulator does, under their names in chat/completions and completions."""

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
    store: bool | None = None
    dimensions: int | None = None
    encoding_format: str | None = None
    continue_final_message: bool | None = False
    add_generation_prompt: bool | None = True

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


class ResponsesBody(msgspec.Struct):
    model: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    stream: bool | None = False
    max_output_tokens: int | None = None
    tools: list[FlatTool] | None = None
    tool_choice: str | FlatChoice | None = None
    store: bool | None = None
    ignore_eos: bool | None = False


class MessagesBody(msgspec.Struct):
    model: str | None = None
    messages: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    stream: bool | None = False
    max_tokens: int | None = None
    tools: list[FlatTool] | None = None
    tool_choice: FlatChoice | None = None
    ignore_eos: bool | None = False


class EmbeddingsBody(msgspec.Struct):
    model: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    dimensions: int | None = None
    encoding_format: str | None = None


class BadBody(Exception):
    """The body cannot be served; `param` names the field at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


_EMPTY = (b"", b"null", b"[]")
T = TypeVar("T")
_decode_any = msgspec.json.Decoder().decode


def parse(raw: bytes, *, chat: bool) -> GenBody:
    """Decode and check a body. Raises BadBody."""
    body = _decode(raw, GenBody)
    field = "messages" if chat else "prompt"
    if bytes(body.messages if chat else body.prompt) in _EMPTY:
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
    return _prompts(body.prompt, "prompt")


def parse_responses(raw: bytes) -> tuple[GenBody, list[int]]:
    """A /v1/responses body as a chat body, and its prompt's tokens. Raises BadBody."""
    given = _decode(raw, ResponsesBody)
    if bytes(given.input) in _EMPTY:
        raise BadBody("Field required: input", "input")
    if given.max_output_tokens is not None and given.max_output_tokens < 1:
        raise BadBody("max_output_tokens must be at least 1.", "max_output_tokens")
    named = isinstance(given.tool_choice, FlatChoice)
    body = GenBody(
        model=given.model,
        stream=given.stream,
        max_tokens=given.max_output_tokens,
        tools=_tools(given.tools),
        tool_choice=_choice(given.tool_choice) if named else given.tool_choice,  # type: ignore[arg-type]
        messages=given.input,
        store=given.store,
        ignore_eos=given.ignore_eos,
    )
    return body, [_tokens(len(bytes(given.input)) + len(bytes(given.instructions)))]


def parse_messages(raw: bytes) -> tuple[GenBody, list[int]]:
    """A /v1/messages body (or that of its count_tokens) as a chat body, and its prompt's tokens. Raises BadBody."""
    given = _decode(raw, MessagesBody)
    if bytes(given.messages) in _EMPTY:
        raise BadBody("Field required: messages", "messages")
    if given.max_tokens is not None and given.max_tokens < 1:
        raise BadBody("max_tokens must be at least 1.", "max_tokens")
    body = GenBody(
        model=given.model,
        stream=given.stream,
        max_tokens=given.max_tokens,
        tools=_tools(given.tools),
        tool_choice=_choice(given.tool_choice),
        messages=given.messages,
        ignore_eos=given.ignore_eos,
    )
    return body, [_tokens(len(bytes(given.messages)) + len(bytes(given.system)))]


def parse_embeddings(raw: bytes) -> tuple[GenBody, list[int]]:
    """An /v1/embeddings body, and the tokens of each input; prefilling one takes the time of one token. Raises
    BadBody."""
    given = _decode(raw, EmbeddingsBody)
    if bytes(given.input) in _EMPTY:
        raise BadBody("Field required: input", "input")
    body = GenBody(model=given.model, max_tokens=1, dimensions=given.dimensions, encoding_format=given.encoding_format)
    return body, _prompts(given.input, "input")


def _decode(raw: bytes, kind: type[T]) -> T:
    try:
        raw.decode()  # a field kept raw is not checked for UTF-8 by the decoder
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as fault:
        raise BadBody(str(fault)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadBody("The request body is not valid JSON") from None


def _tools(given: list[FlatTool] | None) -> list[Tool] | None:
    if given is None:
        return None
    return [Tool(Function(tool.name, tool.parameters or tool.input_schema)) for tool in given]


def _choice(given: Any) -> str | NamedTool | None:
    """`any` is Anthropic's word for `required`."""
    if not isinstance(given, FlatChoice):
        return None
    if given.name is not None:
        return NamedTool(NamedFunction(given.name))
    return "required" if given.type == "any" else given.type


def _prompts(raw: msgspec.Raw, field: str) -> list[int]:
    """Tokens of each of one or several texts or token lists. Raises BadBody."""
    prompt = _decode_any(raw)
    if isinstance(prompt, str):
        return [_tokens(len(prompt.encode()))]
    if isinstance(prompt, list):
        if all(isinstance(part, int) for part in prompt):
            return [len(prompt)]
        if all(isinstance(part, str) for part in prompt):
            return [_tokens(len(part.encode())) for part in prompt]
        if all(isinstance(part, list) and part for part in prompt):
            return [len(part) for part in prompt]
    raise BadBody(f"{field} must be a string, a list of strings, or lists of token ids", field)


def _tokens(length: int) -> int:
    return max(1, math.ceil(length / BYTES_PER_TOKEN))

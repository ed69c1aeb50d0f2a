"""Check 1, the other half: what the engine refuses, and what may or may not be switched on in it, arrives as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anthropic
import httpx
import openai

from gateway.upstreams.dialects.surface import restated
from loadtests.engine.ledger import Ledger
from loadtests.engine.stand import LOCAL, Stand

BEYOND_TOKENS = 1_000_000
"""More than any context that is served here."""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather of a city.", "parameters": SCHEMA}
CHAT_TOOLS = [{"type": "function", "function": FUNCTION}]
TOOL_TOKENS = 60
"""Room for a whole call."""


async def refusals(stand: Stand, ledger: Ledger) -> None:
    """The same request to the engine and through the gateway: the same status, the same body."""
    model, hello = stand.about.model, stand.body()["messages"]
    text, prompt = {"model": model, "input": "hello"}, {"model": model, "prompt": "hello"}
    response = {**text, "max_output_tokens": 4}
    talk = {"model": model, "messages": hello, "max_tokens": 4}
    long = too_long(stand)
    asked: list[tuple[str, str, Mapping[str, Any], int | None]] = [
        ("chat, prompt beyond the context", "chat/completions", {**talk, "messages": long}, 400),
        ("chat, a field of the wrong type", "chat/completions", {**talk, "temperature": "hot"}, None),
        ("responses, a field of the wrong type", "responses", {**response, "temperature": "hot"}, None),
        ("messages, a field of the wrong type", "messages", {**talk, "temperature": "hot"}, None),
        ("embeddings", "embeddings", text, None),
    ]
    if stand.about.kind.refuses_max_tokens:
        asked += [
            ("chat, max_tokens beyond the context", "chat/completions", {**talk, "max_tokens": BEYOND_TOKENS}, 400),
            ("completions, max_tokens beyond the context", "completions", {**prompt, "max_tokens": BEYOND_TOKENS}, 400),
            (
                "responses, output beyond the context",
                "responses",
                {**response, "max_output_tokens": BEYOND_TOKENS},
                400,
            ),
            ("messages, max_tokens beyond the context", "messages", {**talk, "max_tokens": BEYOND_TOKENS}, 400),
        ]
    for what, path, body, status in asked:
        await same(stand, ledger, what, path, body, status)
    await _classes(stand, ledger)


async def tools(stand: Stand, ledger: Ledger) -> None:
    """Whether the engine takes tools is its own affair; what it says of them arrives."""
    chat = stand.body(max_tokens=TOOL_TOKENS, temperature=0, tools=CHAT_TOOLS)
    flat = {"type": "function", **FUNCTION}
    asked = {"model": stand.about.model, "max_output_tokens": TOOL_TOKENS, "temperature": 0}
    response = {**asked, "input": "hello", "tools": [flat]}
    message = stand.body(max_tokens=TOOL_TOKENS, temperature=0, tools=[{"name": "weather", "input_schema": SCHEMA}])
    await same(stand, ledger, "chat with tools", "chat/completions", chat)
    await same(stand, ledger, "chat that must call one", "chat/completions", {**chat, "tool_choice": "required"})
    await same(stand, ledger, "responses with tools", "responses", response)
    await same(stand, ledger, "messages with tools", "messages", message)
    forced = {**message, "tool_choice": {"type": "any"}}
    await same(stand, ledger, "messages that must call one", "messages", forced)


async def same(
    stand: Stand, ledger: Ledger, what: str, path: str, body: Mapping[str, Any], status: int | None = None
) -> None:
    direct = await stand.direct.post(f"/v1/{path}", json=body)
    ours = await stand.http.post(f"/v1/{path}", json=body, headers=LOCAL)
    if status is not None:
        ledger.add(f"{what}: the engine's status", status, direct.status_code)
    expected, seen = _compared(direct, f"/v1/{path}"), _compared(ours)
    told = seen if expected == seen else f"{seen} instead of {expected}"
    ledger.add(what, "what the engine itself answers", told, expected == seen)


def _compared(answer: httpx.Response, path: str = "") -> str:
    """A refusal whole, in the shape that callers of `path` expect; of a success what does not change from one answer to
    the next."""
    if answer.is_error:
        shaped = restated(path, answer.status_code, answer.content) if path else None
        return f"{answer.status_code} {answer.text if shaped is None else shaped.decode()}"
    told = answer.json()
    usage = told.get("usage", told)
    kept = {name: told[name] for name in ("tools", "tool_choice") if name in told}
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    return f"{answer.status_code}, prompt of {prompt} tokens, a tool called: {_calls(told)}, {kept}"


def _calls(told: Mapping[str, Any]) -> bool:
    """Whether an answer of any of the endpoints calls a tool."""
    parts = [choice.get("message", {}).get("tool_calls") for choice in told.get("choices", [])]
    parts += [part["type"] in ("function_call", "tool_use") for part in told.get("output", told.get("content", []))]
    return any(parts)


def too_long(stand: Stand) -> list[dict[str, str]]:
    """A prompt of more tokens than the context holds."""
    return [{"role": "user", "content": "hello " * stand.about.longest}]


async def _classes(stand: Stand, ledger: Ledger) -> None:
    """The SDKs raise for the engine's refusal what they raise for the API's own."""
    asked: dict[str, Any] = {**stand.body(), "max_tokens": 4, "messages": too_long(stand)}
    seen: Any = "no error"
    async with stand.openai() as client:
        try:
            await client.chat.completions.create(**asked)
        except openai.APIStatusError as error:
            seen = (type(error).__name__, bool(error.message))
    ledger.add("openai SDK, beyond the context: class, has a message", ("BadRequestError", True), seen)
    seen = "no error"
    async with stand.anthropic() as claude:
        try:
            await claude.messages.create(**asked)
        except anthropic.APIStatusError as error:
            seen = (type(error).__name__, bool(error.message))
    ledger.add("anthropic SDK, beyond the context: class, has a message", ("BadRequestError", True), seen)

"""Check 1: the official SDKs through the gateway, plain and streamed; usage as the receipt has it."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai

from loadtests.engine.ledger import Ledger
from loadtests.engine.stand import LOCAL, Stand

TOKENS = 5
EXACT = {"ignore_eos": True}
HELLO: Any = [{"role": "user", "content": "hello"}]
USAGE = ("input_tokens", "output_tokens", "estimated")


async def sdks(stand: Stand, ledger: Ledger) -> None:
    """chat, completions, responses, messages and count_tokens."""
    async with stand.openai() as client:
        await _chat(stand, ledger, client)
        await _completions(stand, ledger, client)
        await _responses(stand, ledger, client)
    async with stand.anthropic() as claude:
        await _messages(stand, ledger, claude)
    await _frames(stand, ledger)


async def _chat(stand: Stand, ledger: Ledger, client: openai.AsyncOpenAI) -> None:
    asked: dict[str, Any] = {
        "model": stand.about.model,
        "messages": HELLO,
        "max_tokens": TOKENS,
        "extra_body": EXACT,
    }
    raw = await client.chat.completions.with_raw_response.create(**asked)
    answer = raw.parse()
    ledger.add("openai SDK, chat: outcome", "local", raw.headers["x-gateway-outcome"])
    ledger.add("openai SDK, chat: finish, output tokens", ("length", TOKENS), _finish(answer))
    usage = (answer.usage.prompt_tokens, TOKENS, False)
    ledger.add(
        "chat: usage on the receipt: input, output, estimated",
        usage,
        await on_receipt(stand, raw.headers["x-request-id"]),
    )
    stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    ledger.add("openai SDK, streamed chat: usage in the last chunk", TOKENS, chunks[-1].usage.completion_tokens)


async def _completions(stand: Stand, ledger: Ledger, client: openai.AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": stand.about.model, "prompt": "hello", "max_tokens": TOKENS, "extra_body": EXACT}
    answer = await client.completions.create(**asked)
    ledger.add("openai SDK, completions: finish, output tokens", ("length", TOKENS), _finish(answer))
    pieces = [piece async for piece in await client.completions.create(**asked, stream=True)]
    ledger.add("openai SDK, streamed completions: finish", "length", pieces[-1].choices[0].finish_reason)


async def _responses(stand: Stand, ledger: Ledger, client: openai.AsyncOpenAI) -> None:
    asked: dict[str, Any] = {
        "model": stand.about.model,
        "input": "hello",
        "max_output_tokens": TOKENS,
        "extra_body": EXACT,
    }
    raw = await client.responses.with_raw_response.create(**asked)
    response = raw.parse()
    told = (response.status, response.usage.output_tokens)
    ledger.add("openai SDK, responses: status, output tokens", (stand.about.kind.cut_status, TOKENS), told)
    usage = (response.usage.input_tokens, TOKENS, False)
    ledger.add(
        "responses: usage on the receipt: input, output, estimated",
        usage,
        await on_receipt(stand, raw.headers["x-request-id"]),
    )
    async with client.responses.with_streaming_response.create(**asked, stream=True) as streamed:
        events = [event async for event in await streamed.parse()]
        request_id = streamed.headers["x-request-id"]
    if stand.about.kind.numbers_events:
        numbers = [event.sequence_number for event in events]
        every = list(range(len(events)))
        ledger.add("openai SDK, streamed responses: events are numbered without a gap", every, numbers)
    ends = ("response.completed", "response.incomplete")
    ledger.add(
        "openai SDK, streamed responses: last event", " or ".join(ends), events[-1].type, events[-1].type in ends
    )
    ledger.add(
        "streamed responses: usage on the receipt: input, output, estimated", usage, await on_receipt(stand, request_id)
    )


async def _messages(stand: Stand, ledger: Ledger, claude: anthropic.AsyncAnthropic) -> None:
    asked: dict[str, Any] = {
        "model": stand.about.model,
        "messages": HELLO,
        "max_tokens": TOKENS,
        "extra_body": {**EXACT, "temperature": 0},
    }
    message = await claude.messages.create(**asked)
    told = (message.stop_reason, message.usage.output_tokens)
    ledger.add("anthropic SDK, messages: stop, output tokens", ("max_tokens", TOKENS), told)
    usage = (message.usage.input_tokens, TOKENS, False)
    ledger.add(
        "messages: usage on the receipt: input, output, estimated",
        usage,
        await on_receipt(stand, str(message._request_id)),
    )
    async with claude.messages.stream(**asked) as stream:
        final, request_id = await stream.get_final_message(), str(stream.request_id)
    told = (final.stop_reason, final.usage.output_tokens)
    ledger.add("anthropic SDK, streamed messages: stop, output tokens", ("max_tokens", TOKENS), told)
    ledger.add(
        "streamed messages: usage on the receipt: input, output, estimated", usage, await on_receipt(stand, request_id)
    )
    counted = await claude.messages.count_tokens(model=stand.about.model, messages=HELLO)
    ledger.add(
        "anthropic SDK, count_tokens: the prompt of that message", message.usage.input_tokens, counted.input_tokens
    )


async def _frames(stand: Stand, ledger: Ledger) -> None:
    """What the SDK hides: a stream that did not ask for usage shows none, ends with [DONE], and is metered all the
    same."""
    body = stand.body(max_tokens=TOKENS, stream=True, **EXACT)
    answer = await stand.http.post("/v1/chat/completions", json=body, headers=LOCAL)
    frames = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    ledger.add("streamed chat: last frame", "[DONE]", frames[-1])
    shown = sum(bool(json.loads(frame).get("usage")) for frame in frames[:-1])
    ledger.add("streamed chat that asked for no usage: frames with usage", 0, shown)
    receipt = await on_receipt(stand, answer.headers["x-request-id"])
    ledger.add("streamed chat that asked for no usage: receipt: output tokens, estimated", (TOKENS, False), receipt[1:])


def _finish(answer: Any) -> tuple[str, int]:
    return answer.choices[0].finish_reason, answer.usage.completion_tokens


async def on_receipt(stand: Stand, request_id: str) -> tuple[Any, ...]:
    usage = (await stand.receipt(request_id)).get("usage") or {}
    return tuple(usage.get(name) for name in USAGE)

"""One answer on its way out: a stream of frames or one body, in vLLM's or OpenAI's exact framing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from .bodies import GenBody
from .exchange import Exchange
from .journal import Entry
from .scripts import Script

_NULL = b"null"


@dataclass(frozen=True, slots=True)
class Flavour:
    """How the two APIs frame the same stream."""

    choice_tail: bytes
    null_usage: bytes
    """In each chunk before the usage chunk, when the caller asked for usage."""
    finish_apart: bool
    """finish_reason comes in a chunk of its own, with an empty delta."""


VLLM = Flavour(choice_tail=b',"stop_reason":null', null_usage=b"", finish_apart=False)
OPENAI = Flavour(choice_tail=b"", null_usage=b',"usage":null', finish_apart=True)


@dataclass(frozen=True, slots=True)
class Head:
    """What all chunks of an answer share. `nonce` comes back as system_fingerprint: whose answer is this?"""

    id: str
    model: str
    nonce: str | None
    chat: bool

    def fields(self, *, chunk: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        created = int(time.time())
        return {
            "id": self.id,
            "object": kind,
            "created": created,
            "model": self.model,
            "system_fingerprint": self.nonce,
        }


class Answer:
    """Tokens go in through `emit`, from any callback; `done` tells when and how it ended.

    `done` resolves to "finished", "aborted" (the client left) or "dropped" (a fault cut it off).
    """

    def __init__(
        self, exchange: Exchange, head: Head, body: GenBody, scripts: list[Script], entry: Entry, flavour: Flavour
    ) -> None:
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.scripts = scripts
        self.streamed = bool(body.stream)
        self.drop_after: int | None = None
        """Cut the connection after this many emissions; an answer that is not streamed is cut before its body."""
        self._exchange = exchange
        self._head = head
        self._body = body
        self._entry = entry
        self._flavour = flavour
        self._open = len(scripts)
        self._emitted = 0
        self._prefix = b"data: %b" % msgspec.json.encode(head.fields(chunk=True))[:-1]
        self._content_key = b"delta" if head.chat else b"text"
        self._null_usage = flavour.null_usage if body.include_usage else b""

    def emit(self, choice: int, first: int, count: int) -> None:
        """Tokens first .. first+count-1 of a choice exist now; the last one ends the choice."""
        if self.done.done():
            return
        if self._cut():
            self.done.set_result("dropped")
            self._exchange.connection.reset()
            return
        self._entry.completion_tokens += count
        script = self.scripts[choice]
        last = first + count >= script.length
        self._open -= last
        if self.streamed:
            self._exchange.write(self._frames(choice, script, first, count, last))
        self._emitted += 1
        if self._open == 0:
            self.done.set_result("finished")

    def abort(self) -> None:
        if not self.done.done():
            self.done.set_result("aborted")

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        choices = [
            {"index": i, **script.whole(), "logprobs": None, "finish_reason": script.finish}
            for i, script in enumerate(self.scripts)
        ]
        return msgspec.json.encode({**self._head.fields(chunk=False), "choices": choices, "usage": self._usage()})

    def _cut(self) -> bool:
        return self.drop_after is not None and (self._emitted >= self.drop_after or not self.streamed)

    def _frames(self, choice: int, script: Script, first: int, count: int, last: bool) -> bytes:
        finish = b'"%b"' % script.finish.encode() if last else _NULL
        inline = _NULL if self._flavour.finish_apart else finish
        frames = self._chunk(choice, script.delta(first, count), inline)
        if first == 0 and self._head.chat:
            frames = self._chunk(choice, b'{"role":"assistant","content":""}', _NULL) + frames
        if last and self._flavour.finish_apart:
            frames += self._chunk(choice, b"{}" if self._head.chat else b'""', finish)
        if self._open == 0:
            frames += self._ending()
        return frames

    def _chunk(self, choice: int, content: bytes, finish: bytes) -> bytes:
        usage = self._null_usage
        if self._body.continuous_usage and self._body.include_usage:
            usage = b',"usage":%b' % msgspec.json.encode(self._usage())
        return b'%b,"choices":[{"index":%d,"%b":%b,"logprobs":null,"finish_reason":%b%b}]%b}\n\n' % (
            *(self._prefix, choice, self._content_key, content, finish, self._flavour.choice_tail, usage),
        )

    def _ending(self) -> bytes:
        if not self._body.include_usage:
            return b"data: [DONE]\n\n"
        usage = msgspec.json.encode(self._usage())
        return b'%b,"choices":[],"usage":%b}\n\ndata: [DONE]\n\n' % (self._prefix, usage)

    def _usage(self) -> dict[str, int]:
        prompt, completion = self._entry.prompt_tokens, self._entry.completion_tokens
        return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}

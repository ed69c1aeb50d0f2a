"""What is sent for a job, and whether what came back is a right answer. Pure."""

from __future__ import annotations

import msgspec

from loadtests.load.plan import Job, Kind

BYTES_PER_TOKEN = 4.2
"""English text in the Llama 3 tokenizer, about; the simulator and the gateway's prior count the same way."""
BLOCK_TOKENS = 512
"""Prompt tokens of one id of a trace in the Mooncake format."""
FILLER = b"the quick brown fox jumps over the lazy dog while the router counts its tokens " * 1000
STRIDE = 977
"""Neighbouring prompts start at different letters."""
MESSAGES = b'[{"role":"user","content":"%b"}]'
PROMPT = "a lighthouse in the evening"
PATHS = {
    "chat": "/v1/chat/completions",
    "image": "/v1/images/generations",
    "speech": "/v1/audio/speech",
    "video": "/v1/videos",
}
LOCAL = {"X-Data-Residency": "local"}


def body(kind: Kind, job: Job, number: int) -> bytes:
    """The request as JSON; `number` makes it differ from the others."""
    if kind.kind == "chat":
        return chat(kind.model, job, number)
    if kind.kind == "speech":
        said = (PROMPT + ", ") * (1 + job.prompt // len(PROMPT))
        return msgspec.json.encode({"model": kind.model, "voice": "alloy", "input": said[: max(1, job.prompt)]})
    asked = {"model": kind.model, "prompt": f"{PROMPT}, {number}", "size": kind.size}
    return msgspec.json.encode(asked | ({"seconds": str(kind.seconds)} if kind.kind == "video" else {}))


def chat(model: str, job: Job, number: int) -> bytes:
    """Built from bytes, as it is most of the load: `messages` weighs what `job.prompt` tokens of text would."""
    length = max(1, int(job.prompt * BYTES_PER_TOKEN) - len(MESSAGES % b""))
    return b'{"model":"%b","messages":%b,"max_tokens":%d,"ignore_eos":true,"stream":%b}' % (
        model.encode(),
        MESSAGES % (_shared(job.blocks, length) if job.blocks else _own(number, length)),
        job.output,
        b"true" if job.stream else b"false",
    )


def _own(number: int, length: int) -> bytes:
    start = number * STRIDE % (len(FILLER) - length) if length < len(FILLER) else 0
    return (FILLER * (1 + length // len(FILLER)))[start : start + length]


def _shared(blocks: tuple[int, ...], length: int) -> bytes:
    """Requests whose first ids are equal begin with the same text; what the ids do not cover is cut or filled up."""
    size = int(BLOCK_TOKENS * BYTES_PER_TOKEN)
    text = b"".join((b"%d " % block + _own(block, size))[:size] for block in blocks)
    return (text + _own(0, max(0, length - len(text))))[:length]


def fault(kind: Kind, job: Job, status: int, content: bytes) -> str:
    """Why an answer counts as failed, or nothing. A shed request (429) is no failure."""
    if status == 429:
        return ""
    if status != 200:
        return f"status {status}"
    if kind.kind == "speech":
        return "" if content else "empty"
    whole = content.rstrip().endswith(b"data: [DONE]" if job.stream else b"}")
    return "" if whole else "cut off"

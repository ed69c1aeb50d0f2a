"""What an attempt used: as its upstream told, where that can be true; else counted from what passed. Pure.

A guess about bought work errs upwards: the API's own bill is what counts in the end, and nothing may be missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from gateway.edge.media_metering import of_ask
from gateway.model import GenRequest, Learned, Usage
from gateway.routing.estimate import prompt_tokens
from gateway.upstreams.dialects.figures import MOST
from gateway.upstreams.sse import Tap, split

PROMPT_MARGIN = 65_536
"""Tokens that a prompt of text may have beyond one for each of its bytes: chat templates, the API's own instructions,
and what its search tools find and read."""
CAP_MARGIN, CAP_SPARE = 2, 1_024
"""An answer, beside the reasoning that is not under its cap, may be so many times as long as that allows, and so many
tokens longer."""
CAPPED_WHOLE = frozenset(("responses", "messages"))
"""Endpoints whose cap (`max_output_tokens`, Anthropic's `max_tokens`) is on reasoning too. That of chat completions is
so at some APIs, and at others not."""
FRAMES_PER_TOKEN = 4
"""No API cuts a token into more frames; one that does is said to tell too little."""
BYTES_PER_TOKEN = 1_024
"""No answer has so many bytes of text for each token, not even one that quotes what its tools found."""
LAST_WORDS = 4
"""Frames of one choice that hold no output: its role, its end, the usage, `[DONE]`."""
PROMPT_SLACK = 1.25
"""By which a guessed prompt is made longer where it was bought: tokenizers differ by about so much on one text."""
NOTICE_SECONDS = 1.0
"""How long an API may go on writing before it sees that nobody listens."""
NOTICE_TOKENS = 16
_SHORTEST = 0.05
"""Seconds: a pace is not measured over less."""
_TEXT = re.compile(
    rb'"(?:content|text|delta|arguments|partial_json|reasoning_content|reasoning|thinking|refusal)"'
    rb'\s*:\s*"((?:[^"\\]|\\.)*)"'
)


def believed(told: Usage, request: GenRequest, learned: Learned, least: int, guess: Callable[[], int]) -> Usage:
    """`told`, or what can be true of it, said to be `absurd`. `least`: output tokens that surely passed; `guess`: how
    many probably did. No output at all where some surely passed is no lie: it was not told."""
    beside = 0 if request.endpoint in CAPPED_WHOLE else told.reasoning_tokens
    longest, most = _longest(request), _most(request)
    capped = told.output_tokens - beside
    known = told.input_tokens > 0 or not request.prompt_bytes
    if not told.absurd and known and told.input_tokens <= longest and capped <= most and least <= told.output_tokens:
        return told
    absurd = told.absurd or told.input_tokens > longest or capped > most or least > told.output_tokens > 0
    read = min(told.input_tokens, longest)
    if not read or told.absurd:
        read = max(read, prompt_tokens(request, learned) if request.prompt_bytes else 0)
    written = min(told.output_tokens, most + beside)
    if (told.absurd or least > written) and not _silent(request):
        written = max(written, least, min(guess(), most))
    return _fitting(replace(told, input_tokens=read, output_tokens=written, estimated=True, absurd=absurd))


def counted(request: GenRequest, learned: Learned, output: int, *, bought: bool) -> Usage:
    """Where the upstream told nothing: the prompt by its bytes, the output by what passed; of media, all of it."""
    if request.media is not None:
        return of_ask(request, request.media)
    prompt = prompt_tokens(request, learned) if request.prompt_bytes else 0
    if bought:
        prompt = math.ceil(prompt * PROMPT_SLACK)
    return Usage(prompt, 0 if _silent(request) else min(output, _most(request)), estimated=True)


def heard(told: Usage | None, seconds: float) -> Usage:
    """Of an answer to a sound: what it tells, with the length of the sound as it passed where it tells none of it."""
    if told is None:
        return Usage(0, 0, audio_seconds=seconds, estimated=True)
    return told


def unheard(usage: Usage, request: GenRequest, seconds: float) -> Usage:
    """With what an API wrote, and bills, until it saw that nobody listens; it had written for `seconds`."""
    more = math.ceil(usage.output_tokens / max(_SHORTEST, seconds) * NOTICE_SECONDS) + NOTICE_TOKENS
    cap = MOST if request.max_tokens is None else request.max_tokens * request.n
    written = max(usage.output_tokens, min(cap, usage.output_tokens + more))
    return replace(usage, output_tokens=written, estimated=True)


def surely(told: Usage, tap: Tap, request: GenRequest) -> int:
    """Output tokens that a stream held at least."""
    if _silent(request):
        return 0
    framed = max(0, tap.frames - LAST_WORDS * request.n) // FRAMES_PER_TOKEN
    return framed or int(not told.output_tokens and _text(tap.sample) > 0)


def surely_in(body: bytes, told: Usage, request: GenRequest) -> int:
    """Output tokens that a whole answer holds at least; it may repeat its prompt. Looked for only where few were
    told."""
    if _silent(request) or told.output_tokens * BYTES_PER_TOKEN >= len(body):
        return 0
    text = _text(body)
    return max(1, (text - request.prompt_bytes) // BYTES_PER_TOKEN) if text else 0


def passed(tap: Tap, bytes_per_token: float) -> int:
    """Output tokens of a stream, about: one for each frame, or more where the last frames hold the text of several."""
    texts = [size for frame in split(tap.sample) if (size := _text(frame))]
    each = sum(texts) / len(texts) / bytes_per_token if texts else 1.0
    return round(tap.frames * max(1.0, each))


def _text(answer: bytes) -> int:
    """Bytes of text in it."""
    return sum(map(len, _TEXT.findall(answer)))


def _longest(request: GenRequest) -> int:
    """Tokens of the prompt: a byte-level tokenizer makes at most one of each byte of text."""
    return max(len(request.body), request.prompt_bytes) + PROMPT_MARGIN if request.text_only else MOST


def _most(request: GenRequest) -> int:
    """Tokens of output, beside the reasoning that is not under its cap."""
    return MOST if request.max_tokens is None else request.max_tokens * request.n * CAP_MARGIN + CAP_SPARE


def _silent(request: GenRequest) -> bool:
    """Whether it writes nothing, as embeddings do."""
    return request.max_tokens == 0


def _fitting(usage: Usage) -> Usage:
    """Parts no larger than their whole."""
    read, written = usage.input_tokens, usage.output_tokens
    cached = min(usage.cached_tokens, read)
    kept = min(usage.cache_write_tokens, read - cached)
    sound, spoken = min(usage.input_audio_tokens, read), min(usage.output_audio_tokens, written)
    pictures = min(usage.input_image_tokens, read - sound)
    heard = min(usage.cached_audio_tokens, cached, sound)
    return replace(
        usage,
        cached_tokens=cached,
        cache_write_tokens=kept,
        cache_write_1h_tokens=min(usage.cache_write_1h_tokens, kept),
        reasoning_tokens=min(usage.reasoning_tokens, written),
        input_audio_tokens=sound,
        input_image_tokens=pictures,
        output_audio_tokens=spoken,
        output_image_tokens=min(usage.output_image_tokens, written - spoken),
        cached_audio_tokens=heard,
        cached_image_tokens=min(usage.cached_image_tokens, cached - heard, pictures),
    )

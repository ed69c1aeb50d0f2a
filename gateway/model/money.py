"""Money: rates and amounts as integers, what was used, what may be used, and the row that stays of each attempt.

Amounts are micro-dollars (10^-6 USD). Rates are pico-dollars (10^-12 USD) for one unit, so that a list price in USD per
million tokens keeps six decimals and is still an integer: nothing on the way from a rate to an amount is a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

PICO_PER_MICRO = 10**6
PICO_PER_USD = 10**12
MICRO_PER_USD = 10**6
US_PER_HOUR = 3600 * 10**6

MediaUnit = Literal["image", "input_image", "second", "generation", "character", "audio_second"]
"""What media is sold by. `second` is one of output; `audio_second` one of what is heard; `generation` one finished job,
whatever it makes. What is sold by the request is `Price.per_request`."""
Confidence = Literal["stated", "verified", "vendor_doc", "aggregator", "guide", "third_party", "unverified", "conflict"]
"""How a price is known: `stated` is the operator's own word, the others are the price book's (docs/prices.md)."""
Mark = Literal["old", "low_confidence"]
"""What is said wherever a price is used that should not be trusted blindly."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a price was read, on which day (ISO 8601), how sure it is, and what is to be said of it today."""

    source: str = "models.yaml"
    as_of: str | None = None
    confidence: Confidence = "stated"
    marks: tuple[Mark, ...] = ()


STATED = Origin()


@dataclass(frozen=True, slots=True)
class Tokens:
    """Pico-dollars for one token. None: as the plain one beside it. A plain one of 0 is what somebody wrote (the policy
    refuses half a price), or the package's word for what makes no text, such as embeddings."""

    input: int = 0
    output: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    cached_audio: int | None = None
    output_audio: int | None = None
    input_image: int | None = None
    cached_image: int | None = None
    output_image: int | None = None


@dataclass(frozen=True, slots=True)
class MediaRate:
    """Pico-dollars for one `unit` of such a kind; None holds for every kind. Of several that fit, the one that names
    most of the kind wins."""

    unit: MediaUnit
    pico: int
    quality: str | None = None
    size: str | None = None
    """Width x height in pixels, as `1024x1024`."""
    resolution: str | None = None
    seconds: int | None = None
    """Of a `generation`: the length that is sold at this rate."""
    default: bool = False
    """It also holds where the request names no quality, size or resolution."""


@dataclass(frozen=True, slots=True)
class Price:
    """List price of one model at one API, or the contract's."""

    tokens: Tokens = Tokens()
    per_request: int = 0
    """Pico-dollars for each request, whatever its length."""
    tiers: tuple[tuple[int, Tokens], ...] = ()
    """From so many prompt tokens on, the whole request costs this instead; ascending."""
    media: tuple[MediaRate, ...] = ()
    sold_seconds: tuple[int, ...] = ()
    """Lengths that can be ordered; none: any."""
    round_up: bool = False
    """A length between two of them is made, and billed, as the next longer one; else it is refused."""
    origin: Origin = STATED
    listed: Price | None = None
    """The list price, where this one is a contract's."""

    def tokens_for(self, input_tokens: int) -> Tokens:
        """The rates of a request with so long a prompt."""
        if not self.tiers:
            return self.tokens
        return next((rates for least, rates in reversed(self.tiers) if input_tokens >= least), self.tokens)

    @classmethod
    def of(cls, input_per_1m: float = 0.0, output_per_1m: float = 0.0, per_request: float = 0.0) -> Price:
        """From USD: per million tokens, and per request."""
        return cls(Tokens(per_million(input_per_1m), per_million(output_per_1m)), pico(per_request))


def pico(usd: float | str | Decimal) -> int:
    """USD in pico-dollars. Decimals as they are written: 0.1 is a tenth, not the nearest binary fraction."""
    return int((Decimal(str(usd)) * PICO_PER_USD).to_integral_value())


def micro_usd(usd: float | str | Decimal) -> int:
    """USD in whole micro-dollars, rounded down: what may be spent is never made more."""
    return int(Decimal(str(usd)) * MICRO_PER_USD)


def usd(micro: int | Fraction, decimals: int = 6) -> str:
    """Micro-dollars as `$1,234.500000`, with up to six decimals; never through a float."""
    unit = 10**decimals
    whole, part = divmod(round(abs(Fraction(micro)) * unit / MICRO_PER_USD), unit)
    return f"{'-' if micro < 0 else ''}${whole:,}.{part:0{decimals}}"


def per_million(usd: float | str | Decimal) -> int:
    """USD for a million of something in pico-dollars for one of it."""
    return int((Decimal(str(usd)) * PICO_PER_MICRO).to_integral_value())


@dataclass(slots=True)
class Usage:
    """What one attempt used. Tokens of pictures, sounds and caches are among `input_tokens` and `output_tokens`.

    Nobody changes one: it is not `frozen` for the same reason as `Row`.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    estimated: bool = False
    """Counted from what passed: the upstream told nothing, or nothing that can be true."""
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Those of `cache_write_tokens` that are kept for the longer of two times: an hour, or twelve."""
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    cached_audio_tokens: int = 0
    """Sound that was read from a cache: among `cached_tokens` and among `input_audio_tokens`. So for pictures."""
    cached_image_tokens: int = 0
    images: int = 0
    input_images: int = 0
    seconds: float = 0.0
    """Of video or sound that was made."""
    audio_seconds: float = 0.0
    """Of sound that was heard."""
    characters: int = 0
    quality: str | None = None
    size: str | None = None
    resolution: str | None = None
    absurd: bool = False
    """What the upstream told cannot be true: booked at what was set aside."""


Unit = Literal["usd", "requests", "tokens", "concurrent"]
Per = Literal["minute", "day", "month", "total"]


@dataclass(frozen=True, slots=True)
class Quota:
    """So much of something in each period: a budget is micro-dollars, a rate limit requests or tokens; `concurrent`
    are requests at once and has the period `total`."""

    name: str
    """Unique, such as `key ci: usd per day`; names its counters in the store."""
    unit: Unit
    cap: int
    per: Per
    of: Literal["key", "tenant", "gateway"] = "gateway"
    """Whose it is: what the operator pays for counts in nobody's own."""
    hard: bool = True
    """Past it nothing more is bought (402), or taken in (429). Soft: our own workers are preferred, and it is told."""
    local: bool = False
    """Of USD: whether work of our own GPUs counts, at its amortised price."""
    warn_at: tuple[int, ...] = ()
    """Per cent of it at which the webhook hears."""
    webhook: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    """Globs of the public names that it is about; empty: all. So too for the others: all that are set must hold."""
    backends: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()


class Short(NamedTuple):
    """Why nothing was set aside: the quota that has too little left, how much that is, and when its period ends (None:
    never): `ends` of the monotonic clock, to wait for, and `resets` of the store's, to be shown (seconds since the
    epoch)."""

    quota: Quota
    left: int
    ends: float | None
    resets: float | None
    running: bool = False
    """What is missing is set aside for what runs, and may come back when that is over."""


class Kept(NamedTuple):
    """Nothing was set aside for an attempt, so it is not made: the budget `quota` has too little `left` (micro-dollars)
    for `needs` (`ends`, `resets`, `running`: as in `Short`); or nothing bounds what it may cost (`help`: what would),
    or no price is known, or the store, which keeps what is left, is `away`."""

    why: Literal["short", "unbound", "unpriced", "away"]
    quota: str = ""
    left: int = 0
    needs: int = 0
    ends: float | None = None
    resets: float | None = None
    running: bool = False
    help: str = ""


class Share(NamedTuple):
    """What one request holds of one quota: `amount` in its unit, in the period that began at `period` (its name
    in the store, such as `2026-11`), under the replica's name of that time (`slice`)."""

    quota: Quota
    amount: int
    period: str
    slice: str | None = None


NOT_SENT = "not_sent"
"""Result of an attempt of which nothing left."""
Fate = Literal["open", "unsent", "unknown"]
"""Of an attempt of a job: the job goes on and will tell; it surely never left; nobody can tell any more."""


class Hold(NamedTuple):
    """All that one request, or one attempt, holds until it is settled; `id` is the attempt's or the request's."""

    id: str
    shares: tuple[Share, ...] = ()


Payer = Literal["tenant", "operator"]
"""Who pays for an attempt: the tenant for what it asked for and got, or broke off; the operator for what we tried
beside or before it (a lost hedge, a failed attempt that is charged all the same)."""
RowState = Literal["settled", "unreconciled"]
"""`unreconciled`: its gateway died before it could tell, so it is booked at what was set aside."""


@dataclass(slots=True, kw_only=True)
class Row:
    """One attempt, for the ledger: nobody changes it once it is made. Times are microseconds since the epoch, money
    micro-dollars.

    It is not `frozen` because making one would take five times as long (4.0 instead of 0.8 us), for every attempt.
    """

    attempt: str
    request: str
    began: int
    ended: int
    tenant: str
    key: str = ""
    """The key's id, never the key."""
    tags: tuple[str, ...] = ()
    pipeline: str = ""
    model: str
    endpoint: str
    rule: str
    backend: str
    upstream: str
    served_as: str
    """The model's name there."""
    version: str = ""
    kind: Literal["local", "managed"]
    role: str
    """asked, hedge, rescue: as on the receipt."""
    outcome: str
    """local, spilled, fallback, managed: of the lease."""
    reason: str
    result: str
    """How the attempt ended (docs/metrics.md)."""
    status: int | None = None
    policy: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    seconds: float = 0.0
    characters: int = 0
    estimated: bool = False
    absurd: bool = False
    cost: int | None = None
    """What it costs us; None: no price is known, or nothing tells."""
    list_cost: int | None = None
    """At list price, where `cost` is a contract's."""
    basis: str = "none"
    """list, contract, amortised, reserved (booked at what was set aside), unknown (no price is known), none (nothing
    can be charged)."""
    reserved: int = 0
    payer: Payer = "tenant"
    state: RowState = "settled"
    gpu_us: int = 0
    """Work on our own GPUs."""
    gpu_kind: str = ""
    price_marks: tuple[str, ...] = ()
    demo: bool = False
    """Simulated money: the backend is a simulated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMinute:
    """One worker in the fleet for one minute, for the ledger: it is paid for whether or not it has work."""

    backend: str
    worker: str
    gpu_kind: str = ""
    gpus: int = 1
    rate: int | None = None
    """Micro-dollars per hour of the whole worker, overhead included; None: nobody told."""
    overhead: float = 1.0
    assumed: bool = False
    """The rate is a guide's, not the policy's."""
    out: bool = False
    """It took no traffic."""
    busy: bool = False
    """It had a request of ours, or work that is not ours."""
    use_permille: int | None = None
    """How busy its GPUs said they were, of 1000; None: they did not tell."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tenant or a key may use, as written; quotas are made of it."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrent: int | None = None


NO_LIMITS = Limits()
LIMIT_QUOTAS: Mapping[str, tuple[Unit, Per]] = {
    "requests_per_minute": ("requests", "minute"),
    "requests_per_day": ("requests", "day"),
    "tokens_per_minute": ("tokens", "minute"),
    "tokens_per_day": ("tokens", "day"),
    "concurrent": ("concurrent", "total"),
}

"""What things cost, as it is written in models.yaml and prices.yaml. What is not written, the price book knows."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.policy.strict import Strict
from gateway.policy.words import Glob, Listed, NotNegative, OneOrMore
from gateway.prices.genai import Tier
from gateway.prices.marks import MAX_AGE_DAYS

SIZE = r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$"
Size = Annotated[str, Field(pattern=SIZE)]
Word = Annotated[str, Field(min_length=1, max_length=32)]
Length = Annotated[int, Field(ge=1, le=3600)]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}){0,2}$")]
Discount = Annotated[float, Field(gt=0, lt=100)]
PromptTokens = Annotated[int, Field(ge=1, le=100_000_000)]
Days = Annotated[int, Field(ge=1, le=3650)]
UnknownPrice = Literal["refuse", "route"]


class OrNumber:
    """Shows editors that a number may stand for an object."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "number", "minimum": 0}]}


class RateIn(Strict):
    """USD for one. A number alone holds for every kind that no other rate names."""

    usd: NotNegative
    """For one."""
    default: bool = False
    """It also holds where a request does not say which kind it wants."""

    @model_validator(mode="before")
    @classmethod
    def by_number(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {"usd": value} if number else value


class ImageRateIn(RateIn):
    """USD for one picture of a kind."""

    quality: Word | None = None
    """As the API calls it, such as low or hd."""
    size: Size | None = None
    """Width x height in pixels."""


class SecondRateIn(RateIn):
    """USD for one second of a kind."""

    resolution: Word | None = None
    """As the API calls it, such as 720p."""


class GenerationRateIn(SecondRateIn):
    """USD for one finished job of a kind, whatever it makes."""

    seconds: Length | None = None
    """Of that length."""


class TokenRatesIn(Strict):
    """USD for a million tokens; one that is not written costs as the plain ones do, and those two go together."""

    input_per_1m: NotNegative | None = None
    """Prompt tokens."""
    output_per_1m: NotNegative | None = None
    """Output tokens."""
    cached_input_per_1m: NotNegative | None = None
    """Prompt tokens that were read from its cache."""
    cache_write_per_1m: NotNegative | None = None
    """Prompt tokens that were written to its cache."""
    cache_write_1h_per_1m: NotNegative | None = None
    """Those that stay there for an hour."""
    input_audio_per_1m: NotNegative | None = None
    """Tokens of sound in the prompt."""
    output_audio_per_1m: NotNegative | None = None
    """Tokens of sound in the answer."""
    input_image_per_1m: NotNegative | None = None
    """Tokens of pictures in the prompt."""
    output_image_per_1m: NotNegative | None = None
    """Tokens of pictures in the answer."""


class TierIn(TokenRatesIn):
    """What the whole request costs where its prompt is so long; what is not written is as for shorter ones."""

    from_input_tokens: PromptTokens
    """From so many prompt tokens on."""


class RatesIn(TokenRatesIn):
    """What one model costs at one API, in USD."""

    per_request: NotNegative | None = None
    """Each request, whatever its length."""
    tiers: Listed[TierIn] = ()
    """For long prompts, ascending."""
    per_image: Listed[Annotated[ImageRateIn, OrNumber()]] = ()
    """A picture that is made."""
    per_input_image: NotNegative | None = None
    """A picture that is sent along; default: included."""
    per_second: Listed[Annotated[SecondRateIn, OrNumber()]] = ()
    """A second of film or sound that is made."""
    per_generation: Listed[Annotated[GenerationRateIn, OrNumber()]] = ()
    """A finished job."""
    per_1k_chars: NotNegative | None = None
    """A thousand characters that are spoken."""
    per_audio_hour: NotNegative | None = None
    """An hour of sound that is heard."""
    sold_seconds: Listed[Length] = ()
    """Lengths that can be ordered; default: any."""
    round: Literal["up", "refuse"] = "refuse"
    """A length between two of them: made and billed as the next longer one, or refused."""
    source: Word | None = None
    """Where that was read; default: the name of this file."""
    as_of: Day | None = None
    """The day it was read, such as 2026-11-21: it is marked once it is old. Without it, it never is."""

    @model_validator(mode="after")
    def says_something(self) -> RatesIn:
        told = [name for name in self.model_fields_set - {"round", "sold_seconds", "tiers"} if "per_" in name]
        if not told:
            raise ValueError("must say what something costs, such as `input_per_1m` or `per_image`; 0 is a price too")
        least = [tier.from_input_tokens for tier in self.tiers]
        if least != sorted(set(least)):
            raise ValueError("`tiers` must ascend by `from_input_tokens`")
        if self.as_of is not None and _no_day(self.as_of):
            raise ValueError("`as_of` must be a day such as 2026-11-21")
        return self

    @model_validator(mode="after")
    def charges_both_ways(self) -> RatesIn:
        """A rate that was forgotten would be a rate of 0."""
        for plain in ("input_per_1m", "output_per_1m"):
            if self.sells_tokens and getattr(self, plain) is None:
                raise ValueError(f"charges tokens and has no `{plain}`; write `{plain}: 0` if they are free")
        return self

    @property
    def sells_tokens(self) -> bool:
        return any(getattr(one, name) is not None for one in (self, *self.tiers) for name in TokenRatesIn.model_fields)

    @property
    def sells_texts(self) -> bool:
        """Whether it says what a text costs, and not its media alone."""
        return self.sells_tokens or self.per_request is not None


class PriceIn(RatesIn):
    """What it costs here, whatever else is known. List price, unless it is a contract's."""

    contract: bool = False
    """It is a contract's: receipts tell the list price of the price book beside it."""


class OverrideIn(Strict):
    """What is paid instead of the list price for what fits all three of `provider`, `model` and `backend`."""

    provider: OneOrMore[Glob] | None = None
    """As `gateway prices list` calls it; default: any."""
    model: OneOrMore[Glob] | None = None
    """Its names at the API (`as` in models.yaml), upper and lower case alike; default: any."""
    backend: OneOrMore[Glob] | None = None
    """Of backends.yaml; default: any."""
    tier: Tier | None = None
    """What is bought there: the prices of that tier, as far as the price book knows them."""
    price: RatesIn | None = None
    """Rates of your own, instead of those of the price book."""
    discount_percent: Discount | None = None
    """Off every rate of that."""
    round: Literal["up", "refuse"] | None = None
    """Of lengths that are not sold; default: as the price says."""

    @model_validator(mode="after")
    def changes_something(self) -> OverrideIn:
        if (self.tier, self.price, self.discount_percent, self.round) == (None, None, None, None):
            raise ValueError("must set `price`, `discount_percent`, `tier` or `round`")
        if self.tier is not None and self.price is not None:
            raise ValueError("`tier` has no effect with `price`; remove one")
        return self


class PricesFile(Strict):
    """prices.yaml: what is paid instead of list prices, and what becomes of prices that nobody knows."""

    max_age_days: Days = MAX_AGE_DAYS
    """A price that was read longer ago is marked as old."""
    unknown_price: UnknownPrice = "refuse"
    """A bought model whose price nobody knows: a fault of the folder, or sent to all the same, at unknown cost."""
    prices: tuple[OverrideIn, ...] = ()
    """The first that fits decides. A `price` in models.yaml goes before them all."""


def _no_day(text: str) -> bool:
    try:
        date.fromisoformat((text + "-01-01")[:10])
    except ValueError:
        return True
    return False

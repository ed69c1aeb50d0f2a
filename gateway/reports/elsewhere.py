"""What traffic would have cost elsewhere: bought at an API, or served by our own GPUs. Pure.

A price is put on sums of the ledger: tiers by the mean prompt, one rounding for all requests, no rounding of lengths.
What is sold by quality or size cannot be priced afterwards: that is
said, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.model import US_PER_HOUR, MediaUnit, Model, Policy, Price, Upstream, Usage, micro_usd
from gateway.reports.fleet_cost import priced_at
from gateway.routing.bill import micro, token_pico
from gateway.routing.priors import work_us

MEDIA = ("images", "seconds", "characters")
UNITS: Mapping[MediaUnit, str] = {
    "image": "images",
    "second": "seconds",
    "character": "characters",
    "generation": "requests",
}
"""What media is sold by -> which sum of the ledger counts it; the others it does not keep."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Sums of one model at one backend; `charged` and `at_list` are micro-dollars."""

    model: str
    backend: str
    kind: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    images: int = 0
    seconds: float = 0.0
    characters: int = 0
    gpu_us: int = 0
    charged: int = 0
    at_list: int = 0
    unpriced: int = 0

    @property
    def counted(self) -> bool:
        """Whether anything tells how much it was."""
        return any((self.input_tokens, self.output_tokens, self.images, self.seconds, self.characters))


@dataclass(frozen=True, slots=True)
class Cost:
    """Micro-dollars at contract and at list prices, and how they were worked out."""

    contract: int
    list: int
    working: str


@dataclass(frozen=True, slots=True)
class Unknown:
    why: str


def bought_instead(model: Model, policy: Policy, traffic: Traffic) -> Cost | Unknown:
    """At the cheapest API of the policy that serves the model."""
    if model.custom:
        return Unknown("the model is ours alone: nobody sells it")
    found, why = [], "no API of the policy serves it"
    for served in model.served_by:
        if policy.kind(served.backend) != "managed":
            continue
        if served.price is None:
            why = f"{served.backend} has no price"
            continue
        contract, listed = on_sums(served.price, traffic), on_sums(served.price.listed or served.price, traffic)
        if isinstance(contract, str) or isinstance(listed, str):
            why = f"{served.backend}: {contract if isinstance(contract, str) else listed}"
        else:
            found.append((contract, listed, served.backend))
    if not found:
        return Unknown(why)
    contract, listed, where = min(found)
    return Cost(contract, listed, f"{amounts(traffic)} at {where}")


def on_sums(price: Price, traffic: Traffic) -> int | str:
    """Micro-dollars, or why they cannot be known."""
    if not traffic.counted:
        return "no usage was recorded"
    requests = max(1, traffic.requests)
    usage = Usage(
        traffic.input_tokens,
        traffic.output_tokens,
        traffic.cached_tokens,
        cache_write_tokens=traffic.cache_write_tokens,
    )
    made = token_pico(price.tokens_for(traffic.input_tokens // requests), usage) + price.per_request * requests
    media: int | str = _media(price, traffic) if price.media or any(getattr(traffic, name) for name in MEDIA) else 0
    if isinstance(media, str):
        return media
    return micro(made + media) or "its rates are 0"


def _media(price: Price, traffic: Traffic) -> int | str:
    made = Fraction(0)
    sold = {rate.unit for rate in price.media}
    for unit in sorted(sold):
        rates = {rate.pico for rate in price.media if rate.unit == unit}
        if unit not in UNITS:
            return f"it is sold by the {unit}, which the ledger does not keep"
        if not getattr(traffic, UNITS[unit]):
            continue
        if len(rates) > 1:
            return f"the {unit} is sold by quality, size or length, which the ledger does not keep"
        made += Fraction(getattr(traffic, UNITS[unit])) * rates.pop()
    for name in MEDIA:
        if getattr(traffic, name) and not any(UNITS.get(unit) in (name, "requests") for unit in sold):
            return f"it has no rate for {name}"
    return -(-made.numerator // made.denominator)


def served_instead(
    model: Model, policy: Policy, traffic: Traffic, ours: Sequence[Traffic], utilisation: Fraction
) -> Cost | Unknown:
    """On further GPUs of the cheapest backend of ours that serves the model, used to that share. `ours`: what they
    served of it, which tells the work of pictures and sounds."""
    found, why = [], "no backend of ours serves it"
    for served in model.served_by:
        worker = worker_of(policy, served.backend)
        if worker is None:
            continue
        work = work_for(worker, traffic, ours)
        if isinstance(work, str) or worker.usd_per_hour is None:
            why = work if isinstance(work, str) else f"{served.backend} has no gpu.usd_per_hour"
            continue
        hourly = micro_usd(worker.usd_per_hour)
        said = (
            f"{work / US_PER_HOUR:.3f} worker-hours of {served.backend} x ${worker.usd_per_hour:.2f} "
            f"/ {float(utilisation):.2f} utilisation"
        )
        found.append((priced_at(work, hourly, utilisation), said))
    if not found:
        return Unknown(why)
    cost, said = min(found)
    return Cost(cost, cost, said)


def worker_of(policy: Policy, backend: str) -> Upstream | None:
    """What a worker of this backend is; None of an API, or where nothing says."""
    if backend in policy.discovery:
        return policy.discovery[backend].pattern
    return next((one for one in policy.backends.get(backend, ()) if one.kind == "local"), None)


def work_for(worker: Upstream, traffic: Traffic, ours: Sequence[Traffic]) -> int | str:
    """GPU-us that so much traffic takes there, or why that cannot be known: tokens by the worker's speed, media by what
    our own GPUs took for each unit of the same model."""
    if not traffic.counted:
        return "no usage was recorded"
    work = 0
    for name in MEDIA:
        units = getattr(traffic, name)
        if not units:
            continue
        done = sum(getattr(one, name) for one in ours)
        spent = sum(one.gpu_us for one in ours if getattr(one, name))
        if not done or not spent:
            return f"no {name} of it were made on our own GPUs, so their work is not known"
        work += round(Fraction(spent) * Fraction(units) / Fraction(done))
    if work:
        return work
    return work_us(worker.speed, worker.seats, traffic.input_tokens - traffic.cached_tokens, traffic.output_tokens)


def amounts(traffic: Traffic) -> str:
    """As `1,200 requests, 3,400,000 input tokens`."""
    names = ("requests", "input_tokens", "output_tokens", "images", "seconds", "characters")
    found = [f"{getattr(traffic, name):,} {name.replace('_', ' ')}" for name in names if getattr(traffic, name)]
    return ", ".join(found) or "nothing"

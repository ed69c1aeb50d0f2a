"""What our own GPUs cost: the rent of all their hours, over the work that they delivered. Pure.

Work is what the ledger's rows hold as `gpu_us`: microseconds of a whole worker at a healthy batch
(`routing.priors.work_us`). A worker that is fully used delivers an hour of it in an hour; that share is its
utilisation, so a GPU at 10 % makes everything ten times as dear as at 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from gateway.model import PICO_PER_MICRO, US_PER_HOUR

MINUTES_PER_HOUR = 60
US_PER_MINUTE = US_PER_HOUR // MINUTES_PER_HOUR


@dataclass(frozen=True, slots=True)
class Fleet:
    """One or several workers over a span. Minutes: `up` in the fleet, `out` without traffic, `busy` with work, `priced`
    with a known rate, `use_seen` with GPUs that told. `rate_sum`: micro-dollars per hour, summed over minutes."""

    backend: str
    gpu_kind: str = ""
    workers: int = 1
    gpus: int = 1
    """Of all of them."""
    up: int = 0
    out: int = 0
    busy: int = 0
    priced: int = 0
    rate_sum: int = 0
    use_sum: int = 0
    use_seen: int = 0
    overhead: float = 1.0
    """The largest of theirs; part of the rates."""
    assumed: bool = False
    """At least one rate is a guide's, not the policy's."""
    work_us: int = 0
    """Delivered."""

    @property
    def rent(self) -> int | None:
        """Micro-dollars of all hours, idle ones too; None where a rate is not known. Never 0 for what nobody told."""
        return None if self.priced < self.up or not self.up else -(-self.rate_sum // MINUTES_PER_HOUR)

    @property
    def utilisation(self) -> Fraction | None:
        """Delivered work over time in the fleet. Above 1 where batches are larger than the healthy one."""
        return Fraction(self.work_us, self.up * US_PER_MINUTE) if self.up else None

    @property
    def measured_use(self) -> float | None:
        """Mean of what the GPUs said themselves, 0..1."""
        return self.use_sum / self.use_seen / 1000 if self.use_seen else None

    @property
    def full_hour(self) -> int | None:
        """Micro-dollars of one hour of work, were the workers always full."""
        return None if self.rent is None else -(-self.rate_sum // self.priced)

    @property
    def delivered_hour(self) -> int | None:
        """Micro-dollars of one hour of work as it was delivered: `full_hour` over utilisation. None without work."""
        rent = self.rent
        return None if rent is None or not self.work_us else -(-rent * US_PER_HOUR // self.work_us)


def shown(fleet: Fleet) -> dict[str, Any]:
    """Its fields and all that is worked out of them."""
    derived = ("rent", "utilisation", "measured_use", "full_hour", "delivered_hour")
    return {**asdict(fleet), **{name: getattr(fleet, name) for name in derived}}


def together(fleets: Iterable[Fleet]) -> dict[str, Fleet]:
    """By backend; `workers` and `gpus` add up, so each of `fleets` must be of other workers."""
    made: dict[str, Fleet] = {}
    for one in fleets:
        before = made.get(one.backend)
        made[one.backend] = one if before is None else _sum(before, one)
    return made


def _sum(a: Fleet, b: Fleet) -> Fleet:
    counts = ("workers", "gpus", "up", "out", "busy", "priced", "rate_sum", "use_sum", "use_seen", "work_us")
    kinds = " + ".join(sorted({*a.gpu_kind.split(" + "), *b.gpu_kind.split(" + ")}))
    return replace(
        a,
        gpu_kind=kinds,
        overhead=max(a.overhead, b.overhead),
        assumed=a.assumed or b.assumed,
        **{name: getattr(a, name) + getattr(b, name) for name in counts},
    )


def priced_at(work_us: int, worker_hour: int, utilisation: Fraction) -> int:
    """Micro-dollars of so much work on workers of `worker_hour` micro-dollars, used to that share (above 0): rounded up
    once."""
    return -(-Fraction(work_us * worker_hour, US_PER_HOUR) // utilisation)


def part_of(rent: int, work_us: int, of_us: int) -> int:
    """The part of a rent that falls to some of the work delivered for it, rounded up; `of_us` above 0."""
    return -(-rent * work_us // of_us)


def per_unit(micro: int, units: Mapping[str, int | float]) -> dict[str, int]:
    """Pico-dollars for one of each unit that was delivered, if the whole amount is laid on that unit alone."""
    return {name: -(-micro * PICO_PER_MICRO // Fraction(count)) for name, count in units.items() if count > 0}

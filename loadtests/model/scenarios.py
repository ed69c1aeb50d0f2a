"""What the rules are judged on. Fleets and traffic were fixed before any tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

from gateway.model import Priority, Slo, Speed
from loadtests.model.traffic import Ask, Pace, Source, paced, replay
from loadtests.model.worker import Hardware

BASE = Hardware(Speed(8.0, 0.06, 0.04))
HALF = Hardware(Speed(16.0, 0.12, 0.08))
PROMPT_HEAVY = Hardware(Speed(8.0, 0.06, 0.12))
KV_BOUND = Hardware(Speed(8.0, 0.06, 0.04), kv_tokens=60_000)
HEALTHY_BATCH = 64
"""Offered load is counted at this batch: GPU time of a request = its prompt tokens and its share of each step."""
REQUESTS = {4: 8_000, 64: 32_000}
"""How many requests of a trace are replayed, by the number of workers."""
GAMMA_SECONDS = {4: 150.0, 64: 40.0}
LIGHT, HEAVY = 0.3, 1.6
HALF_WAVE = 30.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """`speed`: the trace itself, that much faster per 4 workers; else `phases` of (seconds, offered load)."""

    name: str
    src: str
    slo: Slo
    speed: float | None = None
    phases: tuple[tuple[float, float], ...] = ()
    cv: float = 1.0
    workers: int = 4
    hardware: Hardware = BASE
    streamed: float = 1.0
    """Share of the requests that ask for a stream; of the others the gateway sees only the whole."""
    mix: Mapping[Priority, float] = field(default_factory=lambda: {"standard": 1.0})
    outside: tuple[float, float, float] | None = None
    """Load of others on our workers: from, to (seconds), offered load."""
    judged_from: float = 0.0
    """Attained and cost count requests from here on: an hour of light load has its own column."""
    changing: bool = False

    def asks(self, src: Source, rng: Random) -> list[Ask]:
        if self.speed is not None:
            asks = replay(src, self.speed, self.workers // 4, REQUESTS[self.workers], rng)
        else:
            asks = paced(src, self._pace(src, self.phases), self.cv, rng)
        classes, shares = list(self.mix), list(self.mix.values())
        return [
            replace(ask, priority=rng.choices(classes, shares)[0], stream=rng.random() < self.streamed) for ask in asks
        ]

    def others(self, src: Source, rng: Random) -> list[Ask]:
        if self.outside is None:
            return []
        begins, ends, load = self.outside
        asks = paced(src, self._pace(src, ((ends - begins, load),)), 1.0, rng)
        return [replace(ask, at=ask.at + begins) for ask in asks]

    def light(self, at: float) -> bool:
        """Whether this instant is in a phase that needs no API at all."""
        began = 0.0
        for seconds, load in self.phases:
            if at < began + seconds:
                return load <= LIGHT
            began += seconds
        return False

    def _pace(self, src: Source, phases: tuple[tuple[float, float], ...]) -> Pace:
        work = mean_work(src, self.hardware.speed)
        return tuple((seconds, load * self.workers / work) for seconds, load in phases)


def mean_work(src: Source, speed: Speed) -> float:
    """GPU-seconds of a mean request at the healthy batch."""
    prompt = sum(lengths.prompt for _, lengths in src.rows) / len(src.rows)
    output = sum(lengths.output for _, lengths in src.rows) / len(src.rows)
    each = speed.step_ms / HEALTHY_BATCH + speed.per_seq_ms
    return (prompt * speed.per_prompt_token_ms + output * each) / 1000


CHAT, FAST, SLOW, CODE = Slo(1.0, 0.030), Slo(1.0, 0.020), Slo(1.0, 0.050), Slo(1.0, 0.100)
CONV = "conversation"
SQUARE = ((HALF_WAVE, LIGHT), (HALF_WAVE, HEAVY)) * 4
SPIKE = ((3600.0, LIGHT), (60.0, HEAVY))
_WAVE = Scenario("", CONV, CHAT, phases=SQUARE, changing=True)

SCENARIOS = (
    Scenario("conversation 8x", CONV, CHAT, 8),
    Scenario("conversation 10x", CONV, CHAT, 10),
    Scenario("conversation 14x", CONV, CHAT, 14),
    Scenario("conversation 10x, 20 ms", CONV, FAST, 10),
    Scenario("conversation 10x, 50 ms", CONV, SLOW, 10),
    Scenario("code 9x", "code", CODE, 9),
    Scenario("code 12x", "code", CODE, 12),
    Scenario("code 18x", "code", CODE, 18),
    Scenario("half speed, conversation 5x, 60 ms", CONV, Slo(1.0, 0.060), 5, hardware=HALF),
    Scenario("prompt-heavy, conversation 5x, 40 ms", CONV, Slo(1.0, 0.040), 5, hardware=PROMPT_HEAVY),
    Scenario("KV-bound, conversation 10x", CONV, CHAT, 10, hardware=KV_BOUND),
    Scenario("Gamma CV 3, load 1.0", CONV, CHAT, phases=((GAMMA_SECONDS[4], 1.0),), cv=3.0),
    replace(_WAVE, name="square wave"),
    replace(_WAVE, name="square wave, code", src="code", slo=CODE),
    replace(_WAVE, name="square wave, half speed, 60 ms", slo=Slo(1.0, 0.060), hardware=HALF),
    replace(_WAVE, name="square wave, prompt-heavy, 40 ms", slo=Slo(1.0, 0.040), hardware=PROMPT_HEAVY),
    replace(_WAVE, name="square wave, KV-bound", hardware=KV_BOUND),
    replace(_WAVE, name="an hour of light load, then a spike", phases=SPIKE, judged_from=3600.0),
    Scenario("three classes, 10x", CONV, CHAT, 10, mix={"interactive": 0.3, "standard": 0.5, "batch": 0.2}),
    Scenario("half of it not streamed, 10x", CONV, CHAT, 10, streamed=0.5),
    Scenario("outside load 0.3 for a minute", CONV, CHAT, 8, outside=(50.0, 110.0, 0.3), changing=True),
    Scenario("64 workers, conversation 14x", CONV, CHAT, 14, workers=64),
    Scenario("64 workers, code 18x", "code", CODE, 18, workers=64),
    Scenario("64 workers, Gamma CV 3, load 1.0", CONV, CHAT, phases=((GAMMA_SECONDS[64], 1.0),), cv=3.0, workers=64),
    replace(_WAVE, name="64 workers, square wave", workers=64, phases=((15.0, LIGHT), (15.0, HEAVY)) * 2),
)

"""The names that the files of a plan's folder share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.plan.answers import Medium
from gateway.plan.making import Fleet, Plan
from gateway.plan.prices import PROVIDER

API_ZONE: Final = "us"
SHOWN: Final = 4
"""Workers that are written out; the others are alike."""
PUBLIC: Final[Mapping[Medium, str]] = {"text": "chat", "image": "picture", "video": "film", "audio": "voice"}
"""What clients send as `model`; rules are called the same."""
MEDIA_PROVIDER: Final = f"{PROVIDER}-media"
"""The same account, where it speaks another language."""


@dataclass(frozen=True, slots=True)
class Site:
    fleets: tuple[Fleet, ...]
    """Own GPUs, of which a policy can use those that are up: of `evaluate` none yet."""
    buys: bool
    private: bool
    home: str
    around: str | None
    """The zone that `home` lies in."""
    api_zone: str
    media: tuple[Medium, ...]
    """What the plan makes."""

    @classmethod
    def of(cls, plan: Plan) -> Site:
        answers, decision = plan.answers, plan.decision
        return cls(
            fleets=plan.fleets if decision.own_gpus else (),
            buys=decision.buys,
            private=decision.private,
            home="site" if answers.zone == "own-site" else "own-site",
            around=answers.zone,
            api_zone=answers.zone or API_ZONE,
            media=tuple(each.medium for each in plan.lines),
        )

    @property
    def spills(self) -> bool:
        return self.buys and bool(self.fleets)

    @property
    def apis(self) -> tuple[str, ...]:
        """Backends of bought models, each once."""
        return tuple(dict.fromkeys(map(api, self.media))) if self.buys else ()

    def own(self, medium: Medium) -> Fleet | None:
        return next((fleet for fleet in self.fleets if fleet.line.medium == medium), None)

    def backend(self, fleet: Fleet) -> str:
        return f"{fleet.line.medium}-{fleet.line.worker.kind.lower()}"

    def workers(self, fleet: Fleet) -> list[str]:
        return [f"{self.backend(fleet)}-{i + 1}" for i in range(min(fleet.workers, SHOWN))]


def api(medium: Medium) -> str:
    """The backend that sells it."""
    return PROVIDER if medium == "text" else MEDIA_PROVIDER

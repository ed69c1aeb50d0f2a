"""The names that the files of a plan's folder share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.plan.making import Fleet, Plan

API_ZONE: Final = "us"
SHOWN: Final = 4
"""Workers that are written out; the others are alike."""


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
    text: bool
    """The plan makes text."""
    later: bool
    """It makes what a policy cannot hold yet."""

    @classmethod
    def of(cls, plan: Plan) -> Site:
        answers, decision = plan.answers, plan.decision
        media = {each.medium for each in plan.lines}
        return cls(
            fleets=plan.fleets if decision.own_gpus else (),
            buys=decision.buys,
            private=decision.private,
            home="site" if answers.zone == "own-site" else "own-site",
            around=answers.zone,
            api_zone=answers.zone or API_ZONE,
            text="text" in media,
            later=media != {"text"},
        )

    @property
    def spills(self) -> bool:
        return self.buys and bool(self.fleets)

    @property
    def model(self) -> str:
        """What clients send."""
        return "chat"

    @property
    def serving(self) -> Fleet:
        """Whose workers serve it: those of text, else the first. Raises IndexError where there are none."""
        return next((fleet for fleet in self.fleets if fleet.line.medium == "text"), self.fleets[0])

    def backend(self, fleet: Fleet) -> str:
        return f"{fleet.line.medium}-{fleet.line.worker.kind.lower()}"

    def workers(self, fleet: Fleet) -> list[str]:
        return [f"{self.backend(fleet)}-{i + 1}" for i in range(min(fleet.workers, SHOWN))]

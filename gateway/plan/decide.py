"""The walk through the decision: each question that is asked, what was answered, and where it led."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from gateway.plan.answers import Answers, Engineers
from gateway.plan.volume import HIGH_ABOVE, LOW_BELOW, Band, band, tokens_equivalent

Architecture = Literal["managed", "private", "evaluate", "hybrid", "self", "isolated"]
NAMES: Final[Mapping[Architecture, str]] = {
    "managed": "managed API",
    "private": "managed API with private endpoints",
    "evaluate": "API first, evaluate self-deployment",
    "hybrid": "hybrid: self-deployed baseline, API overflow",
    "self": "self-deployment",
    "isolated": "self-deployment with network isolation",
}
ENGINEERS: Final[Mapping[Engineers, str]] = {
    "none": "no ML engineer",
    "some": "one or some ML engineers",
    "full": "full MLOps team",
}
_BY_BAND: Final[Mapping[Band, Architecture]] = {"medium": "evaluate", "high": "hybrid"}
_BANDS: Final[Mapping[Band, str]] = {
    "low": f"under {LOW_BELOW:,}",
    "medium": f"{LOW_BELOW:,} to {HIGH_ABOVE:,}",
    "high": f"over {HIGH_ABOVE:,}",
}

_SO: Final[Mapping[Band, str]] = {
    "low": "buy: too little for a GPU",
    "medium": "buy, and try a GPU beside",
    "high": "own baseline, peaks bought",
}


class Step(NamedTuple):
    asked: str
    answer: str
    so: str
    """What follows."""


@dataclass(frozen=True, slots=True)
class Decision:
    architecture: Architecture
    private: bool
    """What is bought is reached by private endpoints."""
    tokens: int
    """Tokens-equivalents a month."""
    steps: tuple[Step, ...]
    """In the order in which they were taken; the last one decided."""

    @property
    def own_gpus(self) -> bool:
        return self.architecture in ("hybrid", "self", "isolated")

    @property
    def buys(self) -> bool:
        return self.architecture not in ("self", "isolated")


def decide(answers: Answers) -> Decision:
    """Constraints first, for no price outweighs them; then who is there to run GPUs; then how much there is to make."""
    steps: list[Step] = []
    architecture = _constrained(answers, steps) or _chosen(answers, steps)
    private = answers.compliance == "compliance" and architecture not in ("self", "isolated")
    return Decision(architecture, private, tokens_equivalent(answers), tuple(steps))


def _constrained(answers: Answers, steps: list[Step]) -> Architecture | None:
    """What cannot be bought at any price."""
    if answers.fine_tuned is not None:
        steps.append(Step("Fine-tuned model?", f"yes: {answers.fine_tuned}", "no API sells it: own GPUs"))
    else:
        steps.append(Step("Fine-tuned model?", "no", "APIs sell what is needed"))
    if answers.compliance == "localisation":
        steps.append(Step("Must data stay?", f"yes: {answers.zone}", "own GPUs there, isolated"))
    else:
        steps.append(Step("Must data stay?", "no", "it may leave"))
    if answers.fine_tuned is None and answers.compliance != "localisation":
        return None
    so = "somebody must be found" if answers.engineers == "none" else "they run them"
    steps.append(Step("Who runs GPUs?", ENGINEERS[answers.engineers], so))
    return "isolated" if answers.compliance == "localisation" else "self"


def _chosen(answers: Answers, steps: list[Step]) -> Architecture:
    private = answers.compliance == "compliance"
    reached = "bought by private endpoints" if private else "public endpoints will do"
    steps.append(Step("Compliance?", "yes" if private else "no", reached))
    managed: Architecture = "private" if private else "managed"
    if answers.engineers == "none":
        steps.append(Step("Who runs GPUs?", ENGINEERS[answers.engineers], "buy, whatever the volume"))
        return managed
    steps.append(Step("Who runs GPUs?", ENGINEERS[answers.engineers], "the volume decides"))
    found = band(tokens_equivalent(answers))
    architecture = managed if found == "low" else _BY_BAND[found]
    steps.append(Step("How much a month?", _BANDS[found], _SO[found]))
    return architecture

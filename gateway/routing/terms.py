"""What a rule's scorers, filters and picker come to for one model: worked out once per plan, asked per request."""

from __future__ import annotations

from typing import NamedTuple

from gateway.model import Estimate, GenRequest, Model, PickerName, Price, Rule, Threshold
from gateway.routing.estimate import expected_price, price_of
from gateway.routing.scorers import Scoring, scoring
from gateway.routing.thresholds import FORECAST


class Terms(NamedTuple):
    scoring: Scoring
    picker: PickerName
    foresees: tuple[Threshold, ...]
    """Those of its filters that must be worked out for each request."""
    session: bool
    prefix: bool
    """Whether an upstream that belongs to the session, or to the prompt's beginning, is wanted in the sample."""
    prices: tuple[Price, ...]
    """List prices of the bought APIs that the rule names and that serve the model."""
    plain: bool
    """Whether live load alone counts."""


def terms_of(rule: Rule, model: Model) -> Terms:
    weighed, foresees = scoring(rule.scorers), tuple(one for one in rule.filters if one.signal in FORECAST)
    named = (*rule.backends, *(rule.spill.backends if rule.spill else ()))
    scored = {name for name, _ in rule.scorers}
    return Terms(
        weighed,
        rule.picker,
        foresees,
        "session" in scored,
        "prefix" in scored,
        tuple(served.price for served in model.served_by if served.backend in named and served.price is not None),
        plain=not (weighed.static or foresees) and rule.picker == "best",
    )


def cheapest(prices: tuple[Price, ...], request: GenRequest, ask: Estimate) -> float:
    """USD of what is asked at the cheapest of `prices`; 0 where there is none."""
    if request.media is not None:
        known = (expected_price(price, request) for price in prices)
        return min((usd for usd in known if usd is not None), default=0.0)
    return min((price_of(price, ask.input_tokens, ask.output_tokens) for price in prices), default=0.0)

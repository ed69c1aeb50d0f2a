"""Lengths that can be bought. Some APIs sell films of 4, 6 or 8 seconds and nothing between. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import InvalidRequest
from gateway.model import Price

SLACK = 0.25
"""Seconds by which a film may be longer than what was ordered, and still be that: encoders end on a whole frame."""


def sold_as(price: Price, seconds: float, param: str = "seconds") -> float:
    """The length that is ordered where `seconds` are asked for.

    Raises InvalidRequest, naming the lengths that are sold, where this one is not and nothing rounds it up.
    """
    if not price.sold_seconds or seconds in price.sold_seconds:
        return seconds
    longer = [one for one in sorted(price.sold_seconds) if one > seconds]
    if price.round_up and longer:
        return longer[0]
    raise InvalidRequest(f"{param}: {seconds:g} s is not sold; ask for {_listed(price.sold_seconds)} s", param=param)


def billed_seconds(price: Price, seconds: float) -> float:
    """What is charged for a film that lasts `seconds`: the length that it was sold as, and never less."""
    if not seconds:
        return 0.0
    return next((float(one) for one in sorted(price.sold_seconds) if one >= seconds - SLACK), seconds)


def _listed(lengths: Sequence[int]) -> str:
    *most, last = (str(one) for one in sorted(lengths))
    return f"{', '.join(most)} or {last}" if most else last

"""How long one attempt may take: a silent upstream leaves time for another within the caller's deadline. Pure."""

from __future__ import annotations

from dataclasses import replace

from gateway.model import Rule, Timeouts
from gateway.routing.forecast import Forecast
from gateway.upstreams.dialects.endpoint import Endpoint

HALF = 0.5
"""Of the time that is left: what an attempt may spend in silence while another may follow it."""
TIMES = 3.0
"""Times its forecast it may spend all the same: who is only slow should not be asked thrice."""
LEAST_SECONDS = 5.0
"""An attempt that was left less than that for its first byte says nothing about its upstream."""


def meant(rule: Rule, endpoint: Endpoint) -> Timeouts:
    """Those of the rule, and where it does not say its own, of the endpoint: pictures take longer than text."""
    if endpoint.timeouts is None:
        return rule.timeouts
    return replace(endpoint.timeouts, **{name: getattr(rule.timeouts, name) for name in rule.timeouts_said})


def within(timeouts: Timeouts, left: float, said: Forecast | None, *, stream: bool, last: bool) -> Timeouts:
    """`timeouts` of one attempt with `left` seconds until the deadline. `last`: no other may follow it.

    A whole answer's first byte comes with its last one, so that its forecast is that of the whole.
    """
    made = replace(timeouts, total=min(timeouts.total, left))
    if last:
        return made
    expected = 0.0 if said is None else said.first if stream else said.total
    return replace(made, first_byte=min(timeouts.first_byte, max(HALF * left, TIMES * expected)))


def hasty(seconds: float, timeouts: Timeouts) -> bool:
    """Whether a first byte that did not come within `seconds` was given less time than its rule means it to have."""
    return seconds < min(timeouts.first_byte, LEAST_SECONDS)

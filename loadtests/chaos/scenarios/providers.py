"""Bought APIs that refuse, are out, or dribble."""

from __future__ import annotations

import time

from loadtests.chaos.scenario import scenario
from loadtests.chaos.score import Promise
from loadtests.chaos.site import API, Bench, Layout
from loadtests.chaos.traffic import Shape

MOST_ASKED_IN_VAIN = 60
"""Two replicas, a pause of a second after each refusal, and what each had under way when it heard."""
SMALL = Layout(workers=1, seats=4)
"""Most of the traffic has to leave."""


@scenario(
    "provider-429",
    "An API that refuses with 429 is left alone as long as it asks; nobody is answered by it twice.",
    Promise(served=0.6, refused=None),
)
def provider_429(bench: Bench) -> None:
    site = bench.open(SMALL)
    with site.load(Shape(rate=60.0, flagged=0.05)):
        time.sleep(2)
        site.fault(API, error_rate=1.0, error_status=429, retry_after_s=1.0)
        before = site.fleets[API].state(API)["received"]
        time.sleep(4)
        asked = site.fleets[API].state(API)["received"] - before
        bench.expect(asked < MOST_ASKED_IN_VAIN, f"it was asked {asked} times in 4 s, and said each time: in a second")
        site.fault(API, clear=True)
        bench.recovers_from()
        time.sleep(7)


@scenario(
    "provider-outage",
    "An API that answers 500 to everything: what is not paid twice is refused, the rest is served at home.",
    Promise(served=0.5, refused=None, lost=200),
)
def provider_outage(bench: Bench) -> None:
    site = bench.open(SMALL)
    with site.load(Shape(rate=40.0, flagged=0.05)):
        time.sleep(2)
        site.fault(API, error_rate=1.0)
        time.sleep(4)
        site.fault(API, clear=True)
        bench.recovers_from()
        time.sleep(7)


@scenario(
    "account-spent",
    "An API that says our credit is gone is not asked again; home goes on.",
    Promise(served=0.3, refused=None),
)
def account_spent(bench: Bench) -> None:
    site = bench.open(SMALL)
    with site.load(Shape(rate=40.0, flagged=0.05)):
        time.sleep(1)
        site.fault(API, account="insufficient_quota")
        time.sleep(0.5)
        before = site.fleets[API].state(API)["received"]
        time.sleep(6)
        asked = site.fleets[API].state(API)["received"] - before
        bench.expect(asked == 0, f"it was asked {asked} times after the first refusals")


@scenario(
    "provider-drips",
    "An API that sends a byte a second (slow-loris) is given up where its rule says so; its clients are told.",
    Promise(served=0.5, refused=None, lost=60),
)
def provider_drips(bench: Bench) -> None:
    site = bench.open(Layout(workers=1, seats=4, route={"timeouts": {"first_byte": "1s", "idle": "1s", "total": "4s"}}))
    with site.load(Shape(rate=30.0, flagged=0.05)):
        time.sleep(1)
        site.fault(API, stall={"after_frames": 2, "every_s": 1.0})
        time.sleep(4)
        site.fault(API, clear=True, stall=None)
        bench.recovers_from()
        time.sleep(7)

"""`locust -f loadtests/locustfile.py --host http://127.0.0.1:8080`: the users of `make load` and `make load-ui`.

`--scenario` (in the web UI: a list) is one of loadtests/scenarios/ by its own arrivals, for which 300 users should be
there: never fewer than requests in flight. `free` is a closed loop of as many users as you like. GATEWAY_KEY is the key
(`demo`), TRACE the file of a replay. `make load` gives a plan that is worked out already.
"""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import gevent
from locust import events

from loadtests.load import plan
from loadtests.load.feed import Feed
from loadtests.load.prepare import FAULTS, prepare
from loadtests.load.scenario import find, names
from loadtests.load.users import Endless, GatewayUser

FREE = "free"
FREE_KINDS = "mixed"
"""The scenario whose kinds of requests a closed loop sends."""
LOOK_SECONDS = 0.2
log = logging.getLogger("loadtests")

__all__ = ["GatewayUser"]


def options(parser: ArgumentParser) -> None:
    more: dict[str, Any] = {"include_in_web_ui": True}
    parser.add_argument("--scenario", choices=[FREE, *names()], default=FREE, help="whose arrivals to follow", **more)
    parser.add_argument("--seed", type=int, default=1, help="equal seeds send the same requests", **more)


def begin(environment: Any, **_: Any) -> None:
    """Every start in the web UI begins anew."""
    try:
        GatewayUser.feed = _feed(environment.parsed_options)
    except FAULTS as fault:
        log.error("%s", fault)
        environment.runner.quit()
        return
    GatewayUser.feed.start()
    gevent.spawn(_end, environment, GatewayUser.feed)


def _feed(options: Any) -> Feed:
    if given := os.environ.get("LOAD_PLAN"):
        results = Path(os.environ["LOAD_RESULTS"]).open("wb", buffering=0)  # noqa: SIM115 - while the process lives
        return Feed(plan.load(Path(given)), results)
    if options.scenario == FREE:
        return Endless(find(FREE_KINDS)[1], options.seed)
    trace = os.environ.get("TRACE")
    return Feed(prepare(options.scenario, seed=options.seed, trace=Path(trace) if trace else None).plan)


def _end(environment: Any, feed: Feed) -> None:
    """A plan that is over ends the test; headless, the process too."""
    while not feed.over():
        gevent.sleep(LOOK_SECONDS)
    if environment.parsed_options.headless:
        environment.runner.quit()
    else:
        environment.runner.stop()


events.init_command_line_parser.add_listener(options)  # type: ignore[no-untyped-call]
events.test_start.add_listener(begin)  # type: ignore[no-untyped-call]

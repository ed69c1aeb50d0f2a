"""The network between gateway and workers is cut for real, where this machine can make network namespaces."""

from __future__ import annotations

import time

from loadtests.chaos.namespace import Namespace
from loadtests.chaos.proxy import Proxy
from loadtests.chaos.scenario import scenario
from loadtests.chaos.scenarios.workers import HASTY
from loadtests.chaos.score import Promise
from loadtests.chaos.site import Bench, Layout

DOOR = "door"
"""The cable for clients and store."""


@scenario(
    "network-cut",
    "The cable to one of three workers is pulled, twice: no reset, no refusal, only silence. What that worker had it "
    "may do to its end, unheard.",
    Promise(repeated=20),
)
def network_cut(bench: Bench) -> None:
    workers = ("w1", "w2", "w3")
    with Namespace(DOOR, *workers) as net:
        site = bench.open(Layout(replicas=0, api=False, route=HASTY, backend={"networks": ["10.231.0.0/16"]}))
        store = Proxy(("127.0.0.1", site.store.port), net.outside(DOOR))
        ways = {name: Proxy(("127.0.0.1", site.ports[name]), net.outside(name)) for name in workers}
        try:
            for proxy in (store, *ways.values()):
                bench.loop.do(proxy.open())
            site.write_policy(urls={name: f"http://{way.host}:{way.port}" for name, way in ways.items()})
            url = f"redis://{store.host}:{store.port}"
            site.start_gateway("g1", host=net.inside(DOOR), prefix=net.prefix, GATEWAY_REDIS_URL=url)
            with site.load():
                time.sleep(2)
                for _ in range(2):
                    net.pull("w1")
                    bench.recovers_from()
                    time.sleep(4)
                    net.plug("w1")
                    time.sleep(2)
        finally:
            for name in list(site.gateways):
                site.stop_gateway(name)
            for proxy in (store, *ways.values()):
                bench.loop.do(proxy.aclose())

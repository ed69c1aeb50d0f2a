"""The network between gateway and workers is cut for real, where this machine can make network namespaces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from loadtests.chaos.names import Names
from loadtests.chaos.namespace import Namespace
from loadtests.chaos.proxy import Proxy
from loadtests.chaos.scenario import scenario
from loadtests.chaos.scenarios.workers import HASTY
from loadtests.chaos.score import Promise
from loadtests.chaos.site import Bench, Layout, Site

DOOR = "door"
"""The cable for clients and store."""
NAME, PORT = "fleet.chaos", 8000


@scenario(
    "network-cut",
    "The cable to one of three workers is pulled, twice: no reset, no refusal, only silence. What that worker had it "
    "may do to its end, unheard.",
    Promise(repeated=20),
)
def network_cut(bench: Bench) -> None:
    workers = ("w1", "w2", "w3")
    with Namespace(DOOR, *workers) as net, ExitStack() as stack:
        site = bench.open(Layout(replicas=0, api=False, route=HASTY, backend={"networks": net.networks}))
        ways = cables(site, net, stack, workers)
        site.write_policy(urls={name: f"http://{way.host}:{way.port}" for name, way in ways.items()})
        inside(site, net, stack)
        with site.load():
            time.sleep(2)
            for _ in range(2):
                net.pull("w1")
                bench.recovers_from()
                time.sleep(4)
                net.plug("w1")
                time.sleep(2)


@scenario(
    "dns-change",
    "Workers are found by DNS; one leaves and another comes, then all but one leave and come back: nobody notices.",
)
def dns_change(bench: Bench) -> None:
    workers = ("w1", "w2", "w3")
    with Namespace(DOOR, *workers) as net, ExitStack() as stack:
        found = {"upstreams": [], "networks": net.networks, "discover": [{"dns": NAME, "port": PORT}]}
        what = {"engine": "vllm", "max_num_seqs": 16, "limit_work_s": 10_000}
        site = bench.open(Layout(replicas=0, api=False, backend={**found, "worker": what}))
        cables(site, net, stack, workers, PORT)
        names = Names(NAME, [net.outside("w1"), net.outside("w2")])
        bench.loop.do(names.open(net.outside(DOOR)))
        stack.callback(lambda: bench.loop.do(names.aclose()))
        net.resolve_at(net.outside(DOOR))
        inside(site, net, stack)
        site.until(lambda: len(site.get("/admin/v1/workers", admin=True).json()["workers"]) == 2, "two workers found")
        with site.load():
            time.sleep(1)
            names.addresses = (net.outside("w2"), net.outside("w3"))
            bench.recovers_from()
            took = site.until(lambda: site.fleets["w3"].state("w3")["received"] > 0, "traffic on the worker that came")
            bench.notes.append(f"the new one served after {took:.1f} s")
            time.sleep(2)
            names.addresses = (net.outside("w3"),)
            time.sleep(2)
            names.addresses = tuple(map(net.outside, workers))
            time.sleep(2)


def cables(site: Site, net: Namespace, stack: ExitStack, workers: Sequence[str], port: int = 0) -> dict[str, Proxy]:
    """Each worker at the far end of its own cable."""
    ways = {name: Proxy(("127.0.0.1", site.ports[name]), net.outside(name), port) for name in workers}
    for way in ways.values():
        _open(site, stack, way)
    return ways


def inside(site: Site, net: Namespace, stack: ExitStack) -> None:
    """A gateway in the namespace; its clients and the store are at the end of the cable DOOR."""
    store = Proxy(("127.0.0.1", site.store.port), net.outside(DOOR))
    _open(site, stack, store)
    url = f"redis://{store.host}:{store.port}"
    site.start_gateway("g1", host=net.inside(DOOR), prefix=net.prefix, GATEWAY_REDIS_URL=url)
    stack.callback(site.stop_gateway, "g1")


def _open(site: Site, stack: ExitStack, proxy: Proxy) -> None:
    site.bench.loop.do(proxy.open())
    stack.callback(lambda: site.bench.loop.do(proxy.aclose()))

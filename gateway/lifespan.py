"""In which order one process begins and ends. Nothing is built here: `app.create_app` hands over what it built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from gateway.background import keep_running
from gateway.console.live.feed import Feed
from gateway.console.live.money import Money
from gateway.edge.job_site import JobSite
from gateway.edge.services import Services
from gateway.errors import StoreFault
from gateway.fleet.leases import Leases
from gateway.ledger.child import WriterChild
from gateway.money.alarms import Alarms
from gateway.startup import patiently
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.telemetry import Export

Run = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Process:
    """What begins and ends with a process. None is what this one does not have."""

    services: Services
    store: Store
    embedded: Embedded | None
    writer: WriterChild | None
    site: JobSite | None
    leases: Leases
    export: Export
    alarms: Alarms
    money: Money
    feed: Feed
    runs: tuple[Run, ...]
    """What runs for as long as it does, in the order in which it begins; what some processes lack comes after them."""


@asynccontextmanager
async def lifespan(process: Process) -> AsyncIterator[None]:
    """Begins in this order, and ends in the opposite one. Raises StartupFault.

    ====  ==================================  ==================================================
    step  as it begins                        as it ends
    ====  ==================================  ==================================================
    1     (the embedded store runs already)   the embedded store stops
    2     the store is asked whether it is    its connections are closed
          there
    3     (the ledger's writer comes in 10)   the ledger's writer ends: all before wrote to it
    4                                         the desk of reports is closed
    5     jobs: is the store fit for them?    jobs: results and their database are closed
    6                                         connections to upstreams are closed
    7                                         leases are given back
    8     versions, keys, workers, snapshot:
          one look each
    9                                         what telemetry has left goes out
    10    the tasks begin
    11                                        messages end: they are begun by the tasks
    12                                        the tasks stop
    13                                        budgets tell the store what they know
    14    (requests are answered)             the page's money is closed
    15                                        the dashboard's feed is closed
    ====  ==================================  ==================================================
    """
    services = process.services
    async with AsyncExitStack() as stack:
        await reach(process, stack)
        stack.push_async_callback(services.client.aclose)
        stack.push_async_callback(process.leases.drain)
        await look(services)
        stack.push_async_callback(process.export.aclose)
        tasks = begun(process)
        stack.push_async_callback(process.alarms.aclose)
        stack.push_async_callback(stop, tasks)
        stack.push_async_callback(services.budgets.aclose)
        stack.push_async_callback(process.money.aclose)
        stack.push_async_callback(process.feed.aclose)
        yield


async def reach(process: Process, stack: AsyncExitStack) -> None:
    """Steps 1 to 5: what lies outside this process, and what is left of it to close. Raises StartupFault."""
    if process.embedded is not None:
        stack.callback(process.embedded.stop)
    stack.push_async_callback(process.store.aclose)
    await patiently(process.store.check)
    if process.writer is not None:
        stack.push_async_callback(process.writer.aclose)
    stack.push_async_callback(process.services.desk.aclose)
    if process.site is not None:
        stack.push_async_callback(process.site.aclose)
        await patiently(process.site.check)


async def look(services: Services) -> None:
    """Step 8: what other replicas know, before the first request. A store that went silent by now is no fault."""
    with suppress(StoreFault):
        await services.versions.sync()
        await services.keyring.look()
    await services.joining.roster.look()
    await services.view.refresh()


def begun(process: Process) -> list[asyncio.Task[None]]:
    """Step 10."""
    services, site, embedded = process.services, process.site, process.embedded
    tasks = [asyncio.create_task(keep_running(run)) for run in process.runs]
    if site is not None:
        ours = [asyncio.create_task(keep_running(run)) for run in site.runs]
        tasks += [*ours, asyncio.create_task(hand_over(services, site, ours[0]))]
    if process.writer is not None:
        tasks.append(asyncio.create_task(keep_running(process.writer.run)))
    if embedded is not None:
        tasks.append(asyncio.create_task(keep_running(lambda: embedded.mind(services.settings.data_dir))))
    return tasks


async def hand_over(services: Services, site: JobSite, runner: asyncio.Task[None]) -> None:
    """Jobs go to other replicas as soon as this one is told to end: they need not wait for its last stream. Nor does it
    wait for those who wait for jobs; as long as its port is open they would only come back."""
    await services.leaving.wait()
    await stop([runner])
    await asyncio.sleep(services.settings.leave_seconds)
    site.desk.watch.close()


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

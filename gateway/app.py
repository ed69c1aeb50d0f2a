"""The composition root: every shared object is built here, once, in order, and closed in the opposite one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from fastapi import FastAPI, Request, Response
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.admission import Admission
from gateway.audit.chain import Chain
from gateway.audit.journal import Journal
from gateway.audit.lines import ends
from gateway.audit.place import audit_key, open_place
from gateway.audit.seals import Sealer
from gateway.background import keep_running
from gateway.console import admin, gpus, ready
from gateway.console.dashboard import dashboard_routes
from gateway.console.live.feed import Feed
from gateway.console.live.money import Money
from gateway.console.live.sources import sources
from gateway.console.live.spells import Spells
from gateway.console.registration import registration_routes
from gateway.edge.calibration import Calibration
from gateway.edge.job_site import JobSite
from gateway.edge.middleware import Front
from gateway.edge.replies import error_headers
from gateway.edge.routes import router
from gateway.edge.services import Services
from gateway.errors import GatewayError, MethodNotAllowed, NotFound, PolicyInvalid, StartupFault, StoreFault
from gateway.fleet.circuits import Circuits
from gateway.fleet.gpu_watch import GpuWatch
from gateway.fleet.leases import Leases, new_owner, room_channel
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.prefix_news import PrefixNews
from gateway.fleet.prefixes import Prefixes
from gateway.fleet.probes import Probes
from gateway.fleet.view import Hooks, View, pools_of
from gateway.flow import Flow
from gateway.jobs.room import Room
from gateway.joining import Joining
from gateway.ledger.child import WriterChild
from gateway.ledger.place import keeps_ledger
from gateway.ledger.watch import Watch
from gateway.model import Damped, DampedKey, Issuer, Policy, PoolKey, Snapshot, Tenant
from gateway.money.alarms import Alarms
from gateway.money.budgets import Budgets
from gateway.money.hours import Hours
from gateway.money.key_shelf import CHANNEL, KeyShelf
from gateway.money.keyring import Keyring
from gateway.money.keys import Keys
from gateway.money.oidc import Tokens
from gateway.money.oidc_keys import IssuerKeys
from gateway.money.spending import Spending
from gateway.money.till import Till
from gateway.policy.issued import granted
from gateway.policy.live import LivePolicy
from gateway.receipts import Receipts
from gateway.reports.desk import Desk
from gateway.routing.damping import step
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.routing.quotas import Quotas
from gateway.settings import Settings
from gateway.siblings import Place, Siblings
from gateway.startup import check_store, issued_seal, jobs_secret, load_policy, patiently, policy_key
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.telemetry import (
    TTFT_BUCKETS,
    Telemetry,
)
from gateway.upstreams.client import Client
from gateway.upstreams.dialects.surface import error_body
from gateway.upstreams.documents import document
from gateway.upstreams.gpu_pages import GpuPages
from gateway.upstreams.webhooks import Webhooks
from gateway.upstreams.workers import Workers
from gateway.versions.keeper import Versions
from gateway.versions.orders import Seal
from gateway.waiting.lines import Lines
from gateway.watching import watch, watched

_log = logging.getLogger("gateway")


def create_app(settings: Settings, place: Place | None = None) -> Front:
    """The ASGI application; `place` is given where it is one of several processes, whose parent keeps the store.

    Raises StartupFault or PolicyFault where it could only fail later.
    """
    live = load_policy(settings)
    embedded = Embedded.start(settings.data_dir) if settings.redis_url is None else None
    url = embedded.url if embedded is not None else settings.redis_url.get_secret_value()  # type: ignore[union-attr]
    if embedded is not None:
        _log.info("embedded store", extra={"fields": {"folder": str(settings.data_dir), "notice": embedded.notice}})
    asyncio.run(check_store(url))
    store = Store(url)
    owner = new_owner()
    telemetry, export = watched(settings, owner)
    fresh = place.fresh if place is not None else embedded is not None and embedded.fresh
    leases = Leases(store, owner, fresh=fresh)
    client = Client()
    lessons = Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
    kept = keeps_ledger(settings)
    budgets, lines = Budgets(store), Lines()
    till = Till(store, owner, telemetry.ledger_dropped.inc, rows=kept)
    ledger = Watch(store, telemetry)
    writer = WriterChild(settings, url) if kept and place is None else None
    prefixes = Prefixes()
    news = PrefixNews(store, owner, prefixes)
    joining = Joining(store, live)
    hooks = Hooks(
        partial(exchange, budgets, news),
        lines.ahead,
        partial(damp, live),
        joining.out,
        joining.roster.joined,
        lines.notice,
    )
    view = View(store, leases, lessons, lambda: live.current, Circuits(), lambda: pools(live), hooks)
    workers, pages = Workers(client), GpuPages(client)
    watch_gpus = GpuWatch(store, pages.look, telemetry.count_gpu_fault)
    joining.on_change.append(view.rebuild)
    live.on_reload += [client.keep, workers.keep, pages.keep, watch_gpus.keep, view.keep]
    live.on_reload.append(lambda policy: telemetry.keep(policy.upstreams))
    probes = Probes(store, owner, lambda: live.current, workers.look, watch_gpus.look, watch_gpus.judged, view.readings)
    signers = IssuerKeys(document, lambda: issuers(live))
    keyring, keys = who_calls(settings, store, signers)
    quotas, posts = Quotas(), Webhooks(client, secret(settings.webhook_secret))
    alarms = Alarms(till, store, lambda: live.current, posts.post, telemetry.count_webhook, others=keys.known)
    spending = Spending(till, quotas, alarms.past, alarms.refused)
    admission = Admission(leases, budgets, lambda: view.current, lines, spending=spending)
    rooms = store.subscription(room_channel(owner), partial(hear, lines, till), lines.wake_all)
    hours = Hours(store, lambda: view.current)
    flow = Flow(store, owner, TTFT_BUCKETS, view.now)
    receipts = Receipts(
        store, settings.receipts_bytes, settings.receipts_hours, telemetry.receipts_dropped.inc, flow.heard
    )
    siblings, calibration = Siblings(telemetry, place), Calibration(telemetry)
    journal, sealer = audit(settings, owner, store, telemetry)
    key = policy_key(settings)
    seal = None if key is None else Seal(key)
    key_news = store.subscription(CHANNEL, keyring.woken, keyring.woken)
    busy = partial(at_work, lines, telemetry)
    versions = Versions(store, owner, live, seal, lambda trial: services.shadow.tally_of(trial).row(), busy)
    services = Services(
        settings,
        live,
        view,
        admission,
        client,
        receipts,
        budgets,
        telemetry,
        calibration,
        siblings,
        versions,
        journal,
        watch_gpus,
        joining,
        till,
        keys,
        keyring,
        signers,
        Desk(settings),
        flow,
        prefixes=prefixes,
        quotas=quotas,
    )
    site = jobs(services, url, owner, store)
    money = Money(services, lambda: alarms.usages)
    spells = Spells()
    store.listen(spells.heard)
    feed = Feed(sources(services, money, spells))
    watch(services, store, alarms, lines)
    if key is None:
        _log.warning("no policy key is set: each replica follows its own folder")
    if settings.admin_key is None:
        _log.warning(
            "no admin key is set: /admin answers direct loopback callers only; "
            "behind any proxy on this host set GATEWAY_ADMIN_KEY"
        )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if embedded is not None:
                stack.callback(embedded.stop)
            stack.push_async_callback(store.aclose)
            await patiently(store.check)
            if writer is not None:
                stack.push_async_callback(writer.aclose)
            stack.push_async_callback(services.desk.aclose)
            if site is not None:
                stack.push_async_callback(site.aclose)
                await patiently(site.check)
            stack.push_async_callback(client.aclose)
            stack.push_async_callback(leases.drain)
            with suppress(StoreFault):
                await versions.sync()
                await keyring.look()
            await joining.roster.look()
            await view.refresh()
            runs = (
                leases.beat_forever,
                rooms.run,
                view.run,
                probes.run,
                receipts.run,
                flow.run,
                till.run,
                alarms.run,
                versions.run,
                keyring.run,
                key_news.run,
                signers.run,
                siblings.run,
                sealer.run,
                export.run,
            )
            stack.push_async_callback(export.aclose)
            tasks = [asyncio.create_task(keep_running(run)) for run in (*runs, joining.roster.run, joining.finders.run)]
            if kept:
                tasks += [asyncio.create_task(keep_running(run)) for run in (hours.run, ledger.run)]
            if site is not None:
                ours = [asyncio.create_task(keep_running(run)) for run in site.runs]
                tasks += [*ours, asyncio.create_task(hand_over(services, site, ours[0]))]
            if writer is not None:
                tasks.append(asyncio.create_task(keep_running(writer.run)))
            if embedded is not None:
                tasks.append(asyncio.create_task(keep_running(lambda: embedded.mind(settings.data_dir))))
            stack.push_async_callback(alarms.aclose)  # what it sends is begun by one of the tasks
            stack.push_async_callback(stop, tasks)
            stack.push_async_callback(budgets.aclose)
            stack.push_async_callback(money.aclose)
            stack.push_async_callback(feed.aclose)
            yield

    # FastAPI's own pages load scripts of another host: none of them.
    api = FastAPI(title="Hybrid router gateway", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    api.include_router(router(services))
    if site is not None:
        api.include_router(site.routes())
    api.include_router(registration_routes(services))
    api.include_router(ready.routes(services, lambda: ledger.last.said()))
    api.include_router(admin.router(services, feed, None if site is None else site.shelf))
    api.include_router(gpus.agent_routes(services))
    api.include_router(dashboard_routes())
    api.add_exception_handler(PolicyInvalid, admin.answer_invalid)
    api.add_exception_handler(GatewayError, answer_error)
    api.add_exception_handler(HTTPException, answer_http)
    return Front(services, api, None if site is None else site.desk)


def jobs(services: Services, url: str, owner: str, store: Store) -> JobSite | None:
    """None where replicas share no secret to seal them with: then there are none. Raises StartupFault."""
    key = jobs_secret(services.settings)
    if key is None:
        _log.warning("neither GATEWAY_JOBS_KEY nor a pepper is set: no videos, nor anything else in the background")
        return None
    return JobSite(services, Room.of(services.settings, url, owner, key), store)


def secret(given: SecretStr | None) -> str | None:
    return None if given is None else given.get_secret_value()


def issuers(live: LivePolicy) -> list[Issuer]:
    """Of the policy in force, and of a candidate that decides some requests."""
    tried = live.candidate
    return [*live.current.issuers.values(), *(tried.policy.issuers.values() if tried is not None else ())]


def who_calls(settings: Settings, store: Store, signers: IssuerKeys) -> tuple[Keyring, Keys]:
    """The keys made at run time, and all that tells a caller's tenant."""
    sealing = issued_seal(settings)
    keyring = Keyring(None if sealing is None else KeyShelf(store, sealing), granted)
    tokens = Tokens(signers)

    async def known(policy: Policy) -> tuple[Tenant, ...]:
        return (*await keyring.tenants(policy), *tokens.tenants(policy))

    keys = Keys(settings.key_pepper.get_secret_value(), keyring.tenant, tokens.tenant, known=known)
    keyring.on_change.append(keys.forget)
    signers.on_change.append(tokens.forget)
    return keyring, keys


def audit(settings: Settings, owner: str, store: Store, telemetry: Telemetry) -> tuple[Journal, Sealer]:
    """What writes down flagged requests, and what seals it. Raises StartupFault where there is no place for it."""
    folder = settings.audit_dir or settings.data_dir / "audit"
    key, place = audit_key(settings.audit_key.get_secret_value(), settings.data_dir), open_place(folder)
    entries, seals = (Chain(key, folder, f"{kind}-{owner}") for kind in ("chain", "seals"))
    try:
        found = ends(key, folder, place)
    except OSError as fault:
        raise StartupFault(f"what lies in {folder} cannot be read ({fault}); set GATEWAY_AUDIT_DIR") from None
    return Journal(entries, telemetry.count_audit), Sealer(key, place, entries, seals, store, found)


def pools(live: LivePolicy) -> frozenset[PoolKey]:
    """Those whose limits can be learned: of the policy in force, and of a candidate that decides some requests."""
    tried = live.candidate
    return pools_of(live.current) | (pools_of(tried.policy) if tried is not None else frozenset())


async def exchange(budgets: Budgets, news: PrefixNews, policy: Policy) -> None:
    """What is told and heard with every look at the store."""
    if policy.affine:
        await asyncio.gather(budgets.exchange(policy), news.exchange())
    else:
        await budgets.exchange(policy)


def damp(
    live: LivePolicy, policy: Policy, snapshot: Snapshot, before: Mapping[DampedKey, Damped]
) -> Mapping[DampedKey, Damped]:
    """The states of the policy in force, and of a candidate that decides some requests."""
    tried = live.candidate
    return {**step(policy, snapshot, before), **(step(tried.policy, snapshot, before) if tried is not None else {})}


def hear(lines: Lines, till: Till, message: str) -> None:
    """What other replicas tell this one: which quota they are short of, or which backend has room for it."""
    if not till.heard(message):
        lines.wake(message)


async def hand_over(services: Services, site: JobSite, runner: asyncio.Task[None]) -> None:
    """Jobs go to other replicas as soon as this one is told to end: they need not wait for its last stream. Nor does it
    wait for those who wait for jobs; as long as its port is open they would only come back."""
    await services.leaving.wait()
    await stop([runner])
    await asyncio.sleep(services.settings.leave_seconds)
    site.desk.watch.close()


def at_work(lines: Lines, telemetry: Telemetry) -> dict[str, int]:
    """What this process tells the others that it has to do."""
    return {
        "waiting": lines.waiting(),
        "in_flight": int(telemetry.inflight.value),
        "jobs_running": int(telemetry.jobs_running.value),
    }


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101 - registered for GatewayError alone
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    body = error_body(request.url.path, error, request.state.call.id)
    return Response(body, error.status, headers)


async def answer_http(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, in our shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    method = MethodNotAllowed(f"{request.url.path} does not take {request.method}")
    path = NotFound(f"no such path: {request.method} {request.url.path}; /openapi.json has those of operators and jobs")
    return await answer_error(request, method if status == 405 else path)

"""The composition root: every shared object is built here, once, in order, and closed in the opposite one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from gateway.admission import Admission
from gateway.audit.chain import Chain
from gateway.audit.journal import Journal
from gateway.audit.lines import ends
from gateway.audit.place import audit_key, open_place
from gateway.audit.seals import Sealer
from gateway.console.live.feed import Feed
from gateway.console.live.money import Money
from gateway.console.live.sources import sources
from gateway.console.live.spells import Spells
from gateway.edge.calibration import Calibration
from gateway.edge.job_site import JobSite
from gateway.edge.middleware import Front
from gateway.edge.services import Services
from gateway.errors import StartupFault
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
from gateway.lifespan import Process, Run
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
from gateway.startup import check_store, issued_seal, jobs_secret, load_policy, policy_key
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.store.subscription import Subscription
from gateway.telemetry import TTFT_BUCKETS, Export, Telemetry
from gateway.upstreams.client import Client
from gateway.upstreams.documents import document
from gateway.upstreams.gpu_pages import GpuPages
from gateway.upstreams.webhooks import Webhooks
from gateway.upstreams.workers import Workers
from gateway.versions.keeper import Versions
from gateway.versions.orders import Seal
from gateway.waiting.lines import Lines
from gateway.watching import watch, watched
from gateway.web import web

_log = logging.getLogger("gateway")


@dataclass(frozen=True, slots=True)
class Ground:
    """What all the rest stands on."""

    settings: Settings
    place: Place | None
    live: LivePolicy
    embedded: Embedded | None
    url: str
    """Of the store."""
    store: Store
    owner: str
    telemetry: Telemetry
    export: Export


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is true of upstreams, and who may use them."""

    leases: Leases
    client: Client
    budgets: Budgets
    lines: Lines
    joining: Joining
    prefixes: Prefixes
    view: View
    gpus: GpuWatch
    probes: Probes


@dataclass(frozen=True, slots=True)
class Purse:
    """Who calls, what they may spend, and where it is written down."""

    till: Till
    ledger: Watch
    writer: WriterChild | None
    signers: IssuerKeys
    keyring: Keyring
    keys: Keys
    quotas: Quotas
    alarms: Alarms
    admission: Admission
    rooms: Subscription
    """Where other replicas tell this one of room."""
    hours: Hours


def create_app(settings: Settings, place: Place | None = None) -> Front:
    """The ASGI application; `place` is given where it is one of several processes, whose parent keeps the store.

    Raises StartupFault or PolicyFault where it could only fail later.
    """
    ground = grounds(settings, place)
    store, owner = ground.store, ground.owner
    fleet = fleet_on(ground)
    purse = purse_for(ground, fleet)
    flow = Flow(store, owner, TTFT_BUCKETS, fleet.view.now)
    journal, sealer = audit(settings, owner, store, ground.telemetry)
    key = policy_key(settings)
    key_news = store.subscription(CHANNEL, purse.keyring.woken, purse.keyring.woken)
    services = services_of(ground, fleet, purse, flow, journal, None if key is None else Seal(key))
    site = jobs(services, ground.url, owner, store)
    money = Money(services, lambda: purse.alarms.usages)
    spells = Spells()
    store.listen(spells.heard)
    feed = Feed(sources(services, money, spells))
    watch(services, store, purse.alarms, fleet.lines)
    warn(settings, shared=key is not None)
    runs = runs_of(ground, fleet, purse, services, key_news, sealer)
    process = Process(
        services,
        store,
        ground.embedded,
        purse.writer,
        site,
        fleet.leases,
        ground.export,
        purse.alarms,
        money,
        feed,
        runs,
    )
    return Front(services, web(process, purse.ledger), None if site is None else site.desk)


def grounds(settings: Settings, place: Place | None) -> Ground:
    """The policy, the store and what is told of this process. Raises StartupFault or PolicyFault."""
    live = load_policy(settings)
    embedded = Embedded.start(settings.data_dir) if settings.redis_url is None else None
    url = embedded.url if embedded is not None else settings.redis_url.get_secret_value()  # type: ignore[union-attr]
    if embedded is not None:
        _log.info("embedded store", extra={"fields": {"folder": str(settings.data_dir), "notice": embedded.notice}})
    asyncio.run(check_store(url))
    store, owner = Store(url), new_owner()
    telemetry, export = watched(settings, owner)
    return Ground(settings, place, live, embedded, url, store, owner, telemetry, export)


def fleet_on(ground: Ground) -> Fleet:
    """Also says who hears of a new policy, and in which order."""
    live, store, owner, telemetry = ground.live, ground.store, ground.owner, ground.telemetry
    place, embedded = ground.place, ground.embedded
    fresh = place.fresh if place is not None else embedded is not None and embedded.fresh
    leases, client = Leases(store, owner, fresh=fresh), Client()
    lessons = Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
    budgets, lines, prefixes = Budgets(store), Lines(), Prefixes()
    news, joining = PrefixNews(store, owner, prefixes), Joining(store, live)
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
    gpus = GpuWatch(store, pages.look, telemetry.count_gpu_fault)
    joining.on_change.append(view.rebuild)
    live.on_reload += [client.keep, workers.keep, pages.keep, gpus.keep, view.keep]
    live.on_reload.append(lambda policy: telemetry.keep(policy.upstreams))
    probes = Probes(store, owner, lambda: live.current, workers.look, gpus.look, gpus.judged, view.readings)
    return Fleet(leases, client, budgets, lines, joining, prefixes, view, gpus, probes)


def purse_for(ground: Ground, fleet: Fleet) -> Purse:
    settings, live, store, owner = ground.settings, ground.live, ground.store, ground.owner
    telemetry, view, lines = ground.telemetry, fleet.view, fleet.lines
    kept = keeps_ledger(settings)
    till = Till(store, owner, telemetry.ledger_dropped.inc, rows=kept)
    writer = WriterChild(settings, ground.url) if kept and ground.place is None else None
    signers = IssuerKeys(document, lambda: issuers(live))
    keyring, keys = who_calls(settings, store, signers)
    quotas, posts = Quotas(), Webhooks(fleet.client, secret(settings.webhook_secret))
    alarms = Alarms(till, store, lambda: live.current, posts.post, telemetry.count_webhook, others=keys.known)
    spending = Spending(till, quotas, alarms.past, alarms.refused)
    admission = Admission(fleet.leases, fleet.budgets, lambda: view.current, lines, spending=spending)
    rooms = store.subscription(room_channel(owner), partial(hear, lines, till), lines.wake_all)
    hours, ledger = Hours(store, lambda: view.current), Watch(store, telemetry)
    return Purse(till, ledger, writer, signers, keyring, keys, quotas, alarms, admission, rooms, hours)


def services_of(
    ground: Ground, fleet: Fleet, purse: Purse, flow: Flow, journal: Journal, seal: Seal | None
) -> Services:
    settings, store, telemetry = ground.settings, ground.store, ground.telemetry
    dropped = telemetry.receipts_dropped.inc
    busy = partial(at_work, fleet.lines, telemetry)
    services: Services = Services(
        settings=settings,
        live=ground.live,
        view=fleet.view,
        admission=purse.admission,
        client=fleet.client,
        receipts=Receipts(store, settings.receipts_bytes, settings.receipts_hours, dropped, flow.heard),
        budgets=fleet.budgets,
        telemetry=telemetry,
        calibration=Calibration(telemetry),
        siblings=Siblings(telemetry, ground.place),
        versions=Versions(
            store, ground.owner, ground.live, seal, lambda one: services.shadow.tally_of(one).row(), busy
        ),
        journal=journal,
        gpus=fleet.gpus,
        joining=fleet.joining,
        till=purse.till,
        keys=purse.keys,
        keyring=purse.keyring,
        signers=purse.signers,
        desk=Desk(settings),
        flow=flow,
        prefixes=fleet.prefixes,
        quotas=purse.quotas,
    )
    return services


def runs_of(
    ground: Ground, fleet: Fleet, purse: Purse, services: Services, key_news: Subscription, sealer: Sealer
) -> tuple[Run, ...]:
    """What runs for as long as the process does, in the order in which it begins."""
    kept = (purse.hours.run, purse.ledger.run) if keeps_ledger(ground.settings) else ()
    return (
        fleet.leases.beat_forever,
        purse.rooms.run,
        fleet.view.run,
        fleet.probes.run,
        services.receipts.run,
        services.flow.run,
        purse.till.run,
        purse.alarms.run,
        services.versions.run,
        purse.keyring.run,
        key_news.run,
        purse.signers.run,
        services.siblings.run,
        sealer.run,
        ground.export.run,
        fleet.joining.roster.run,
        fleet.joining.finders.run,
        *kept,
    )


def warn(settings: Settings, *, shared: bool) -> None:
    """What an operator should know before the first request. `shared`: replicas follow one policy."""
    if not shared:
        _log.warning("no policy key is set: each replica follows its own folder")
    if settings.admin_key is None:
        _log.warning(
            "no admin key is set: /admin answers direct loopback callers only; "
            "behind any proxy on this host set GATEWAY_ADMIN_KEY"
        )


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


def at_work(lines: Lines, telemetry: Telemetry) -> dict[str, int]:
    """What this process tells the others that it has to do."""
    return {
        "waiting": lines.waiting(),
        "in_flight": int(telemetry.inflight.value),
        "jobs_running": int(telemetry.jobs_running.value),
    }

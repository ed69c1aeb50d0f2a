"""What a process tells of itself: its meters and traces, and what they are read from where it lies."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from gateway.edge.gauges import breaker_rows, fleet_rows, headroom_rows, up_rows
from gateway.edge.services import Services
from gateway.model import Policy
from gateway.money.alarms import Alarms
from gateway.policy.live import LivePolicy
from gateway.settings import Settings
from gateway.store.connection import Store
from gateway.telemetry import (
    BREAKER,
    BUDGET_LEFT,
    HEADROOM,
    LIMIT_SCALE,
    POLICY_INFO,
    SPILL_SHARE,
    UP,
    WAITING,
    Export,
    Telemetry,
    Tracing,
    on_stderr,
    open_collector,
)
from gateway.waiting.lines import Lines

_log = logging.getLogger("gateway")


def watched(settings: Settings, instance: str) -> tuple[Telemetry, Export]:
    """What is counted and traced, and where it goes. Raises StartupFault."""
    collector = open_collector(settings.otlp_endpoint, settings.otlp_headers.get_secret_value())
    exporter = collector or (on_stderr() if settings.trace_ratio > 0 else None)
    tracing = Tracing(
        settings.trace_ratio,
        follow=settings.trace_callers,
        most=settings.trace_callers_rate,
        exporter=exporter,
        instance=instance,
    )
    telemetry = Telemetry(tracing, settings.semconv)
    return telemetry, Export(telemetry, collector, instance, settings.otlp_seconds)


def watch(services: Services, store: Store, alarms: Alarms, lines: Lines) -> None:
    """What must be told when the store or the policy folder changes its state."""
    telemetry, live = services.telemetry, services.live

    def store_changed(degraded: bool, reason: str) -> None:
        telemetry.degraded.set(degraded)
        _log.warning("store degraded" if degraded else "store recovered", extra={"fields": {"reason": reason}})
        services.view.rebuild()

    told = live.current.version

    def policy_changed(policy: Policy) -> None:
        nonlocal told
        services.view.rebuild()
        if policy.version != told:
            told = policy.version
            _log.info("policy in force", extra={"fields": {"version": told, "from": live.origin}})

    def policy_fault(faults: tuple[str, ...] | None) -> None:
        telemetry.policy_fault.set(live.fault is not None or services.versions.fault is not None)
        for fault in faults or ():
            _log.error("policy refused, the last good one stays", extra={"fields": {"fault": fault}})

    def folder_fault(faults: tuple[str, ...] | None) -> None:
        policy_fault(faults)
        if faults is None and live.folder.version == live.current.version:
            _log.info("policy folder sound again", extra={"fields": {"version": live.current.version}})

    store.listen(store_changed)
    live.on_reload.append(policy_changed)
    live.on_fault.append(folder_fault)
    services.versions.on_fault.append(policy_fault)
    view = services.view
    telemetry.watch_fleet(lambda: fleet_rows(services.board()))
    telemetry.watch(UP, lambda: up_rows(view.current))
    telemetry.watch(BREAKER, lambda: breaker_rows(view.current, view.circuits, view.now()))
    telemetry.watch(HEADROOM, lambda: headroom_rows(view.current))
    telemetry.watch(LIMIT_SCALE, lambda: view.current.scales.items())
    telemetry.watch(SPILL_SHARE, lambda: [((rule,), share) for rule, share in services.budgets.shares.items()])
    telemetry.watch(BUDGET_LEFT, lambda: [((budget,), ratio) for budget, ratio in alarms.ratios().items()])
    telemetry.watch(WAITING, lambda: [((backend,), lines.size(backend)) for backend in live.current.backends])
    telemetry.watch(POLICY_INFO, lambda: list(policies(live)))


def policies(live: LivePolicy) -> Iterator[tuple[tuple[str, ...], float]]:
    """The versions of the policy in force, and of a candidate beside it."""
    yield (live.current.version, "in_force"), 1.0
    if live.candidate is not None:
        yield (live.candidate.policy.version, "candidate"), 1.0

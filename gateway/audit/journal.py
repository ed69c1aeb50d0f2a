"""What is written about a flagged request: once for each upstream that it is about to be sent to, or that it was
refused. No prompt, no key, no caller's text but names that the policy knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from gateway.audit.chain import Chain
from gateway.audit.lines import fields_of
from gateway.errors import AuditUnavailable, GatewayError
from gateway.model import Decision, Demand, GenRequest, Lease, Permit, Policy, Rule

What = Literal["sent", "refused", "lost"]
RETRY_AFTER_SECONDS = 10
_REMEMBERED = 256
"""Sets of allowed upstreams whose JSON is kept; a policy has one for each rule, model and demand."""
_log = logging.getLogger("gateway")


class Refusal(NamedTuple):
    """A flagged request that is answered with an error of ours, under policy version `policy`. `rule` and `model` are
    None where none was found."""

    request: str
    tenant: str
    policy: str
    demand: Demand
    by: tuple[str, ...]
    rule: str | None
    model: str | None


class Journal:
    """The entries of this process, on `chain`. `count` is told of each, and of each that could not be written."""

    def __init__(self, chain: Chain, count: Callable[[What], None] = lambda _: None) -> None:
        self._chain, self._count = chain, count
        self._allowed: dict[frozenset[str], msgspec.Raw] = {}
        self._failing = False

    def sent(self, request: GenRequest, policy: Policy, decision: Decision, lease: Lease) -> None:
        """To be called before the request leaves. Raises AuditUnavailable: then it must not leave."""
        upstream = lease.candidate.upstream
        fields = fields_of(
            at=now(),
            what="sent",
            request=request.id,
            tenant=request.tenant.name,
            model=request.model,
            rule=decision.rule.name,
            demand=decision.demand.words(),
            by=sources(request, policy, decision.rule) or ("rule",),  # else it was the rule of an earlier attempt
            allowed=self._names(decision.permit),
            upstream=upstream.name,
            kind=upstream.kind,
            zone=upstream.zone,
            policy=policy.version,
        )
        try:
            self._append("sent", fields)
        except OSError:
            raise AuditUnavailable(
                "requests under a residency demand are refused while they cannot be audited",
                retry_after=RETRY_AFTER_SECONDS,
            ) from None

    def refused(self, told: Refusal, error: GatewayError) -> None:
        """A flagged request that got no answer from any upstream. Never raises: nothing leaves."""
        fields = fields_of(
            at=now(),
            what="refused",
            request=told.request,
            tenant=told.tenant,
            model=told.model,
            rule=told.rule,
            demand=told.demand.words(),
            by=told.by,
            error=error.code,
            policy=told.policy,
        )
        try:
            self._append("refused", fields)
        except OSError:
            return  # counted and logged

    def _append(self, what: What, fields: bytes) -> None:
        try:
            self._chain.append(fields)
        except OSError as fault:
            self._count("lost")
            if not self._failing:
                _log.error("the audit cannot be written", extra={"fields": {"why": fault.strerror}})
            self._failing = True
            raise
        if self._failing:
            _log.warning("the audit is written again")
        self._failing = False
        self._count(what)

    def _names(self, permit: Permit) -> msgspec.Raw:
        found = self._allowed.get(permit.upstreams)
        if found is None:
            if len(self._allowed) >= _REMEMBERED:
                self._allowed.clear()
            found = msgspec.Raw(msgspec.json.encode(sorted(permit.upstreams)))
            self._allowed[permit.upstreams] = found
        return found


def sources(request: GenRequest, policy: Policy, rule: Rule | None) -> tuple[str, ...]:
    """Who demanded something: `header`, `metadata`, `tenant`, `model`, `rule`."""
    model = policy.models.get(request.model)
    said = (
        ("tenant", request.tenant.residency),
        ("model", model.residency if model is not None else Demand()),
        ("rule", rule.residency if rule is not None else Demand()),
    )
    return (*request.demanded_by, *[name for name, demand in said if demand])


def now() -> float:
    """Seconds since the epoch, to the millisecond."""
    return round(time.time(), 3)

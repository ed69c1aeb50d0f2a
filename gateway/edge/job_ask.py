"""What a job was asked for, as it lies sealed in the store: enough to build the same request again, in any process.

What the policy in force says by then holds too, but nothing that was demanded at first is ever given up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from msgspec import Raw

from gateway.edge.body import Body, in_background
from gateway.edge.calls import Call
from gateway.edge.gathering import Gathering
from gateway.edge.media import read_form
from gateway.edge.picture_form import File, Form
from gateway.edge.routes import build
from gateway.edge.services import Services
from gateway.jobs.record import Job
from gateway.model import NO_HOOK, Demand, GenRequest, Policy, Tenant, Trace
from gateway.routing.residency import strictest
from gateway.upstreams.dialects.surface import ENDPOINTS

_KEPT = (
    b"x-gateway-priority",
    b"x-gateway-max-cost-usd",
    b"x-gateway-session",
    b"x-gateway-pipeline",
    b"x-data-residency",
)
"""Headers that decide, beside those that the rules look at. How long one is ready to wait is no affair of a job's."""


class Sealed(msgspec.Struct, frozen=True):
    """`fields` is a JSON object: the caller's body. `files` came beside it."""

    fields: bytes
    files: tuple[tuple[str, bytes], ...]
    headers: tuple[tuple[bytes, bytes], ...]
    residency: str | None
    """As its header said."""
    demand: Demand
    """Of the caller, the tenant, the model and the rule together, as it was accepted."""
    tenant: Tenant

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode(self)

    def said(self) -> bytes:
        """What the caller said, by which two calls with one Idempotency-Key are the same: no id, no time, no boundary
        of a form, and nothing of the policy's, which may be another one by then. Sets have no order to compare."""
        own = tuple(one for one in self.headers if one[0] in _KEPT)
        return msgspec.msgpack.encode((self.fields, self.files, own, self.residency))


_decode = msgspec.msgpack.Decoder(Sealed).decode


@dataclass(frozen=True, slots=True)
class Asked:
    """A job's request, built again."""

    call: Call
    request: GenRequest
    body: Body


def sealed(call: Call, tenant: Tenant, body: Body, demand: Demand, policy: Policy) -> Sealed:
    names = (*_KEPT, *(name.encode() for name in sorted(policy.headers)))
    return Sealed(
        fields=msgspec.json.encode({name: body.fields[name] for name in body.fields if not _waits(name, body)}),
        files=tuple((one.name, one.data) for one in body.files),
        headers=tuple((name, call.headers[name]) for name in dict.fromkeys(names) if name in call.headers)
        + _traced(call.trace),
        residency=call.residency,
        demand=demand,
        tenant=replace(tenant, hook=NO_HOOK),
    )


def _traced(trace: Trace | None) -> tuple[tuple[bytes, bytes], ...]:
    """The work of a job goes on with the trace of the request that brought it, in whatever process."""
    if trace is None or (trace.span is None and trace.parent is None):
        return ()
    parent = (b"traceparent", trace.header(trace.span or "").encode())
    return (parent,) if trace.state is None else (parent, (b"tracestate", trace.state.encode()))


def _waits(name: str, body: Body) -> bool:
    """Whether a field is about waiting, and so is ours alone."""
    return name == "background" and in_background(body)


async def asked(services: Services, job: Job, content: bytes) -> Asked:
    """Under the policy in force. Raises GatewayError where that no longer allows it."""
    kept, policy = _decode(content), services.policy
    endpoint = ENDPOINTS[job.endpoint]
    tenant = _tenant(kept, policy)
    headers = dict(kept.headers)
    tracing = services.telemetry.tracing
    trace = tracing.let_in(tracing.begin(job.request, headers), tenant.name)
    call = Call(job.request, time.monotonic(), endpoint.path, headers, kept.residency, None, trace)
    fields: Mapping[str, Raw] = msgspec.json.decode(kept.fields, type=dict[str, Raw])
    form = Form(dict(fields), tuple(File(name, data) for name, data in kept.files))
    body = await read_form(form, kept.fields, endpoint, Gathering.of(services.settings))
    request, _ = build(call, tenant, endpoint, body, kept.demand, policy, services.prompts)
    left = None if job.deadline is None else max(0.0, job.deadline - time.time())
    return Asked(call, replace(request, stream=False, deadline=None if left is None else call.started + left), body)


def _tenant(kept: Sealed, policy: Policy) -> Tenant:
    """As it was, so that a key that is revoked meanwhile changes nothing, but for what is demanded of it by now and for
    its own budgets, which are today's."""
    then, now = kept.tenant, policy.tenants.get(kept.tenant.name)
    if now is None:
        return then
    of_key = tuple(one for one in then.quotas if one.of == "key")
    return replace(then, residency=strictest(then.residency, now.residency), quotas=(*now.quotas, *of_key))

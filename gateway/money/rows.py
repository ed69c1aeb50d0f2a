"""What the ledger's row of an attempt holds from its beginning on: all that its request and its lease determine."""

from __future__ import annotations

from gateway.model import GenRequest, Lease, Role, Row


def begun(id: str, request: GenRequest, lease: Lease, role: Role, at: int) -> Row:
    """Begun and ended at `at` (microseconds since the epoch), `unfinished`. Whoever asks for it fills in the rest."""
    group, one, tenant = lease.group, lease.candidate, request.tenant
    upstream, served = one.upstream, one.served
    return Row(
        attempt=id,
        request=request.id,
        began=at,
        ended=at,
        tenant=tenant.name,
        key=tenant.key,
        tags=tuple(sorted(tenant.tags)) if tenant.tags else (),
        pipeline=request.pipeline or "",
        model=request.model,
        endpoint=request.endpoint,
        rule=lease.decision.rule.name,
        backend=group.backend,
        upstream=upstream.name,
        served_as=served.name,
        version=served.version or "",
        kind=upstream.kind,
        role=role,
        outcome=group.outcome,
        reason="hedged" if role == "hedge" else group.reason,
        result="unfinished",
        policy=lease.decision.policy.version,
        gpu_kind=upstream.hardware.kind or "" if upstream.kind == "local" else "",
        price_marks=one.price_marks,
        demo=upstream.simulated,
    )

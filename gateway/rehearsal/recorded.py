"""Receipts as they were recorded: told as stories, and taken apart again into what could be decided anew.

A receipt carries no prompt and no headers, so a request made from one is like the recorded one, not the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import GatewayError
from gateway.model import CLASSES, Policy
from gateway.policy.case_schema import RequestIn, WorkerState
from gateway.rehearsal.ending import Result
from gateway.rehearsal.receipt_shape import Looked, Receipt
from gateway.rehearsal.rows import Row
from gateway.rehearsal.story import Story
from gateway.rehearsal.words import usd
from gateway.rehearsal.world import World, world_of
from gateway.routing.learn import PRIOR

NEVER_RECORDED = ("prompt", "path", "priority", "headers", "stream")
"""What no receipt tells: a chat of as many tokens, of the usual priority, is asked instead."""
SERVED = frozenset({"local", "spilled", "fallback", "managed"})
OF_ITS_CLASS = "loads and limits are those of the request's class, as they were recorded"
DROPPED = "dropped: "
_MOST_BYTES = 4_000_000
_MOST_TOKENS = 10_000_000
_LONGEST_AGE = 86_400.0
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A request like the recorded one and the fleet as its receipt shows it; `missing` names what could not be known
    beyond NEVER_RECORDED."""

    request: RequestIn
    fleet: Mapping[str, WorkerState]
    at: float
    missing: tuple[str, ...]

    def world(self, policy: Policy) -> World:
        known = {name: state for name, state in self.fleet.items() if name in policy.upstreams}
        return world_of(policy, self.request, known, at=self.at)


def story_of(policy: Policy, receipt: Receipt) -> Story:
    """The receipt's own account; `policy` only says which backend an upstream belongs to."""
    return Story(
        result=result_of(policy, receipt),
        policy=str(receipt.get("policy")),
        at=receipt.get("time", 0.0),
        request={"model": receipt.get("model"), "tenant": receipt.get("tenant")},
        rule=receipt.get("rule"),
        residency=tuple(receipt.get("residency") or ()),
        upstreams=tuple(_row(policy, one) for one in receipt.get("candidates") or ()),
        notes=tuple(_notes(policy, receipt)),
    )


def result_of(policy: Policy, receipt: Receipt) -> Result:
    outcome, rule = receipt.get("outcome"), receipt.get("rule")
    if outcome in SERVED:
        chosen = receipt.get("chosen")
        made: dict[str, Any] = {"outcome": outcome, "backend": _backend(policy, chosen), "upstream": chosen}
        return made | {"reason": receipt.get("reason"), "rule": rule, "status": 200}
    code = receipt.get("error") or str(outcome)
    return {"status": _STATUS.get(code, 499), "code": code, "message": f"recorded as {outcome}", "rule": rule}


def rebuilt(policy: Policy, receipt: Receipt) -> Rebuilt | None:
    """None for a receipt of a request that was refused before it could be read."""
    if receipt.get("model") is None:
        return None
    usage, said = receipt.get("usage"), receipt.get("forecast")
    prompt = None if usage is None else usage["input_tokens"]
    output = (None if said is None else said.get("output_tokens")) if usage is None else usage["output_tokens"]
    size = min(_MOST_BYTES, round((prompt or PRIOR.prompt) * PRIOR.bytes_per_token))
    body: dict[str, Any] = {"model": receipt["model"], "messages": [{"role": "user", "content": "x" * size}]}
    residency = ", ".join(receipt.get("residency") or ())
    tenant = receipt.get("tenant")
    fleet, unsure = fleet_of(policy, receipt)
    missing = [*(["prompt tokens"] if prompt is None else []), *(["output tokens"] if output is None else []), *unsure]
    return Rebuilt(
        RequestIn(
            path="/v1/chat/completions",
            headers={"X-Data-Residency": residency} if residency else {},
            tenant=tenant if tenant in policy.tenants else None,
            body=body | ({} if output is None else {"max_tokens": min(_MOST_TOKENS, max(1, output))}),
        ),
        fleet,
        receipt.get("time", 0.0),
        tuple(missing),
    )


def fleet_of(policy: Policy, receipt: Receipt) -> tuple[dict[str, WorkerState], list[str]]:
    """Loads are shares of what a request of the usual priority may fill, as it was then; who is not on the receipt and
    must have been down is down."""
    seen: dict[str, WorkerState] = {}
    for one in receipt.get("candidates") or ():
        upstream = policy.upstreams.get(one["upstream"])
        share = CLASSES["standard"].share if upstream is None or upstream.kind == "local" else 1.0
        seen[one["upstream"]] = WorkerState(
            load=one.get("load", 0.0) * share,
            waiting=one.get("queue_depth"),
            gpu=one.get("gpu"),
            age=min((one.get("age_ms") or 0.0) / _MS, _LONGEST_AGE),
        )
    rule = next((rule for rule in policy.rules if rule.name == receipt.get("rule")), None)
    drops = receipt.get("drops") or {}
    down = drops.get("health", 0) + drops.get("drained", 0)
    home = [up.name for backend in (rule.backends if rule else ()) for up in policy.backends[backend]]
    absent = [name for name in home if name not in seen]
    if down and len(absent) == down:
        seen |= {name: WorkerState(healthy=False) for name in absent}
    return seen, ["which upstreams were down"] if down and len(absent) != down else []


def _backend(policy: Policy, upstream: str | None) -> str:
    found = policy.upstreams.get(upstream or "")
    return "?" if found is None else found.backend


def _row(policy: Policy, one: Looked) -> Row:
    row: Row = {"backend": _backend(policy, one["upstream"]), **one}
    if "load" in one and "work" in one and one.get("limit"):
        row["after"] = one["load"] + one["work"] / one["limit"]
    return row


def _notes(policy: Policy, receipt: Receipt) -> Iterator[str]:
    version = receipt.get("policy")
    yield f"policy: {version}" + ("" if version == policy.version else f" (this folder is {policy.version})")
    if receipt.get("candidates"):
        yield OF_ITS_CLASS
    if receipt.get("spill_when"):
        yield f"spill.when held: {receipt['spill_when']}"
    drops = receipt.get("drops") or {}
    if "version" in receipt:
        wanted = f", and its session belongs to {receipt['version_wanted']}" if "version_wanted" in receipt else ""
        yield f"version {receipt['version']}{wanted}"
    if drops:
        yield DROPPED + ", ".join(f"{count} by {why}" for why, count in drops.items())
    for one in receipt.get("attempts") or ():
        status = "" if one.get("status") is None else f", status {one['status']}"
        role = f" as a {one['role']}" if "role" in one else ""
        lost = f", {usd(one['usd'])}" if "usd" in one else ""
        took = f"{one['result']}{status}, {one['took_ms']:g} ms{lost}"
        yield f"asked {one['upstream']} at {one['at_ms']:g} ms{role}: {took}"
    if receipt.get("removed"):
        yield f"removed from the request: {', '.join(receipt['removed'])}"
    yield from _figures(receipt)
    if receipt.get("cut"):
        yield "the receipt was cut to 2 KB: not all of it is here"


def _figures(receipt: Receipt) -> Iterator[str]:
    usage, cost, said = receipt.get("usage"), receipt.get("cost"), receipt.get("forecast")
    if usage:
        guess = " (estimated)" if usage.get("estimated") else ""
        yield f"usage: {usage['input_tokens']} tokens in, {usage['output_tokens']} out{guess}"
    paid = None if cost is None else cost.get("usd")
    if cost is not None and paid is not None:
        yield f"cost: {usd(paid)} ({', '.join([cost['basis'], *cost.get('marks', ())])})"
    if said:
        yield f"expected: first token in {said['first_ms']:g} ms, all of it in {said['total_ms']:g} ms"
    times = {name: value for name, value in (receipt.get("times") or {}).items() if value is not None}
    if times:
        yield "took: " + ", ".join(f"{name.removesuffix('_ms')} {value:g} ms" for name, value in times.items())


def _tree(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


_STATUS: Mapping[str, int] = {error.code: error.status for error in _tree(GatewayError)}
"""Code of an error -> its HTTP status; a client that left has none (499)."""

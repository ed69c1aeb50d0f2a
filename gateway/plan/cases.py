"""The golden cases of a plan's folder: what its rules promise, for `gateway test`."""

from __future__ import annotations

from typing import Final

from gateway.plan.prices import PROVIDER
from gateway.plan.site import Site

_FULL: Final = "{wait: 40s}"
"""Longer than a flagged request may wait."""


def cases(site: Site) -> str:
    lines = ["cases:"]
    if not site.fleets:
        return "\n".join([*lines, *_bought(site)]) + "\n"
    backend, rule = site.backend(site.serving), "overflow" if site.spills else "own"
    workers = site.workers(site.serving)
    full = _fleet(workers, _FULL)
    lines += _case("own GPUs serve while they have room", site, f"{{outcome: local, backend: {backend}, rule: {rule}}}")
    if site.spills:
        bought = f"{{outcome: spilled, backend: {PROVIDER}, rule: overflow}}"
        lines += _case("a full fleet: the overflow is bought", site, bought, fleet=full)
        lines += _case(
            "flagged data stays", site, f"{{outcome: local, backend: {backend}, rule: flagged}}", flag="local"
        )
        lines += _case("flagged data is not bought for want of room", site, _SATURATED, fleet=full, flag="local")
    else:
        lines += _case("a full fleet says when to come again", site, f"{{rule: own, {_SATURATED[1:]}", fleet=full)
        lines += _case(
            "nobody up: nothing is bought",
            site,
            "{status: 503, code: no_capacity}",
            fleet=_fleet(workers, "{healthy: false}"),
        )
    if not site.buys and site.around:
        lines += _case(
            "the demand of its zone is met", site, f"{{outcome: local, backend: {backend}}}", flag=site.around
        )
    return "\n".join(lines) + "\n"


_SATURATED: Final = "{status: 429, code: fleet_saturated}"


def _bought(site: Site) -> list[str]:
    lines = _case("everything is bought", site, f"{{outcome: managed, backend: {PROVIDER}, rule: bought}}")
    if site.private:
        served = f"{{outcome: managed, backend: {PROVIDER}}}"
        lines += _case("flagged data goes by the private endpoint", site, served, flag=site.api_zone)
    return lines + _case("what must stay on own machines is refused", site, "{status: 403}", flag="local")


def _case(name: str, site: Site, expect: str, fleet: str = "", flag: str = "") -> list[str]:
    body = f"{{model: {site.model}, max_tokens: 200, messages: [{{role: user, content: hi}}]}}"
    headers = f"headers: {{X-Data-Residency: {flag}}}, " if flag else ""
    return [
        f'  - name: "{name}"',
        f"    request: {{{headers}body: {body}}}",
        *([f"    fleet: {fleet}"] if fleet else []),
        f"    expect: {expect}",
    ]


def _fleet(workers: list[str], state: str) -> str:
    return "{" + ", ".join(f"{name}: {state}" for name in workers) + "}"

"""The golden cases of a plan's folder: what its rules promise, for `gateway test`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.plan.answers import Medium
from gateway.plan.making import Fleet
from gateway.plan.site import PUBLIC, Site, api

_FULL: Final = "{wait: 40s}"
"""Longer than a flagged request may wait."""
_SATURATED: Final = "{status: 429, code: fleet_saturated}"
_FRAME: Final = "data:image/png;base64,"
"""Of the first picture of a film: a case counts pictures, and does not look at them."""
_ASKED: Final[Mapping[Medium, tuple[str, str]]] = {
    "text": ("/v1/chat/completions", "max_tokens: 200, messages: [{role: user, content: hi}]"),
    "image": ("/v1/images/generations", "prompt: a lighthouse, quality: low"),
    "video": ("/v1/videos", f'prompt: waves, seconds: "4", size: 1280x720, input_reference: "{_FRAME}"'),
    "audio": ("/v1/audio/speech", "voice: alloy, input: Good morning."),
}
"""Path, and body but for the model."""


def cases(site: Site) -> str:
    lines = ["cases:"]
    if not site.fleets:
        return "\n".join([*lines, *_bought(site)]) + "\n"
    for medium in site.media:
        own = site.own(medium)
        lines += _sold(site, medium) if own is None else _made(site, medium, own)
    return "\n".join(lines) + "\n"


def _made(site: Site, medium: Medium, own: Fleet) -> list[str]:
    """Of a medium that own workers make."""
    what, backend, workers = PUBLIC[medium], site.backend(own), site.workers(own)
    full = _fleet(workers, _FULL)
    lines = _case(
        f"{what}: own GPUs serve while they have room", medium, f"{{outcome: local, backend: {backend}, rule: {what}}}"
    )
    if site.buys:
        bought = f"{{outcome: spilled, backend: {api(medium)}, rule: {what}}}"
        lines += _case(f"{what}: a full fleet, the overflow is bought", medium, bought, fleet=full)
        stays = f"{{outcome: local, backend: {backend}, rule: flagged}}"
        lines += _case(f"{what}: flagged data stays", medium, stays, flag="local")
        lines += _case(
            f"{what}: flagged data is not bought for want of room", medium, _SATURATED, fleet=full, flag="local"
        )
        return lines
    lines += _case(
        f"{what}: a full fleet says when to come again", medium, f"{{rule: {what}, {_SATURATED[1:]}", fleet=full
    )
    lines += _case(
        f"{what}: nobody up, nothing is bought",
        medium,
        "{status: 503, code: no_capacity}",
        fleet=_fleet(workers, "{healthy: false}"),
    )
    if site.around:
        met = f"{{outcome: local, backend: {backend}}}"
        lines += _case(f"{what}: the demand of its zone is met", medium, met, flag=site.around)
    return lines


def _sold(site: Site, medium: Medium) -> list[str]:
    """Of one that is bought beside a fleet which makes others."""
    what = PUBLIC[medium]
    served = f"{{outcome: managed, backend: {api(medium)}, rule: {what}}}"
    lines = _case(f"{what}: it is bought", medium, served)
    return lines + _case(f"{what}: what must stay is refused", medium, "{status: 403, rule: flagged}", flag="local")


def _bought(site: Site) -> list[str]:
    lines = []
    for medium in site.media:
        what, name = PUBLIC[medium], api(medium)
        lines += _case(f"{what}: it is bought", medium, f"{{outcome: managed, backend: {name}, rule: bought}}")
        if site.private:
            served = f"{{outcome: managed, backend: {name}}}"
            lines += _case(f"{what}: flagged data goes by the private endpoint", medium, served, flag=site.api_zone)
        lines += _case(f"{what}: what must stay on own machines is refused", medium, "{status: 403}", flag="local")
    return lines


def _case(name: str, medium: Medium, expect: str, fleet: str = "", flag: str = "") -> list[str]:
    path, asked = _ASKED[medium]
    headers = f"headers: {{X-Data-Residency: {flag}}}, " if flag else ""
    return [
        f'  - name: "{name}"',
        f"    request: {{path: {path}, {headers}body: {{model: {PUBLIC[medium]}, {asked}}}}}",
        *([f"    fleet: {fleet}"] if fleet else []),
        f"    expect: {expect}",
    ]


def _fleet(workers: list[str], state: str) -> str:
    return "{" + ", ".join(f"{name}: {state}" for name in workers) + "}"

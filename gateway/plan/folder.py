"""The policy folder to start from: file name -> text. It passes `gateway check` and `gateway test` as it is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from gateway.plan import costs
from gateway.plan.answers import Medium
from gateway.plan.cases import cases
from gateway.plan.costs import Line
from gateway.plan.decide import NAMES
from gateway.plan.making import Fleet, Plan
from gateway.plan.prices import PROVIDER, TEXT_MODEL, text_rates
from gateway.plan.readme import readme
from gateway.plan.site import MEDIA_PROVIDER, PUBLIC, SHOWN, Site, api

MONTH_OVER_MEAN: Final = Fraction("1.5")
"""A month may cost half as much again as the plan expects; beyond that somebody should look."""
_LEAST_HOUR: Final = 1
_LEAST_MONTH: Final = 10
_MOST_BUDGET: Final = 1_000_000
"""Who spends more in an hour writes it himself. A month has as many of them."""
OUTPUT_CAP: Final = 4096
"""Tokens of an answer whose caller names no cap: without one nothing could be set aside of a budget."""
_FIRST_NET: Final = 20
_FIRST_HOST: Final = 11
_QUEUE: Final = "/api/v1/ie/requestqueue/apikey"
_URLS: Final = {
    PROVIDER: ("https://api.gmi-serving.com/v1", "https://llm.privatelink.example/v1"),
    MEDIA_PROVIDER: (f"https://console.gmicloud.ai{_QUEUE}", f"https://media.privatelink.example{_QUEUE}"),
}
"""Public, and by a private endpoint."""
_ENGINES: Final[Mapping[Medium, str]] = {
    "text": "vllm",
    "image": "vllm-omni",
    "video": "vllm-omni",
    "audio": "vllm-omni",
}


def _noted(line: str, said: str) -> str:
    """A line with its comment, one below the other."""
    return f"{line:<41} # {said}"


def files(plan: Plan) -> dict[str, str]:
    site = Site.of(plan)
    return {
        "README.md": readme(plan, site),
        "backends.yaml": _backends(plan, site),
        "models.yaml": _models(plan, site),
        "routing.yaml": _routing(plan, site),
        **({"budgets.yaml": _budgets(plan)} if site.buys else {}),
        "cases/plan.yaml": cases(site),
    }


def _backends(plan: Plan, site: Site) -> str:
    lines = [f"# A start for: {NAMES[plan.decision.architecture]}.", "zones:"]
    if site.fleets:
        lines.append(f"  {site.home}: {{within: [{site.around}]}}" if site.around else f"  {site.home}: {{}}")
    if site.buys:
        lines.append(f"  {site.api_zone}: {{}}")
    lines += ["", "backends:"]
    for index, fleet in enumerate(site.fleets):
        lines += _local(site, fleet, index)
    for name in site.apis:
        lines += _managed(site, name)
    return "\n".join(lines) + "\n"


def _local(site: Site, fleet: Fleet, index: int) -> list[str]:
    made, net = fleet.line.worker, f"10.{_FIRST_NET + index}.0"
    count = "1 worker" if fleet.workers == 1 else f"{fleet.workers:,} workers"
    more = f" The first {SHOWN}: add the others, or let `discover` find them." if fleet.workers > SHOWN else ""
    lines = [
        f"  # {made.model.model}: {count} of {made.gpus} {made.kind}.{more}",
        f"  - name: {site.backend(fleet)}",
        "    kind: local",
        f"    zone: {site.home}",
        _noted(f"    networks: [{net}.0/16]", "yours: a connected peer outside them is refused"),
        f"    gpu: {{kind: {made.kind}, usd_per_hour: {float(made.usd_per_hour / made.gpus):.2f}}}",
        "    upstreams:",
    ]
    for i, worker in enumerate(site.workers(fleet)):
        url = f"http://{net}.{_FIRST_HOST + i}:8000"
        lines.append(
            f'      - {{name: {worker}, url: "{url}", engine: {_ENGINES[fleet.line.medium]}, gpus: {made.gpus}}}'
        )
    return [*lines, ""]


def _managed(site: Site, name: str) -> list[str]:
    private = [
        _noted(f"    private_endpoint_in: [{site.api_zone}]", "your word for it, by contract"),
        _noted("    networks: [10.60.0.0/16]", "the private link: no other address is ever sent to"),
        _noted(f"    provider: {PROVIDER}", "whose prices hold where models.yaml says none"),
    ]
    url = _URLS[name][site.private]
    return [
        f"  - name: {name}",
        "    kind: managed",
        f"    zone: {site.api_zone}",
        *(private if site.private else []),
        "    endpoints: [chat/completions]" if name == PROVIDER else "    dialect: gmi",
        "    upstreams:",
        f'      - {{name: {name}, url: "{url}", key: "${{env:GMI_API_KEY}}"}}',
    ]


def _models(plan: Plan, site: Site) -> str:
    lines = ["models:"]
    for each in plan.lines:
        lines += _model(plan, site, each)
    return "\n".join(lines) + "\n"


def _model(plan: Plan, site: Site, line: Line) -> list[str]:
    medium, own = line.medium, site.own(line.medium)
    lines = [_noted(f"  - name: {PUBLIC[medium]}", "what clients send as `model`")]
    if medium != "text":
        lines.append(f"    modality: {medium}")
    elif site.buys:
        lines.append(_noted(f"    default_output_cap: {OUTPUT_CAP}", "tokens, where a caller names no cap"))
    lines.append("    served_by:")
    if own is not None:
        lines.append(f"      - {{backend: {site.backend(own)}, as: {_weights(own)}}}")
    if site.buys:
        if own is not None:
            lines.append("      # The overflow is another model: name the same weights, if your API sells them.")
        lines.append(_sold(plan, line))
    elif plan.answers.fine_tuned == medium:
        lines.append(_noted("    custom: true", "it exists here only: no API may be named for it"))
    return lines


def _sold(plan: Plan, line: Line) -> str:
    """Of text with its price, to be replaced by that of the contract; of media with the book's."""
    if line.medium != "text":
        return f"      - {{backend: {api(line.medium)}, as: {line.bought.model}}}   # {line.bought.sold}"
    into, out = text_rates(plan.answers.today)
    price = f"{{input_per_1m: {into:.2f}, output_per_1m: {out:.2f}}}"
    return f"      - {{backend: {api(line.medium)}, as: {TEXT_MODEL}, price: {price}}}"


def _weights(fleet: Fleet) -> str:
    model = fleet.line.worker.model.model
    return model if "/" in model else "your-org/your-fine-tuned-model"


def _routing(plan: Plan, site: Site) -> str:
    if not site.fleets:
        said = "flagged data too, in the zone of the private endpoint" if site.private else "flagged data is refused"
        return "\n".join(
            ["rules:", _noted("  - name: bought", said), f"    route: {{backends: [{_all(site.apis)}]}}", ""]
        )
    lines = []
    if plan.decision.architecture == "isolated":
        lines += [
            "defaults:",
            _noted(f"  residency: {site.around}", "whoever asks: an API added here gets nothing"),
            "",
        ]
    lines.append("rules:")
    if site.buys:
        lines += [
            _noted("  - name: flagged", "X-Data-Residency: stays, and waits for room"),
            "    match: {residency: any}",
            f"    route: {{backends: [{_all(map(site.backend, site.fleets))}], max_wait: 20s}}",
            "",
        ]
    for each in plan.lines:
        lines += [*_rule(plan, site, each), ""]
    return "\n".join(lines)


def _rule(plan: Plan, site: Site, line: Line) -> list[str]:
    own, match = site.own(line.medium), f"    match: {{model: {PUBLIC[line.medium]}}}"
    name = f"  - name: {PUBLIC[line.medium]}"
    if own is None:
        return [_noted(name, "buying it costs less than making it"), match, _bought_route(line)]
    said = "own GPUs first; what does not fit is bought" if site.buys else "nothing leaves: who finds no room waits"
    lines = [_noted(name, said), match, "    route:", f"      backends: [{site.backend(own)}]"]
    if line.medium == "text":
        lines.append("      slo: {ttft_ms: 1000, tpot_ms: 40}")
    if not site.buys:
        return [*lines, "      max_wait: 20s"]
    hour = _within(_LEAST_HOUR, _usd_bought(plan, line) / costs.HOURS * plan.answers.overflow_peak, _MOST_BUDGET)
    return [*lines, f"      spill: {{backends: [{api(line.medium)}], budget_usd_per_hour: {hour}}}"]


def _bought_route(line: Line) -> str:
    return f"    route: {{backends: [{api(line.medium)}]}}"


def _all(names: Iterable[str]) -> str:
    return ", ".join(names)


def _budgets(plan: Plan) -> str:
    usd = sum((_usd_bought(plan, each) for each in plan.lines), Fraction(0))
    month = _within(_LEAST_MONTH, usd * MONTH_OVER_MEAN, _MOST_BUDGET * costs.HOURS)
    over = f"{float(MONTH_OVER_MEAN):g} times what the plan expects; past it nothing is bought"
    return "\n".join(["budgets:", _noted("  - name: bought", over), f"    usd: {month}", "    per: month", ""])


def _within(least: int, usd: Fraction, most: int) -> int:
    return min(most, max(least, math.ceil(usd)))


def _usd_bought(plan: Plan, line: Line) -> Fraction:
    """USD a month: the mean of what the plan expects to buy of it."""
    made = {fleet.line.medium for fleet in plan.fleets} if plan.decision.own_gpus else set()
    share = 1 - plan.answers.baseline_share if line.medium in made else Fraction(1)
    premium = plan.answers.private_max if plan.decision.private else Fraction(1)
    return line.volume * line.bought.usd * share * premium

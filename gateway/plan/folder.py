"""The policy folder to start from: file name -> text. It passes `gateway check` and `gateway test` as it is written.

Only text models can be served by a policy yet: pictures, videos and speech are written as comments, with the reason.
Where nothing of the plan is text, a small text model stands in, so that folder and fleet can be tried today.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

from gateway.plan import costs
from gateway.plan.cases import cases
from gateway.plan.decide import NAMES
from gateway.plan.making import Fleet, Plan
from gateway.plan.prices import PROVIDER, TEXT_MODEL, text_rates
from gateway.plan.readme import readme
from gateway.plan.site import SHOWN, Site

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
_API_URL: Final = "https://api.gmi-serving.com/v1"
_STAND_IN: Final = "meta-llama/Llama-3.1-8B-Instruct"
"""16 GB in 16 bits: fits every GPU of a plan."""


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
    if site.buys:
        lines += _managed(site)
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
        lines.append(f'      - {{name: {worker}, url: "{url}", engine: vllm, gpus: {made.gpus}}}')
    return [*lines, ""]


def _managed(site: Site) -> list[str]:
    private = [
        _noted(f"    private_endpoint_in: [{site.api_zone}]", "your word for it, by contract"),
        _noted("    networks: [10.60.0.0/16]", "the private link: no other address is ever sent to"),
    ]
    url = "https://llm.privatelink.example/v1" if site.private else _API_URL
    return [
        f"  - name: {PROVIDER}",
        "    kind: managed",
        f"    zone: {site.api_zone}",
        *(private if site.private else []),
        "    endpoints: [chat/completions]",
        "    upstreams:",
        f'      - {{name: {PROVIDER}, url: "{url}", key: "${{env:GMI_API_KEY}}"}}',
    ]


def _models(plan: Plan, site: Site) -> str:
    lines = ["models:"]
    if not site.text:
        lines.append("  # Nothing of the plan is text: this one stands in, so that the folder can be tried today.")
    lines.append(_noted(f"  - name: {site.model}", "what clients send as `model`"))
    if site.buys:
        lines.append(_noted(f"    default_output_cap: {OUTPUT_CAP}", "tokens, where a caller names no cap"))
    lines.append("    served_by:")
    if site.fleets:
        lines.append(f"      - {{backend: {site.backend(site.serving)}, as: {_served_as(site)}}}")
    if site.buys:
        into, out = text_rates(plan.answers.today)
        if site.fleets:
            lines.append("      # The overflow is another model: name the same weights, if your API sells them.")
        price = f"{{input_per_1m: {into:.2f}, output_per_1m: {out:.2f}}}"
        lines.append(f"      - {{backend: {PROVIDER}, as: {TEXT_MODEL}, price: {price}}}")
    elif plan.answers.fine_tuned == "text":
        lines.append(_noted("    custom: true", "it exists here only: no API may be named for it"))
    return "\n".join([*lines, *_later(plan, site)]) + "\n"


def _served_as(site: Site) -> str:
    return _weights(site.serving) if site.text else _STAND_IN


def _weights(fleet: Fleet) -> str:
    model = fleet.line.worker.model.model
    return model if "/" in model else "your-org/your-fine-tuned-model"


def _later(plan: Plan, site: Site) -> list[str]:
    """What a policy cannot hold yet, ready to be uncommented."""
    media = [each for each in plan.lines if each.medium != "text"]
    if not media:
        return []
    lines = ["", "# Not served yet: models of a policy make text. Ready for when `modality` knows the others."]
    own = {fleet.line.medium: fleet for fleet in site.fleets}
    for each in media:
        name = each.bought.model if site.buys else f"own-{each.medium}"
        lines += [f"#  - name: {name}", f"#    modality: {each.medium}", "#    served_by:"]
        if each.medium in own:
            lines.append(f"#      - {{backend: {site.backend(own[each.medium])}, as: {_weights(own[each.medium])}}}")
        if site.buys:
            lines.append(f"#      - {{backend: {PROVIDER}, as: {each.bought.model}}}   # {each.bought.sold}")
    return lines


def _routing(plan: Plan, site: Site) -> str:
    if not site.fleets:
        said = "flagged data too, in the zone of the private endpoint" if site.private else "flagged data is refused"
        return "\n".join(["rules:", _noted("  - name: bought", said), f"    route: {{backends: [{PROVIDER}]}}", ""])
    lines = ["defaults:", f"  backends: [{site.backend(site.serving)}]"]
    if plan.decision.architecture == "isolated":
        lines.append(_noted(f"  residency: {site.around}", "whoever asks: an API added here gets nothing"))
    lines += ["  slo: {ttft_ms: 1000, tpot_ms: 40}", "", "rules:"]
    return "\n".join([*lines, *(_overflow(plan) if site.spills else _OWN), ""])


_OWN: Final = [
    _noted("  - name: own", "nothing leaves: who finds no room waits"),
    "    route: {max_wait: 20s}",
]


def _overflow(plan: Plan) -> list[str]:
    return [
        _noted("  - name: flagged", "X-Data-Residency: stays, and waits for room"),
        "    match: {residency: any}",
        "    route: {max_wait: 20s}",
        "",
        _noted("  - name: overflow", "own GPUs first; what does not fit is bought"),
        f"    route: {{spill: {{backends: [{PROVIDER}], budget_usd_per_hour: {_hour(plan)}}}}}",
    ]


def _hour(plan: Plan) -> int:
    """USD: the mean of the overflow that the plan expects, and room for its peaks."""
    return _within(_LEAST_HOUR, _texts_bought(plan) / costs.HOURS * plan.answers.overflow_peak, _MOST_BUDGET)


def _budgets(plan: Plan) -> str:
    month = _within(_LEAST_MONTH, _texts_bought(plan) * MONTH_OVER_MEAN, _MOST_BUDGET * costs.HOURS)
    over = f"{float(MONTH_OVER_MEAN):g} times what the plan expects of texts; past it nothing is bought"
    return "\n".join(["budgets:", _noted("  - name: bought", over), f"    usd: {month}", "    per: month", ""])


def _within(least: int, usd: Fraction, most: int) -> int:
    return min(most, max(least, math.ceil(usd)))


def _texts_bought(plan: Plan) -> Fraction:
    """USD a month: models of a policy make text, and may not spend what other media are to cost."""
    texts = [each for each in plan.lines if each.medium == "text"]
    made = {fleet.line.medium for fleet in plan.fleets} if plan.decision.own_gpus else set()
    share = 1 - plan.answers.baseline_share if "text" in made else Fraction(1)
    premium = plan.answers.private_max if plan.decision.private else Fraction(1)
    return sum((each.volume * each.bought.usd for each in texts), Fraction(0)) * share * premium

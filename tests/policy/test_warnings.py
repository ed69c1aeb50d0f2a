"""What compiles and is still not what somebody meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.policy.duration_warnings import LONG_SECONDS
from gateway.policy.jsonschema import schemas
from gateway.policy.warnings import folder_warnings

from .good import GOOD, changed, compiled

R, M, B, T = "routing.yaml", "models.yaml", "backends.yaml", "tenants.yaml"
SPILL = "        backends: [gmi]\n        budget_usd_per_hour: 40\n"
ROWS: list[tuple[str, str, str, str]] = [
    (R, "rules:", "named: {spare: {attempts: 2}}\nrules:", "routing.yaml:4:9: named.spare: no rule uses it"),
    (R, "{attempts: 2, residency", "{damp: {dwell: 1s}, residency",
     "routing.yaml:19:13: rules[2].route.damp: has no effect without `spill.when`: thresholds are all that it damps"),
    (R, "{attempts: 2, residency", "{on_stale: spill, residency",
     "routing.yaml:19:13: rules[2].route.on_stale: has no effect without `spill`"),
    (R, "{attempts: 2, residency", "{max_cost_usd: 1, residency",
     "routing.yaml:19:13: rules[2].route.max_cost_usd: has no effect where no backend is a bought API"),
    (R, "{attempts: 2, residency", "{classes: {batch: {spill: false}}, residency",
     "routing.yaml:19:31: rules[2].route.classes.batch.spill: has no effect without `spill` and `fallback`: "
     "nothing leaves anyway"),
    (R, "{attempts: 2, residency", "{fallback: [h100], residency",
     "routing.yaml:19:24: rules[2].route.fallback[0]: has no effect for `h100`, which `backends` has already"),
    (R, SPILL, SPILL + "        order: cheapest\n",
     "routing.yaml:16:9: rules[1].route.spill.order: has no effect with one backend"),
    (R, "budget_usd_per_hour: 40", "budget_usd_per_hour: 0",
     "routing.yaml:13:7: rules[1].route.spill: has no effect with a budget or a share of 0: nothing may leave; "
     "remove it"),
    (B, "https://api.example.com/v1", "https://api.example.com",
     "backends.yaml:28:14: backends[1].upstreams[0].url: names no version of the API: requests go to "
     "`/chat/completions` right below it; write it as the provider gives it, such as https://api.example.com/v1"),
    (B, "https://api.example.com/v1", "https://api.example.com/openai/v1", ""),
    (B, "https://api.example.com/v1", "http://api.example.com/v1",
     "backends.yaml:28:14: backends[1].upstreams[0].url: sends its key in the clear: write https://"),
    (B, "https://api.example.com/v1", "http://10.1.2.3/v1", ""),
    (B, "https://api.example.com/v1", "http://8.8.8.8/v1",
     "backends.yaml:28:14: backends[1].upstreams[0].url: sends its key in the clear: write https://"),
    (B, "https://api.example.com/v1\n        key: ${env:API_KEY}", "http://api.example.com/v1", ""),
    (B, "  us: {}\n", "  us: {}\n  ca: {}\n", ""),
    (R, '"llama-*", tenant: acme}', "llama-*, when: request.priority == 'bach' && fleet.load > 0.5}",
     "routing.yaml:9:55: rules[1].match.when: `request.priority` is never `bach`; did you mean `batch`?"),
    (R, '"llama-*", tenant: acme}', "llama-*, when: \"'remote' != backend.gmi.kind\"}",
     "routing.yaml:9:36: rules[1].match.when: `backend.kind` is never `remote`; known here: local, managed"),
    (R, '"llama-*", tenant: acme}',
     "llama-*, when: \"request.endpoint in ['chat/completions', 'chat/completion']\"}",
     "routing.yaml:9:77: rules[1].match.when: `request.endpoint` is never `chat/completion`; "
     "did you mean `chat/completions`?"),
    (R, '"llama-*", tenant: acme}', "llama-*, when: request.model == 'llama-3.3-70B'}",
     "routing.yaml:9:52: rules[1].match.when: `request.model` is never `llama-3.3-70B`; "
     "did you mean `llama-3.3-70b`?"),
    (R, '"llama-*", tenant: acme}', "llama-*, when: request.model == 'llama-3.3-70b' && tenant.name == 'x'}", ""),
    (B, "  us: {}", "  us: {}\n  par: {within: [ue]}",
     "backends.yaml:4:18: zones.par.within[0]: zone `ue` stands nowhere else; did you mean `eu`?"),
    (B, "  us: {}", "  us: {}\n  par: {within: [eur]}",
     "backends.yaml:4:18: zones.par.within[0]: zone `eur` stands nowhere else; did you mean `eu`?"),
    (B, "  us: {}", "  us: {within: [world]}\n  eu-1: {within: [eu-2]}", ""),
    (R, "max_wait: 20s", "max_wait: 1000",
     "routing.yaml:7:23: rules[0].route.max_wait: 1000 is seconds; write 1000ms or 1s, or 1000s if you mean it"),
    (R, "max_wait: 20s", "max_wait: 1000s", ""),
    (R, "max_wait: 20s", "max_wait: 600", ""),
    (R, "  backends: [h100]\n", "  backends: [h100]\n  classes: {batch: {max_wait: 2500}}\n",
     "routing.yaml:3:31: defaults.classes.batch.max_wait: 2500 is seconds; write 2500ms or 2.5s, "
     "or 2500s if you mean it"),
    (R, "{attempts: 2, residency", "{hedge: {after: 800}, residency",
     "routing.yaml:19:28: rules[2].route.hedge.after: 800 is seconds; write 800ms or 0.8s, or 800s if you mean it"),
    (R, "{connect: 500ms}", "{connect: 500, idle: 600}",
     "routing.yaml:3:23: defaults.timeouts.connect: 500 is seconds; write 500ms or 0.5s, or 500s if you mean it"),
    (R, "{connect: 500ms}", "{idle: 10000}",
     "routing.yaml:3:20: defaults.timeouts.idle: 10000 is seconds; write 10000ms or 10s, or 10000s if you mean it"),
    (B, "    zone: fra\n", "    zone: fra\n    slow_start: 10000\n    breaker: {pause: 30}\n",
     "backends.yaml:8:17: backends[0].slow_start: 10000 is seconds; write 10000ms or 10s, or 10000s if you mean it"),
    (R, "{attempts: 2, residency", "{attempts: 1, hedge: {after: 1s}, residency",
     "routing.yaml:19:26: rules[2].route.hedge: has no effect with `attempts: 1`: the second attempt is one of them"),
    (R, "{attempts: 2, residency", "{attempts: 1, rescue: true, residency",
     "routing.yaml:19:26: rules[2].route.rescue: has no effect with `attempts: 1`: to go on elsewhere is a second one"),
    (R, "{attempts: 2, residency", "{hedge: {}, rescue: true, residency", ""),
    (T, "    priority: standard", "    tags: [gold]\n    priority: standard",
     "tenants.yaml:6:12: tenants[0].tags[0]: no rule looks at `gold`"),
    (M, "    modality: text\n", "    needs: {memory_gb: 140, gpus: 2}\n",
     "models.yaml:3:5: models[0].needs: needs 140 GB on 2 GPUs: it never goes to h100-2 (1 x H100 with 80 GB)"),
    (M, "    modality: text\n", "    needs: {memory_gb: 79}\n", ""),
    (B, "        limit_work_s: 4.5", "        models: [llama-*]", ""),
]  # fmt: skip


def warned(files: dict[str, str], folder: Path) -> list[str]:
    compiled(files)
    for name, text in files.items():
        (folder / name).write_text(text)
    return [str(warning) for warning in folder_warnings(folder)]


def test_the_good_folder_has_none(tmp_path: Path) -> None:
    assert warned(dict(GOOD), tmp_path) == []


@pytest.mark.parametrize(("file", "old", "new", "line"), ROWS, ids=[row[2].strip()[:30] for row in ROWS])
def test_a_warning(tmp_path: Path, file: str, old: str, new: str, line: str) -> None:
    assert warned(changed(file, old, new), tmp_path) == ([line] if line else [])


def test_gpus_of_a_kind_that_nobody_knows(tmp_path: Path) -> None:
    files = changed(B, "gpu: {kind: H100, usd_per_hour: 2.0}", "gpu: {kind: B300}")
    files[M] = files[M].replace("    modality: text\n", "    needs: {memory_gb: 140}\n")
    said = "memory of the GPUs of h100-1, h100-2 is not known; set `gpu.memory_gb` there"
    assert warned(files, tmp_path) == [f"models.yaml:3:5: models[0].needs: {said}"]
    files[B] = files[B].replace("kind: B300", "kind: B300, memory_gb: 288")
    assert warned(files, tmp_path) == []


def test_a_backend_that_is_kept_for_other_models(tmp_path: Path) -> None:
    files = changed(B, "limit_work_s: 4.5", "models: [spare]")
    files[B] = files[B].replace("        max_num_seqs: 128\n", "        models: [spare]\n")
    files[M] += "  - name: spare\n    served_by: [{backend: h100, as: x}]\n"
    said = "each worker of `h100` is kept for other models (`models` in backends.yaml)"
    assert warned(files, tmp_path) == [f"models.yaml:5:19: models[0].served_by[0].backend: {said}"]


def test_workers_that_speak_no_endpoint(tmp_path: Path) -> None:
    """They make pictures, and the model makes text; one that speaks is enough, and so are `endpoints`."""
    files = changed(B, "engine: vllm", "engine: comfyui")
    assert warned(files, tmp_path) == []
    files[B] = files[B].replace("limit_work_s: 4.5", "engine: sglang-diffusion")
    said = "no request goes to `h100`: comfyui, sglang-diffusion speak no endpoint of text"
    assert warned(files, tmp_path) == [f"models.yaml:5:19: models[0].served_by[0].backend: {said}"]
    files[B] = files[B].replace("    zone: fra\n", "    zone: fra\n    endpoints: chat/completions\n")
    assert warned(files, tmp_path) == []


def test_a_rule_that_names_an_api_for_a_custom_model_too(tmp_path: Path) -> None:
    """It is never sent there (tests/routing/test_custom.py): whoever wrote the rule may believe otherwise."""
    files = dict(GOOD)
    files[M] += "  - name: llama-tuned\n    custom: true\n    served_by: [{backend: h100, as: x}]\n"
    said = "llama-tuned is custom and stays on our own machines: it never goes to gmi"
    assert warned(files, tmp_path) == [f"routing.yaml:8:11: rules[1].name: {said}"]


def test_models_that_no_rule_matches_and_backends_that_get_nothing(tmp_path: Path) -> None:
    files = {
        **GOOD,
        M: GOOD[M] + "  - name: spare\n    served_by: [{backend: h100, as: x}]\n",
        R: "rules:\n  - name: chat\n    match: {model: [llama-3.3-70b]}\n    route: {backends: [h100]}\n",
    }
    assert warned(files, tmp_path) == [
        "backends.yaml:22:11: backends[1].name: no rule sends anything to it",
        "models.yaml:7:11: models[1].name: no rule matches it: every request for it is refused with 404",
    ]
    files[M] = "".join(line for line in GOOD[M].splitlines(keepends=True) if "gmi" not in line)
    assert warned(files, tmp_path)[0].endswith("no model is served by it; see `served_by` in models.yaml")


def attempts_warned(folder: Path, engines: list[str], route: str, backends: str = "[gpu]") -> list[str]:
    """Of a folder with these workers, an API, and one rule."""
    listed = "".join(
        f"      - {{name: w{number}, url: 'http://127.0.0.1:{8000 + number}', engine: {engine}}}\n"
        for number, engine in enumerate(engines)
    )
    (folder / "backends.yaml").write_text(
        "zones: {here: {}, us: {}}\nbackends:\n"
        f"  - name: gpu\n    kind: local\n    zone: here\n    gpu: {{kind: H100}}\n    upstreams:\n{listed}"
        "  - name: api\n    kind: managed\n    zone: us\n    upstreams: [{name: api, url: 'https://api.example.com/v1'}]\n"
    )
    price = "{input_per_1m: 1, output_per_1m: 1}"
    (folder / "models.yaml").write_text(
        "models:\n  - name: m\n    modality: text\n    served_by:\n"
        f"      - {{backend: gpu, as: m}}\n      - {{backend: api, as: m, price: {price}}}\n"
    )
    (folder / "routing.yaml").write_text(
        f"rules:\n  - name: all\n    match: {{}}\n    route: {{backends: {backends}, {route}}}\n"
    )
    found = [str(warning) for warning in folder_warnings(folder)]
    return [line.partition("has no effect ")[2] for line in found if "has no effect" in line]


NOBODY = "with one worker in each backend: there is nobody to go on"


@pytest.mark.parametrize(
    ("engines", "route", "backends", "said"),
    [
        (["vllm", "vllm"], "hedge: {}, rescue: true", "[gpu]", []),
        (["vllm"], "hedge: {}", "[gpu]", ["with one worker and no `spill`: there is nobody for a second attempt"]),
        (["vllm"], "hedge: {}, spill: {backends: [api]}", "[gpu]", []),
        (["vllm"], "hedge: {}, fallback: [api]", "[gpu]",
         ["with one worker and no `spill`: there is nobody for a second attempt"]),
        (["vllm"], "rescue: true, spill: {backends: [api]}", "[gpu]", [NOBODY]),
        (["tgi", "tgi"], "rescue: true", "[gpu]",
         ["on chats: none of its engines goes on with one (sglang, vllm do); completions are rescued"]),
        (["tgi", "auto"], "rescue: true", "[gpu]", []),
        (["vllm", "vllm"], "hedge: {}, rescue: true", "[api]",
         ["where no worker of ours serves: of two attempts at most one is bought",
          "where no worker of ours serves: nothing is continued on a bought API"]),
    ],
)  # fmt: skip
def test_second_attempts_that_cannot_be(
    tmp_path: Path, engines: list[str], route: str, backends: str, said: list[str]
) -> None:
    assert attempts_warned(tmp_path, engines, route, backends) == said


def durations_in(node: Any, key: str = "") -> Iterator[str]:
    """Keys of a JSON schema that take a duration."""
    if isinstance(node, dict):
        if "20s" in node.get("examples", ()):
            yield key
        for name, inner in node.items():
            yield from durations_in(inner, key if name in ("anyOf", "properties") else name)
    for inner in node if isinstance(node, list) else ():
        yield from durations_in(inner, key)


def test_every_key_of_a_duration_is_looked_at() -> None:
    made = schemas()
    found = {key for name, schema in made.items() if "cases" not in name for key in durations_in(json.loads(schema))}
    assert found == set(LONG_SECONDS)

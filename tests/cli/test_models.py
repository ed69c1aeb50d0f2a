"""`gateway models`: what is known, what a folder is told, entries to paste."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.catalog.cards import every
from gateway.cli.models import models

_BACKENDS = """\
zones: {us: {}}
backends:
  - {name: openai, kind: managed, zone: us, upstreams: [{name: a, url: "https://api.openai.com/v1"}]}
"""
_ROUTING = "rules: [{name: all, match: {}, route: {backends: [openai]}}]\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models, arguments)


def policy(folder: Path, *ids: str) -> str:
    rows = "".join(f"  - {{name: {id}, served_by: [{{backend: openai, as: {id}}}]}}\n" for id in ids)
    (folder / "backends.yaml").write_text(_BACKENDS)
    (folder / "routing.yaml").write_text(_ROUTING)
    (folder / "models.yaml").write_text(f"models:\n{rows}")
    return str(folder)


def test_the_list_is_filtered() -> None:
    rows = json.loads(run("list", "--provider", "google-vertex", "--json").stdout)
    assert {row["provider"] for row in rows} == {"google-vertex"}
    veo = next(row for row in rows if row["model"] == "veo-3.0-generate-001")
    assert (veo["retires"], veo["use"]) == ("2026-06-30", "veo-3.1-generate-001")
    assert len(json.loads(run("list", "--json").stdout)) == len(every())
    shown = run("list", "--modality", "audio", "--provider", "gmi").stdout.splitlines()
    assert shown[0].split() == ["provider", "model", "name", "modality", "end"]
    assert shown[1].split() == ["gmi", "elevenlabs-tts-v3", "elevenlabs-tts-v3", "audio"]
    assert "veo-3.0-generate-001       veo-3.0-generate-001       video     ended on 2026-06-30: use" in (
        run("list", "--provider", "google-vertex").stdout
    )


@pytest.mark.parametrize("arguments", [("list", "--provider", "x"), ("list", "--modality", "x"), ("export", "x")])
def test_what_no_card_has(arguments: tuple[str, ...]) -> None:
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "no card has the" in refused.stderr
    assert "known are" in refused.stderr


def test_one_model_is_shown_by_any_of_its_names() -> None:
    for name in ("seedance-2.0", "doubao-seedance-2-0-260128", "Seedance-2-0-260128"):
        shown = run("show", name, "--provider", "volcengine-ark").stdout
        assert shown.startswith("doubao-seedance-2-0-260128 at volcengine-ark (video)\n"), name
        assert "  also called seedance-2-0-260128\n" in shown
        assert "  seconds: least 4, most 15\n" in shown
        assert "  from volcengine-ark-runtime 5.0.54, litellm 1.109.1, 2026-11-21" in shown
    both = json.loads(run("show", "gpt-image-2", "--json").stdout)
    assert {"openai", "gmi", "azure", "fal"} <= {row["provider"] for row in both}
    assert "engines: vllm, sglang, trtllm; takes 176 GB, on 4 GPUs" in run("show", "llama-3.3-70b").stdout


def test_a_name_that_nothing_has() -> None:
    missed = run("show", "gpt-4q")
    assert (missed.exit_code, missed.stdout) == (1, "")
    assert missed.stderr.startswith("gpt-4q: no card; did you mean gpt-4")


def test_a_folder_with_nothing_to_find(tmp_path: Path) -> None:
    done = run("check", policy(tmp_path, "gpt-5.5", "gpt-image-2"))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "models.yaml:2:55: models[0].served_by[0].as: known: `gpt-5.5` at openai",
        "models.yaml:3:59: models[1].served_by[0].as: known: `gpt-image-2` at openai",
        "ok: 2 bought models, findings: 0",
    ]


def test_findings_end_with_1(tmp_path: Path) -> None:
    folder = policy(tmp_path, "gpt-5.5", "gpt-4", "gtp-5.5")
    done = run("check", folder)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "models.yaml:3:53: models[1].served_by[0].as: dead: `gpt-4` at openai ended on 2026-10-23: use `gpt-5.5`",
        "models.yaml:4:55: models[2].served_by[0].as: unknown: `gtp-5.5` at openai has no card and no price; "
        "did you mean `gpt-5.5`?",
    ]
    assert done.stdout.splitlines()[-1] == "3 bought models, findings: 2"
    rows = json.loads(run("check", folder, "--json").stdout)
    assert [row["standing"] for row in rows] == ["known", "dead", "unknown"]
    assert rows[1]["at"] == "models.yaml:3:53"


def test_a_folder_that_cannot_be_read_and_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models: 3\n")
    assert run("check", str(tmp_path)).exit_code == 1
    assert run("check", str(tmp_path / "none")).exit_code == 2


def test_entries_are_models_of_a_policy() -> None:
    done = run("export", "kling")
    assert done.exit_code == 0
    assert done.stdout == (Path(__file__).parents[2] / "policies" / "catalog" / "kling.yaml").read_text()
    first = yaml.safe_load(done.stdout)["models"][0]
    assert first == {
        "name": "kling-v3", "modality": "video", "served_by": [{"backend": "kling", "as": "kling-v3"}],
    }  # fmt: skip

"""`gateway prices`: what is known, what an order comes to, what should not be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.prices import prices

FOLDER = Path(__file__).parents[2] / "policies" / "local-first"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(prices, arguments)


def test_the_list_is_filtered() -> None:
    rows = json.loads(run("list", "--provider", "gmi", "--modality", "image", "--model", "SEED*", "--json").stdout)
    assert {row["model"] for row in rows} == {"seedream-5.0-lite", "seededit-3-0-i2i-250628"}
    assert {"source", "as_of", "confidence", "marks", "conflicts"} <= rows[0].keys()
    shown = run("list", "--model", "seedream-5.0-lite").stdout.splitlines()
    assert shown[0].split() == ["provider", "model", "modality", "price", "source,", "date,", "confidence"]
    assert shown[1].startswith("gmi       seedream-5.0-lite  image     $0.035 /image  gmi-pipelines-guide, 2026-04-20")


def test_token_prices_are_listed_by_provider() -> None:
    rows = json.loads(run("list", "--provider", "anthropic", "--json").stdout)
    assert any(row["model"] == "claude-sonnet-4-5" and row["source"] == "genai-prices" for row in rows)
    assert run("list", "--provider", "nobody").exit_code == 2


def test_a_modality_that_nothing_is_for() -> None:
    refused = run("list", "--modality", "bogus")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "nothing in the price book is for `bogus`; it has asr, image" in refused.stderr
    assert run("list", "--modality", "asr", "--provider", "openai").exit_code == 0


@pytest.mark.parametrize(
    ("order", "working", "total"),
    [
        (("veo-3.1-lite-generate-001", "--seconds", "4"), "4 x $0.05 a second", "costs $0.200000"),
        (("gpt-image-2-generate", "--images", "2", "--quality", "high"), "2 x $0.211 an image", "costs $0.422000"),
        (("gpt-4o", "--provider", "openai", "--tokens", "1000,200"), "1,000 input tokens x $2.50 / 1M = $0.0025",
         "costs $0.004500"),
        (("whisper-1", "--audio-seconds", "90"), "0.025 x $0.36 an hour of audio = $0.009", "costs $0.009000"),
        (("eleven_v3", "--characters", "1000"), "1 x $0.08 a 1,000 characters = $0.08", "costs $0.080000"),
        (("gpt-image-2-generate", "--images", "1"), "no rate for this", ""),
    ],
)  # fmt: skip
def test_an_order(order: tuple[str, ...], working: str, total: str) -> None:
    shown = run("show", *order)
    assert shown.exit_code == 0, shown.output
    assert working in shown.stdout
    assert total in shown.stdout


def test_one_picture_where_only_its_kind_is_named() -> None:
    shown = run("show", "gpt-image-2-generate", "--quality", "low").stdout
    assert "1 x $0.006 an image (low)" in shown
    assert "costs $0.006000" in shown


@pytest.mark.parametrize("kind", [("--resolution", "720p"), ("--size", "1280x720")])
def test_nothing_costs_nothing_where_nothing_is_counted(kind: tuple[str, ...]) -> None:
    shown = run("show", "veo-3.1-lite-generate-001", *kind, "--json")
    assert all(one.keys().isdisjoint(("order", "micro_usd")) for one in json.loads(shown.stdout))


def test_where_a_price_is_from_is_told() -> None:
    told = " ".join(run("show", "wan2.7-i2v", "--provider", "gmi").stdout.split())
    assert "from gmi-architecture-guide, 2026-05-28, conflict" in told
    assert "conflict: gmi-recipes (2026-05-04) says $0.15 a generation" in told
    assert "low confidence" in told


def test_a_length_that_is_not_sold() -> None:
    shown = run("show", "veo-3.1-lite-generate-001", "--seconds", "5")
    assert (shown.exit_code, "ask for 4, 6 or 8 s" in shown.stderr) == (1, True)


def test_under_a_policy() -> None:
    name = "meta-llama/Llama-3.3-70B-Instruct"
    shown = run("show", name, "--policy", str(FOLDER), "--tokens", "1000,200", "--json")
    (told,) = json.loads(shown.stdout)
    assert (told["micro_usd"], told["source"], told["confidence"]) == (400, "models.yaml", "stated")


def test_what_should_not_be_trusted(tmp_path: Path) -> None:
    assert run("check", str(FOLDER)).stdout == "ok: every price is known, of late, and sure\n"
    whole = run("check")
    assert (whole.exit_code, "wan2.7-i2v" in whole.stdout) == (1, True)
    for name in ("backends.yaml", "models.yaml", "routing.yaml"):
        text = (FOLDER / name).read_text()
        before = text.partition(", price: {")
        text = text if not before[1] else before[0] + before[2].partition("}")[2]
        (tmp_path / name).write_text(text.replace(", usd_per_hour: 2.00", ""))
    found = run("check", str(tmp_path), "--json")
    assert found.exit_code == 1
    rows = {row["model"]: row["doubt"] for row in json.loads(found.stdout)}
    assert rows.pop("H100 hour").endswith("low confidence")
    assert list(rows.values()) == ["unknown"]
    (tmp_path / "models.yaml").unlink()
    assert run("check", str(tmp_path)).exit_code == 1


def test_what_is_not_there() -> None:
    assert run("show", "no-such-model").exit_code == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--tokens", one) for one in ("many", "1,2,x", "1,2,3", "-1,2", "1", "", "1,٣")),
        *((option, one) for option in ("--seconds", "--audio-seconds") for one in ("nan", "inf", "-1", "x")),
        *((option, "-3") for option in ("--images", "--input-images", "--characters")),
    ],
)
def test_what_is_no_amount_is_refused(option: str, value: str) -> None:
    assert run("show", "gpt-4o", option, value).exit_code == 2

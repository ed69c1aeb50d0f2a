"""What a bought model costs under a policy: stated, overridden, discounted, known; and never silently nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import PolicyFault
from gateway.model import MediaRate, Policy, Price, Tokens, pico
from gateway.policy.compile import compile_files
from gateway.policy.warnings import folder_warnings
from gateway.prices import book
from gateway.prices.marks import MAX_AGE_DAYS

from .good import ENV, GOOD, changed, faults_of, folder

TODAY = date(2026, 11, 22)
B, M, P, R = "backends.yaml", "models.yaml", "prices.yaml", "routing.yaml"
STATED = "as: llama-big, price: {input_per_1m: 0.25, output_per_1m: 0.75}"
DEEPSEEK = "deepseek-ai/DeepSeek-V3.2"
ADDRESS, GMI = "https://api.example.com/v1", "https://api.gmi-serving.com/v1"


def sold(served: str, prices: str | None = None, url: str = GMI, backend: str = "") -> dict[str, str]:
    """GOOD with its bought API at `url`, its model served so, and that prices.yaml."""
    files = changed(M, STATED, served)
    files[B] = files[B].replace(ADDRESS, url).replace("    dialect: openai\n", f"    dialect: openai\n{backend}")
    return files if prices is None else {**files, P: prices}


def made(files: dict[str, str]) -> Policy:
    return compile_files(folder(files), ENV, TODAY)


def price(files: dict[str, str]) -> Price | None:
    return made(files).models["llama-3.3-70b"].served_by[1].price


def known(name: str = DEEPSEEK, provider: str = "gmi") -> Price:
    found = book.find(provider, name, TODAY)
    assert found is not None
    return found.price


def test_what_is_stated_goes_before_all() -> None:
    found = price(
        sold(f"as: {DEEPSEEK}, price: {{input_per_1m: 9, output_per_1m: 0}}", "prices: [{discount_percent: 50}]")
    )
    assert found == Price.of(9)


def test_the_book_knows_by_the_address() -> None:
    assert price(sold(f"as: {DEEPSEEK}")) == known()


def test_the_book_knows_by_the_provider() -> None:
    files = sold("as: claude-sonnet-4-5", url=ADDRESS, backend="    provider: anthropic\n")
    assert price(files) == known("claude-sonnet-4-5", "anthropic")


def test_a_contract_keeps_the_list_price_beside_it() -> None:
    found = price(sold(f"as: {DEEPSEEK}, price: {{input_per_1m: 0.1, output_per_1m: 0.2, contract: true}}"))
    assert found == replace(Price.of(0.1, 0.2), listed=known())


@pytest.mark.parametrize(
    ("entry", "tokens"),
    [
        ("{discount_percent: 25}", Tokens(210_000, 300_000)),
        ("{provider: gmi, model: 'deepseek-AI/*', discount_percent: 0.5}", Tokens(278_600, 398_000)),
        ("{provider: openai, discount_percent: 25}, {backend: g?i, discount_percent: 50}", Tokens(140_000, 200_000)),
        ("{backend: h100, discount_percent: 50}", Tokens(280_000, 400_000)),
        ("{price: {input_per_1m: 1, output_per_1m: 2, cached_input_per_1m: 0.1}}", Tokens(10**6, 2 * 10**6, 10**5)),
        ("{price: {input_per_1m: 1, output_per_1m: 0}, discount_percent: 10}", Tokens(900_000)),
    ],
)
def test_prices_yaml(entry: str, tokens: Tokens) -> None:
    found = price(sold(f"as: {DEEPSEEK}", f"prices: [{entry}]"))
    assert found is not None
    assert found.tokens == tokens
    assert found.listed == (None if tokens == known().tokens else known())


def test_a_discount_is_off_rates_of_ones_own_where_the_book_has_none() -> None:
    found = price(sold("as: own", "prices: [{price: {input_per_1m: 4, output_per_1m: 0}, discount_percent: 25}]"))
    assert found is not None
    assert (found.tokens, found.listed and found.listed.tokens) == (Tokens(3_000_000), Tokens(4_000_000))


def test_the_tier_that_is_bought() -> None:
    backend = "    provider: anthropic\n"
    found = price(sold("as: claude-sonnet-4-5", "prices: [{tier: batch}]", ADDRESS, backend))
    listed = known("claude-sonnet-4-5", "anthropic")
    assert found is not None
    assert (2 * found.tokens.input, found.listed) == (listed.tokens.input, listed)
    said = faults_of(sold(f"as: {DEEPSEEK}", "prices: [{tier: batch}]"))
    assert said[0].endswith(f"the price book knows no batch price of `{DEEPSEEK}` at gmi")


def test_every_kind_of_rate() -> None:
    written = """as: x, price: {input_per_1m: 1, output_per_1m: 2, cache_write_per_1m: 3, output_audio_per_1m: 4,
        per_request: 0.1, tiers: {from_input_tokens: 200000, input_per_1m: 5}, per_image: [0.01,
        {usd: 0.02, quality: hd, size: 1024x1024, default: true}],
        per_second: {usd: 0.05, resolution: 720p}, per_generation: 0.3, per_1k_chars: 0.06,
        per_audio_hour: 0.36, sold_seconds: [8, 4], round: up, source: mail, as_of: "2026-11-01"}"""
    found = price(sold(written))
    assert found is not None
    assert found.tokens == Tokens(10**6, 2 * 10**6, cache_write=3 * 10**6, output_audio=4 * 10**6)
    assert found.tiers == ((200_000, replace(found.tokens, input=5 * 10**6)),)
    assert found.media == (
        MediaRate("image", pico("0.01")),
        MediaRate("image", pico("0.02"), quality="hd", size="1024x1024", default=True),
        MediaRate("second", pico("0.05"), resolution="720p"),
        MediaRate("generation", pico("0.3")),
        MediaRate("character", 60_000_000),
        MediaRate("audio_second", 100_000_000),
    )
    assert (found.per_request, found.sold_seconds, found.round_up) == (pico("0.1"), (4, 8), True)
    assert (found.origin.source, found.origin.as_of, found.origin.marks) == ("mail", "2026-11-01", ())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (sold("as: x", url=ADDRESS), "the price book does not know whose (`provider` in backends.yaml tells)"),
        (sold("as: deepseek-ai/DeepSeek-V3"), "does not know `deepseek-ai/DeepSeek-V3` at gmi; did you mean"),
        (sold("as: gemma-3", url=ADDRESS, backend="    provider: google\n"), "the price book has it as free"),
        (sold("as: seedream-5.0-lite"), "the price book has only what its media cost"),
        (sold("as: x", backend="    simulated: true\n", url="http://127.0.0.1:1"), "does not know whose"),
        (
            sold("as: x", backend="    provider: gmo\n"),
            "backends[1].provider: unknown provider `gmo`; did you mean `gmi`",
        ),
        (sold(f"as: {DEEPSEEK}", "prices: [{model: x}]"), "must set `price`, `discount_percent`, `tier` or `round`"),
        (sold(f"as: {DEEPSEEK}", "prices: [{tier: batch, price: {per_request: 1}}]"), "`tier` has no effect"),
        (sold(f"as: {DEEPSEEK}", "prices: [{discount_percent: 100}]"), "must be less than 100"),
        (sold("as: x, price: {round: up}"), "must say what something costs"),
        (sold("as: x, price: {per_request: 1, as_of: '2026-13'}"), "`as_of` must be a day"),
        (sold("as: x, price: {per_request: 1, as_of: '2099-11-24'}"), "as_of: lies in the future: today is"),
        (
            sold("as: x", "prices: [{price: {per_request: 1, as_of: '2099'}}]"),
            "prices[0].price.as_of: lies in the future",
        ),
        (sold("as: x, price: {input_per_1m: -1}"), "must be at least 0"),
        (sold("as: x, price: {input_per_1m: 1}"), "has no `output_per_1m`; write `output_per_1m: 0` if they are free"),
        (sold("as: x, price: {output_image_per_1m: 1, output_per_1m: 1}"), "has no `input_per_1m`; write"),
        (
            sold("as: x, price: {per_request: 1, tiers: {from_input_tokens: 9, input_per_1m: 1}}"),
            "has no `input_per_1m",
        ),
        (sold("as: x", "prices: [{price: {input_per_1m: 1}}]"), "has no `output_per_1m`"),
        (sold("as: x, price: {per_image: 1}"), "the price that is written has only what its media cost"),
        (sold("as: x", "prices: [{price: {per_second: 1}}]"), "the price that is written has only what its media cost"),
    ],
)
def test_what_is_no_price(files: dict[str, str], said: str) -> None:
    found = faults_of(files)
    assert len([line for line in found if said in line]) == 1, found
    assert all(line.startswith(("models.yaml:", "backends.yaml:", "prices.yaml:")) for line in found)


def test_a_price_that_nobody_knows_is_routed_only_on_request() -> None:
    files = sold("as: x", "unknown_price: route", ADDRESS)
    assert "routing.yaml:13:7: rules[1].route.spill: bounds money" in faults_of(files)[0]
    files[R] = files[R].replace("        budget_usd_per_hour: 40\n", "")
    assert price(files) is None


def test_a_gpu_without_a_price_costs_what_the_book_says() -> None:
    files = changed(B, "gpu: {kind: H100, usd_per_hour: 2.0}", "gpu: {kind: H200}")
    worker = made(files).upstreams["h100-1"]
    assert (worker.hardware.usd_per_hour, worker.usd_per_hour) == (2.6, 5.2)  # of two
    assert worker.hardware.priced.confidence == "guide"
    unknown = made(changed(B, "gpu: {kind: H100, usd_per_hour: 2.0}", "gpu: {kind: B300}")).upstreams["h100-1"]
    assert unknown.usd_per_hour is None


def warned(files: dict[str, str], root: Path) -> list[str]:
    for name, text in files.items():
        (root / name).write_text(text)
    return [str(warning) for warning in folder_warnings(root, TODAY)]


def test_what_is_warned_of(tmp_path: Path) -> None:
    old = sold("as: anthropic/claude-opus-4.6")
    assert warned(old, tmp_path) == [
        "models.yaml:6:9: models[0].served_by[1].price: `anthropic/claude-opus-4.6` at `gmi` costs what mastra-gmi "
        "said on 2026, which is old"
    ]
    assert warned({**old, P: "max_age_days: 400"}, tmp_path) == []
    unknown = sold("as: x", "unknown_price: route", ADDRESS)
    assert "nobody knows what `x` costs at `gmi`" in warned(unknown, tmp_path)[0]
    (tmp_path / P).unlink()
    rented = changed(B, "gpu: {kind: H100, usd_per_hour: 2.0}", "gpu: {kind: H100}")
    assert warned(rented, tmp_path) == [
        "backends.yaml:9:5: backends[0].gpu: `H100` has no `usd_per_hour`: $2.00 is what gmi-architecture-guide said "
        "on 2026-05-28, which is not sure (guide)"
    ]
    assert MAX_AGE_DAYS == 180


@pytest.mark.parametrize(
    ("served", "entries", "said"),
    [
        (f"as: {DEEPSEEK}", "[{discount_percent: 9}]", []),
        (
            f"as: {DEEPSEEK}",
            "[{provider: gmii, discount_percent: 9}]",
            ["1:10: prices[0]: has no effect: nothing that is bought here is what it names"],
        ),
        (
            STATED,
            "[{backend: gmi, discount_percent: 9}]",
            ["1:10: prices[0]: has no effect: `price` in models.yaml goes before it for `llama-big` at `gmi`"],
        ),
        (
            f"as: {DEEPSEEK}",
            "[{backend: g*, discount_percent: 9}, {model: deepseek-ai/*, discount_percent: 8}]",
            ["1:46: prices[1]: has no effect: prices[0] fits too and stands before it for `" + DEEPSEEK + "` at `gmi`"],
        ),
    ],
)
def test_entries_without_effect(served: str, entries: str, said: list[str], tmp_path: Path) -> None:
    found = warned(sold(served, f"prices: {entries}"), tmp_path)
    assert [line for line in found if line.startswith(P)] == [f"{P}:{one}" for one in said]


def test_an_entry_for_a_backend_that_is_not_there() -> None:
    files = sold(f"as: {DEEPSEEK}", "prices: [{backend: [g*, gmo, x-*], discount_percent: 9}]")
    assert faults_of(files) == [
        f"{P}:1:25: prices[0].backend[1]: unknown backend `gmo`; did you mean `gmi`?",
        f"{P}:1:30: prices[0].backend[2]: unknown backend `x-*`; known here: gmi, h100",
    ]


NAMES = st.sampled_from(["x", DEEPSEEK, "seedream-5.0-lite", "gpt-4o", "openai/gpt-4o"])
FREE = "price: {input_per_1m: 0, output_per_1m: 0}"
STATED_SO = (
    "{input_per_1m: 1}",
    "{input_per_1m: 1, output_per_1m: 0}",
    "{output_audio_per_1m: 1}",
    "{per_image: 1}",
    "{per_request: 1}",
)
STATEMENTS = st.sampled_from(["", *(f", price: {one}" for one in STATED_SO), f", {FREE}"])
OVERRIDES = st.sampled_from(
    [None, "unknown_price: route", "prices: [{discount_percent: 99.9}]", "prices: [{tier: flex}]",
     "prices: [{model: x, price: {per_request: 0.001}}]", "unknown_price: route\nprices: [{tier: batch}]"]
)  # fmt: skip
URLS = st.sampled_from([ADDRESS, GMI, "https://api.openai.com/v1"])


@settings(deadline=None, max_examples=60)
@given(NAMES, STATEMENTS, OVERRIDES, URLS)
def test_nothing_bought_is_silently_free(name: str, stated: str, prices: str | None, url: str) -> None:
    """Whatever compiles: a price of 0 was written, and none at all only where the folder says so."""
    files = sold(f"as: {name}{stated}", prices, url)
    files[R] = files[R].replace("        budget_usd_per_hour: 40\n", "")
    try:
        found = price(files)
    except PolicyFault:
        return
    if found is None:
        assert prices is not None
        assert "unknown_price: route" in prices
    elif not found.per_request:
        assert found.tokens.output or "output_per_1m: 0" in stated
        assert found.tokens.input or "input_per_1m: 0" in stated


def test_the_good_folder_asks_nobody() -> None:
    """A folder that states its prices never loads the book."""
    book.find.cache_clear()
    made(dict(GOOD))
    assert book.find.cache_info().misses == 0

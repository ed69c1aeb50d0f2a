"""A fleet of 1,000: the table is quick, and right for who cannot see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.dashboard.browser import PHONE, opened, stand_in
from tests.dashboard.fleet_of_1000 import WORKERS, app

LONGEST_TASK_MS = 50
MOST_BYTES = 150_000
LIVE_SECONDS = 0.4
"""Between two events of the feed, of which a gateway sends one a second."""
UPSTREAMS = WORKERS + 3
SCROLL = """async () => {
  const grid = document.getElementById("grid");
  for (let step = 0; step < 60; step++) {
    grid.scrollTop = step < 40 ? step * 97 : (step * 7919 * 13) % grid.scrollHeight;
    await new Promise(requestAnimationFrame);
  }
}"""
READ_OUT = """(alerts) => {
  const said = [];
  const told = (records) => said.push(...records.map((one) => one.target.textContent));
  for (const live of [alerts, ...document.querySelectorAll("[role=status]")])
    new MutationObserver(told).observe(live, {subtree: true, childList: true, characterData: true});
  return said;
}"""
"""What changes from now on where a screen reader listens."""
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stand_in(app(LIVE_SECONDS)) as url:
        yield url


async def test_scrolling_never_holds_the_page_up(url: str, browser: Browser) -> None:
    """Of each task of the page's thread the CPU time is taken, as the browser traces it: `longtask` entries are in wall
    time, and a machine that is shared by several tests makes one of any task."""
    async with opened(browser, url) as seen:
        page = await seen.go("fleet")
        await expect(page.locator("#grid")).to_have_attribute("aria-rowcount", str(UPSTREAMS + 1))
        assert await page.locator("#grid [role=row]").count() < 60, "only what is in sight is there"
        await browser.start_tracing(page=page, categories=["toplevel"])
        await page.evaluate(SCROLL)
        tasks = of_page(json.loads(await browser.stop_tracing())["traceEvents"])
        assert len(tasks) > 60, "there is something to judge by"
        assert max(tasks) < LONGEST_TASK_MS
        await seen.picture("fleet-1000")
        await seen.go("overview")
        await seen.picture("overview-1000")


def of_page(trace: list[dict[str, Any]]) -> list[float]:
    """CPU milliseconds of each task of the page's main thread."""
    named = [one for one in trace if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"]
    threads = {(one["pid"], one["tid"]) for one in named}
    tasks = [one for one in trace if one["name"].endswith("RunTask") and (one["pid"], one["tid"]) in threads]
    return [one["tdur"] / 1000 for one in tasks if "tdur" in one]


async def test_it_is_small_on_the_wire(url: str, browser: Browser) -> None:
    async with opened(browser, url) as seen:
        wire = await seen.page.context.new_cdp_session(seen.page)
        bytes_of: dict[str, int] = {}
        paths: dict[str, str] = {}
        wire.on("Network.responseReceived", lambda event: paths.update({event["requestId"]: event["response"]["url"]}))
        wire.on(
            "Network.loadingFinished", lambda event: bytes_of.update({event["requestId"]: event["encodedDataLength"]})
        )
        await wire.send("Network.enable")
        await seen.go()
        static = {name: size for name, size in bytes_of.items() if "/admin/" not in paths[name]}
        assert len(static) > 10
        assert sum(static.values()) < MOST_BYTES


async def at(page: Page) -> dict[str, Any]:
    """Which cell the keyboard is at, as a screen reader is told."""
    told: dict[str, Any] = await page.evaluate("""() => {
      const grid = document.getElementById("grid");
      const cell = document.getElementById(grid.getAttribute("aria-activedescendant")), row = cell.parentNode;
      const [role, column] = [cell.role, +cell.ariaColIndex];
      return { row: +row.ariaRowIndex, column, role, name: row.firstChild.textContent };
    }""")
    return told


async def test_the_keyboard_goes_everywhere(url: str, browser: Browser) -> None:
    async with opened(browser, url) as seen:
        page = await seen.go("fleet")
        await page.keyboard.press("p")
        await page.locator("#grid").focus()
        for key, row, column in (
            ("ArrowDown", 2, 1),
            ("ArrowRight", 2, 2),
            ("End", 2, 13),
            ("Control+End", UPSTREAMS + 1, 13),
            ("ArrowDown", UPSTREAMS + 1, 13),
            ("PageUp", UPSTREAMS + 1 - 12, 13),
            ("Home", UPSTREAMS + 1 - 12, 1),
            ("Control+Home", 2, 1),
            ("ArrowUp", 1, 1),
        ):
            await page.keyboard.press(key)
            told = await at(page)
            assert (told["row"], told["column"]) == (row, column), key
        assert told["role"] == "columnheader"
        await page.keyboard.press("Enter")
        heading = page.locator("#grid [role=columnheader]").first
        await expect(heading).to_have_attribute("aria-sort", "ascending")
        await page.keyboard.press("Enter")
        await expect(heading).to_have_attribute("aria-sort", "descending")
        await page.keyboard.press("ArrowDown")
        assert (await at(page))["name"] == "h200-0997"
        await page.keyboard.press("Enter")
        await expect(page.locator("#detail-title")).to_have_text("h200-0997")
        await seen.picture("worker")


async def test_filters_and_sorting(url: str, browser: Browser) -> None:
    async with opened(browser, url) as seen:
        page = await seen.go("fleet")
        await page.locator("#fleet-filter").fill("h100 4711")
        await expect(page.locator("#fleet-counts")).to_contain_text(f"of {UPSTREAMS:,} upstreams")
        states = await page.locator("#grid [id$=-state]:not([role=columnheader])").all_inner_texts()
        assert {one.lstrip("▼ \n") for one in states} == {"draining"}
        await page.locator("#fleet-filter").fill("no such worker")
        await expect(page.locator(".g-empty")).to_be_visible()
        await page.locator("#fleet-filter").fill("")
        await page.locator("#fleet-state").select_option("!up")
        await page.keyboard.press("Tab")
        await expect(page.locator("#fleet-counts")).not_to_contain_text(re.compile(r"\d up\b"))
        await page.locator("#fleet-state").select_option("")
        await page.locator("#g-h-load").click()
        shown = await page.evaluate("""() => [...document.querySelectorAll(".g-body [role=row]")]
          .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map((row) => parseInt(row.children[2].textContent))""")
        assert shown == sorted(shown, reverse=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_accessible_when_it_is_full(url: str, browser: Browser, scheme: str) -> None:
    async with opened(browser, url, color_scheme=scheme) as seen:
        page = await seen.go("fleet")
        assert await seen.violations() == []
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        await expect(page.locator("#grid [role=columnheader]")).to_have_count(3)
        assert await seen.violations() == []


async def test_trouble_is_loud_in_every_view(url: str, browser: Browser) -> None:
    """And below a prefix, as behind a proxy: no address of the page is absolute."""
    async with opened(browser, f"{url}/troubled") as seen:
        page = seen.page
        await page.goto(f"{seen.url}/dashboard")
        await expect(page.locator("#link-text")).to_have_text("Degraded")
        await expect(page.locator("#alerts")).to_contain_text("different policies: 003fef397057 and 9b1d77c0aa31")
        await expect(page.locator("#alerts")).to_contain_text("the store does not answer")
        assert await seen.violations() == []
        await page.locator("#alerts a").click()
        await expect(page.locator("#policy .over")).to_have_text("✕ 9b1d77c0aa31")


async def test_a_lost_connection_says_how_old_the_picture_is(url: str, browser: Browser) -> None:
    async with opened(browser, f"{url}/ending") as seen:
        seen.expected = ("ERR_FAILED",)
        asked = 0

        async def once(route: Route) -> None:
            nonlocal asked
            asked += 1
            await (route.continue_() if asked == 1 else route.abort())

        page = seen.page
        await page.route("**/ending/admin/v1/live", once)
        await page.goto(f"{seen.url}/dashboard")
        await expect(page.locator("#link-text")).to_have_text("Reconnecting")
        await expect(page.locator("#alerts")).to_contain_text(
            "Not connected: the gateway does not answer. Trying again."
        )
        said = await page.locator("#alerts").evaluate_handle(READ_OUT)
        shown = re.compile(r"What you see is [2-9] s old, of \d\d:\d\d:\d\d\.")
        await expect(page.locator("#age")).to_have_text(shown)
        before = await page.locator("#age").text_content() or ""
        await expect(page.locator("#age")).not_to_have_text(before)
        assert await said.evaluate("said => said.length") == 0, "what is read out does not change by the second"
        await expect(page.locator("#flow-when")).to_contain_text("last hour")
        assert await seen.violations() == []

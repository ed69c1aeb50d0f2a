"""The page before a real gateway with simulated workers, from loopback and without a key."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.dashboard.browser import DESK, PHONE, opened
from tests.gateways import LOCAL, Lane, Site, folder_of, write_folder

LANES = [Lane("chat", workers=3, seats=4), Lane("tight", seats=1, route={"max_wait": "0s"})]
VIEWS = ("overview", "fleet", "policy", "receipts", "explain")
UPDATE_SECONDS = 2.0
SECRET = "the-launch-code-is-0000"
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


async def test_what_happens_is_seen_within_two_seconds(site: Site, browser: Browser) -> None:
    async with opened(browser, site.gateway.url, timezone_id="Asia/Kolkata") as seen:
        page = await seen.go()
        await expect(page.locator("#backends li")).to_have_count(4)
        await expect(page.locator("#flow-when")).to_contain_text("last 15 minutes")
        await expect(page.locator("#foot")).to_contain_text("Times are UTC+05:30")
        spilled = page.locator("#flow-legend li", has_text="spilled").locator("b")
        before = int(await spilled.inner_text())
        with site.occupied("tight"):
            answer = await asyncio.to_thread(site.chat, "tight")
            assert answer.headers["x-gateway-outcome"] == "spilled"
            over = time.monotonic()
            await expect(spilled).to_have_text(str(before + 1), timeout=UPDATE_SECONDS * 1000)
            assert time.monotonic() - over < UPDATE_SECONDS
            await page.goto(f"{site.gateway.url}/dashboard#fleet")
            row = page.locator("#grid [role=row]", has_text="tight-1")
            await expect(row.locator("[id$=-inflight]")).to_have_text("1")
            await expect(row.locator("[id$=-load]")).to_contain_text("100 %")
        over = time.monotonic()
        await expect(row.locator("[id$=-inflight]")).to_have_text("0", timeout=UPDATE_SECONDS * 1000)


async def test_drain_drains_and_undrain_brings_back(site: Site, browser: Browser) -> None:
    async with opened(browser, site.gateway.url) as seen:
        page = await seen.go("fleet")
        await page.keyboard.press("/")
        await page.keyboard.type("chat-2")
        await expect(page.locator("#fleet-counts")).to_contain_text("1 of")
        await page.locator("#grid").focus()
        for key in ("ArrowDown", "Enter"):
            await page.keyboard.press(key)
        detail = page.locator("#detail")
        await expect(detail.locator("#detail-title")).to_have_text("chat-2")
        await detail.locator("#drain").click()
        await expect(page.locator("#confirm-text")).to_contain_text("takes nothing new, on every replica")
        await expect(page.locator("#confirm-text")).to_contain_text("2 workers of chat stay up")
        await page.keyboard.press("Escape")
        assert site.http.get("/admin/v1/workers/chat-2").json()["drained"] is None, "who says no does nothing"
        await detail.locator("#drain").click()
        await page.locator("#drain-why").fill("a new driver")
        await page.locator("#confirm-yes").click()
        await expect(detail.locator(".state.big")).to_have_text("■ drained: a new driver")
        await expect(detail.locator("[role=status]")).to_contain_text("chat-2", timeout=1000)
        assert site.http.get("/admin/v1/workers/chat-2").json()["drained"]["reason"] == "a new driver"
        served = {site.chat("chat").headers["x-gateway-upstream"] for _ in range(8)}
        assert "chat-2" not in served
        await detail.locator("#undrain").click()
        await page.locator("#confirm-yes").click()
        await expect(detail.locator("#drain")).to_be_visible()
        assert site.http.get("/admin/v1/workers/chat-2").json()["drained"] is None


async def test_a_trial_is_started_stopped_and_promoted(site: Site, browser: Browser, tmp_path: Path) -> None:
    files = folder_of(LANES, site.fleet)
    files["routing.yaml"]["rules"][1]["name"] = "chat-by-another-name"
    write_folder(tmp_path / "next", files)
    (tmp_path / "next" / "README.md").write_text("not a policy")
    old = site.http.get("/admin/v1/policies").json()["in_force"]
    async with opened(browser, site.gateway.url) as seen:
        page = await seen.go("policy")
        for ending in ("#stop-trial", "#promote"):
            await page.locator("#folder").set_input_files(tmp_path / "next")
            await expect(page.locator("#folder-note")).not_to_contain_text("README")
            await page.locator("#rollout button[type=submit]").click()
            await expect(page.locator("#confirm-text")).to_contain_text("nothing follows from that")
            await page.locator("#confirm-yes").click()
            await page.locator(ending).click()
            await expect(page.locator("#confirm-text")).to_contain_text(old)
            await page.locator("#confirm-yes").click()
            await expect(page.locator("#rollout")).to_be_visible()
        told = site.http.get("/admin/v1/policies").json()
        assert told["in_force"] != old
        await expect(page.locator("#policy")).to_contain_text(told["in_force"])


async def test_what_is_promoted_is_what_was_looked_at(site: Site, browser: Browser, tmp_path: Path) -> None:
    """While an operator reads the dialog a colleague starts another trial: nothing is done, and the dialog says why."""
    for number in (1, 2):
        files = folder_of(LANES, site.fleet)
        files["routing.yaml"]["rules"][1]["name"] = f"chat-renamed-{number}"
        write_folder(tmp_path / str(number), files)
    old = site.http.get("/admin/v1/policies").json()["in_force"]
    seen_one = start_trial(site, tmp_path / "1")
    async with opened(browser, site.gateway.url) as seen:
        seen.expected = ("409",)
        page = await seen.go("policy")
        for button in ("#promote", "#stop-trial"):
            await expect(page.locator("#trial")).to_contain_text(seen_one)
            await page.locator(button).click()
            await expect(page.locator("#confirm-title")).to_contain_text(seen_one)
            other = start_trial(site, tmp_path / "2")
            await page.locator("#confirm-yes").click()
            await expect(page.locator("#confirm-fault")).to_contain_text(f"the candidate is {other} now")
            await expect(page.locator("#confirm-yes")).to_be_focused()
            assert await seen.violations() == []
            told = site.http.get("/admin/v1/policies/rollout").json()
            assert (told["in_force"], told["candidate"]["version"]) == (old, other)
            await page.keyboard.press("Escape")
            start_trial(site, tmp_path / "1")
        await page.locator("#stop-trial").click()
        await page.locator("#confirm-yes").click()
        await expect(page.locator("#toasts")).to_contain_text("the trial is over")
        await expect(page.locator("body > [role=status]")).to_contain_text("the trial is over")


def start_trial(site: Site, folder: Path) -> str:
    files = {path.name: path.read_text() for path in folder.iterdir()}
    started = site.http.post("/admin/v1/policies/rollout", json={"mode": "shadow", "files": files})
    version: str = started.json()["candidate"]
    return version


async def test_what_could_not_be_done_is_said_where_it_was_asked(site: Site, browser: Browser) -> None:
    async with opened(browser, site.gateway.url) as seen:
        seen.expected = ("ERR_FAILED",)
        page = await seen.go("fleet")
        await page.locator("#grid [role=gridcell]", has_text="chat-3").first.click()
        await page.locator("#drain").click()
        await page.route("**/drain", lambda route: route.abort())
        await page.locator("#confirm-yes").click()
        await expect(page.locator("#confirm-fault")).to_have_text("✕ Not done: the gateway does not answer")
        await expect(page.locator("#confirm-yes")).to_be_enabled()
        await page.locator("#confirm-no").click()
        await page.keyboard.press("Escape")
        await page.evaluate("location.hash = 'policy'")
        await page.locator("#folder").set_input_files(Path(__file__).parent)
        await page.locator("#rollout button[type=submit]").click()
        await expect(page.locator("#rollout-fault")).to_contain_text("YAML files directly in it")


async def test_a_late_answer_overwrites_no_newer_one(site: Site, browser: Browser) -> None:
    with site.occupied("tight"):
        spilled = site.chat("tight").headers["x-request-id"]
    local = site.chat("chat").headers["x-request-id"]
    for name in (spilled, local):
        site.receipt(name)
    async with opened(browser, site.gateway.url) as seen:
        page = await seen.go("receipts")
        let_go, held = asyncio.Event(), asyncio.Event()

        async def late(route: Route) -> None:
            answer = await route.fetch()
            held.set()
            await let_go.wait()
            await route.fulfill(response=answer)

        await page.route(re.compile(rf"receipts(\?.*outcome=spilled|/{spilled})"), late)
        for ask_late, ask, place, wanted, other in (
            (search_for(page, "spilled"), search_for(page, "local"), "#found", local, spilled),
            (tell_of(page, spilled), tell_of(page, local), "#story", local, spilled),
        ):
            let_go.clear()
            held.clear()
            await ask_late
            await held.wait()
            await ask
            shown = page.locator(place)
            await expect(shown).to_contain_text("local")
            before = await shown.inner_html()
            async with page.expect_event("requestfinished", lambda one: "spilled" in one.url or spilled in one.url):
                let_go.set()
            await page.evaluate("new Promise(requestAnimationFrame)")
            assert await shown.inner_html() == before
            assert wanted in before
            assert other not in before


async def search_for(page: Page, outcome: str) -> None:
    await page.locator("#r-id").fill("")
    await page.locator("#r-outcome").select_option(outcome)
    await page.locator("#search button[type=submit]").click()


async def tell_of(page: Page, name: str) -> None:
    await page.locator("#r-id").fill(name)
    await page.locator("#search button[type=submit]").click()


async def test_a_receipt_is_found_and_read(site: Site, browser: Browser) -> None:
    with site.occupied("tight"):
        name = site.chat("tight").headers["x-request-id"]
    site.receipt(name)
    async with opened(browser, site.gateway.url) as seen:
        page = await seen.go("receipts")
        await page.locator("#r-outcome").select_option("spilled")
        await page.locator("#search button[type=submit]").click()
        await page.locator(f"#found button[data-id='{name}']").click()
        await expect(page.locator("#story .headline")).to_contain_text("spilled tight-api")
        assert await page.locator("#story .story li").count() >= 2
        table = page.get_by_role("table", name="Candidates, in the order of the decision")
        await expect(table.get_by_role("columnheader")).to_have_count(7)
        upstreams = [one.split("\n")[0] for one in await table.get_by_role("rowheader").all_inner_texts()]
        assert upstreams == ["tight-1", "tight-api"], "as they were looked at"
        await expect(table.locator("tr.chosen")).to_contain_text("✓ took it")
        assert await seen.violations() == []
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        await page.locator("#story .scroll").focus()
        for column in (0, 1):
            box = await table.locator("tr.chosen > *").nth(column).bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= PHONE["width"], "who, and what became of it, without scrolling"
        await seen.picture("receipt-phone", whole=True)
        await page.set_viewport_size(DESK)  # type: ignore[arg-type]
        await seen.picture("receipt")
        await page.locator("#r-id").fill("no-such-request")
        seen.expected = ("404",)
        await page.locator("#search button[type=submit]").click()
        await expect(page.locator("#story .fault")).to_contain_text("no such receipt")


async def test_an_answer_of_an_older_replica_names_no_candidates(site: Site, browser: Browser) -> None:
    name = site.chat("chat").headers["x-request-id"]
    site.receipt(name)

    async def older(route: Route) -> None:
        told = await (await route.fetch()).json()
        del told["candidates"]
        await route.fulfill(json=told)

    async with opened(browser, site.gateway.url) as seen:
        page = await seen.go("receipts")
        await page.route(f"**/receipts/{name}", older)
        await tell_of(page, name)
        await expect(page.locator("#story .headline")).to_contain_text("local chat-")


async def test_explain_tells_and_keeps_nothing(site: Site, browser: Browser) -> None:
    asked = {"model": "chat", "messages": [{"role": "user", "content": SECRET}]}
    async with opened(browser, site.gateway.url) as seen:
        page = await seen.go("explain")
        await page.locator("#request").fill(
            json.dumps({"tenant": "acme", "path": "/v1/chat/completions", "body": asked})
        )
        await page.locator("#explain button[type=submit]").click()
        await expect(page.locator("#decision .headline")).to_contain_text("local → chat-")
        await seen.picture("explain")
        with site.occupied("tight"):
            await page.evaluate("location.hash = 'fleet'")
            await expect(page.locator("#grid [role=row]", has_text="tight-1").locator("[id$=-inflight]")).to_have_text(
                "1"
            )
            await page.evaluate("location.hash = 'explain'")
            await page.locator("#request").fill(json.dumps({"tenant": "acme", "body": {**asked, "model": "tight"}}))
            await page.locator("#explain button[type=submit]").click()
            rows = page.get_by_role("region", name="Who could take it").get_by_role("row")
            await expect(rows.filter(has_text="tight-1")).to_contain_text("○ no room: 1 of 1 seat taken")
            await expect(rows.filter(has_text="tight-api")).to_contain_text("✓ takes it")
            kept = {"tenant": "acme", "headers": LOCAL, "body": {**asked, "model": "tight"}}
            await page.locator("#request").fill(json.dumps(kept))
            await page.locator("#explain button[type=submit]").click()
            await expect(rows.filter(has_text="tight-1")).to_contain_text(re.compile("✓ takes it, in about .* s"))
            await seen.picture("explain-full")
        await page.locator("#request").fill(f'{{"model": {SECRET}')
        await page.keyboard.press("Control+Enter")
        await page.locator("#explain button[type=submit]").click()
        await expect(page.locator("#explain-fault")).to_have_text("✕ This is not JSON.")
        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, location.href, document.cookie, history.state])"
        assert SECRET not in await page.evaluate(kept)
        assert SECRET not in str(await page.context.storage_state())
        assert SECRET not in " ".join((*seen.asked, *seen.said))
        await page.reload()
        assert await page.locator("#request").input_value() == ""
        await page.locator("#example").click()
        await expect(page.locator("#request")).to_have_value(re.compile("acme"))
    assert SECRET not in site.logged()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_every_view(site: Site, browser: Browser, scheme: str) -> None:
    async with opened(browser, site.gateway.url, color_scheme=scheme) as seen:
        page = await seen.go()
        for size, name in ((DESK, "desk"), (PHONE, "phone")):
            await page.set_viewport_size(size)  # type: ignore[arg-type]
            for view in VIEWS:
                await page.evaluate(f"location.hash = '{view}'")
                await expect(page.locator(f"#view-{view}")).to_be_visible()
                if size is DESK or scheme == "light":  # colours are the same for every size
                    assert await seen.violations() == [], (view, name)
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= size["width"], f"{view} is wider than {name}"
                await seen.picture(f"{view}-{name}-{scheme}", whole=name == "phone")


async def test_dialogs_too_and_the_keys(site: Site, browser: Browser) -> None:
    async with opened(browser, site.gateway.url) as seen:
        page = await seen.go()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main", "the skip link"
        await page.keyboard.press("?")
        await expect(page.locator("#help")).to_be_visible()
        assert await seen.violations() == []
        await page.keyboard.press("Escape")
        await page.keyboard.press("t")
        await page.keyboard.press("t")
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await page.keyboard.press("2")
        await expect(page.locator("#view-fleet")).to_be_visible()
        await page.locator("#grid [role=gridcell]", has_text="chat-1").first.click()
        await expect(page.locator("#detail")).to_be_visible()
        assert await seen.violations() == []
        await page.keyboard.press("Escape")
        assert await page.evaluate("document.activeElement.id") == "grid", "back to where it was opened"
        await page.keyboard.press("p")
        await expect(page.locator("#link-text")).to_contain_text("Paused at")

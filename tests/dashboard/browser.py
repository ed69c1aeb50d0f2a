"""The dashboard in a real, headless Chromium: what a page did, besides what it shows."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from fastapi import FastAPI
from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, Request, expect

from loadtests.stack import ROOT, free_port

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_CHROMIUM = "no chromium, chromium-browser or google-chrome on the PATH: the dashboard's page is not tried here"
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
]
"""A browser that speaks to nobody of its own accord."""
PICTURES = ROOT / "loadtests" / "out" / "dashboard"
"""Where screenshots are left to be looked at."""
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}
PATIENCE_MS = 8000


@contextmanager
def stand_in(app: FastAPI) -> Iterator[str]:
    """The address of the page before a made-up gateway, on a thread of this process. Skips where no browser is."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    port = free_port()
    config = uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(5)


async def launch(playwright: Playwright) -> Browser:
    return await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@dataclass  # without slots: the driver keeps its handlers here
class Seen:
    """A page, and what it must not have done."""

    page: Page
    url: str
    hosts: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """All that was written to the console, errors of scripts included."""
    expected: tuple[str, ...] = ()
    """Parts of what the console may say: a refused call is told there by the browser itself."""

    def listen(self) -> None:
        self.page.on("request", self._on_request)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda fault: self.said.append(f"pageerror: {fault}"))

    def check(self) -> None:
        strangers = self.hosts - {urlsplit(self.url).netloc}
        told = [one for one in self.said if not any(part in one for part in self.expected)]
        assert not strangers, strangers
        assert not told, told

    async def go(self, view: str = "overview") -> Page:
        """To that view, with what the feed told first."""
        await self.page.goto(f"{self.url}/dashboard#{view}")
        await expect(self.page.locator("#link-text")).to_have_text("Connected")
        return self.page

    async def picture(self, name: str, *, whole: bool = False) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=picture(name), full_page=whole)

    async def violations(self) -> list[str]:
        """What axe-core finds: rule and places."""
        found: dict[str, Any] = (await Axe().run(self.page)).response
        return [
            f"{one['id']}: {', '.join(str(node['target']) for node in one['nodes'])}" for one in found["violations"]
        ]

    def _on_request(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)
        self.asked.append(request.url)

    def _on_console(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")


def picture(name: str) -> Path:
    return PICTURES / f"{name}.png"


@asynccontextmanager
async def opened(browser: Browser, url: str, **options: Any) -> AsyncIterator[Seen]:
    """A fresh profile; checked at the end of the block."""
    context = await browser.new_context(**{"viewport": DESK, "color_scheme": "light", **options})
    context.set_default_timeout(PATIENCE_MS)
    seen = Seen(await context.new_page(), url)
    seen.listen()
    try:
        yield seen
        seen.check()
    finally:
        await context.close()

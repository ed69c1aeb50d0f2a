"""Looking at workers over real sockets: which engine it is, what it tells, what its lies and restarts do."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from engine_pages import SGLANG_PAGE, STARTED, SURFACES, VLLM_PAGE, Answers, models, text, told

from gateway.errors import BadPage, ConnectFailed, UpstreamFault
from gateway.model import Upstream
from gateway.upstreams.client import PROBE_PAGE_BYTES, Client
from gateway.upstreams.workers import DETAIL_BYTES, DETAIL_SECONDS, LIST_SECONDS, Workers
from tests import worlds
from tests.certificates import Authority
from tests.upstreams.http1.rawserver import HI, Peer, RawServer, always

LOOPBACK = (ip_network("127.0.0.0/8"),)
HTML = b"<html><body>Sign in</body></html>"


class Site(RawServer):
    """A worker that answers `pages`, which a test may change, and counts what it is asked."""

    def __init__(self, pages: Answers) -> None:
        super().__init__(self._answer)
        self.pages = dict(pages)
        self.asked = Counter[str]()
        self.keys: set[bytes | None] = set()

    async def _answer(self, peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            path = request.line.split()[1].decode()
            self.asked[path] += 1
            self.keys.add(request.headers.get(b"authorization"))
            status, body = self.pages.get(path, (404, b'{"detail":"Not Found"}'))
            await peer.send(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    client = Client()
    yield Workers(client)
    await client.aclose()


def at(server: RawServer, engine: str = "auto", **changes: Any) -> Upstream:
    return worlds.upstream(
        "w", "gpu", url=f"http://127.0.0.1:{server.port}", networks=LOOPBACK, engine=engine, **changes
    )


VERSIONS = {
    "vllm": "0.33.0",
    "sglang": "0.5.23",
    "trtllm": "1.3.0",
    "triton": "2.60.0",
    "tgi": "3.3.6",
    "llamacpp": "b9999-abc",
    "nim": "1.15.0",
    "vllm-omni": "0.30.0",
    "sglang-diffusion": None,
    "comfyui": "0.9.1",
}
SEATS = {"sglang": 256, "trtllm": 64, "triton": 512, "tgi": 128, "llamacpp": 4, "nim": 128, "comfyui": 1}


ANY_NAME = {"comfyui", "trtllm", "tgi", "llamacpp"}
"""They serve whatever model is named, so that a list would only keep requests away."""


@pytest.mark.parametrize("engine", SURFACES)
@pytest.mark.parametrize("stated", ["auto", None])
async def test_each_engine_is_found_and_read(workers: Workers, engine: str, stated: str | None) -> None:
    async with Site(SURFACES[engine]) as site:
        found = await workers.look(at(site, stated or engine))
        assert (found.engine, found.version, found.seats) == (engine, VERSIONS[engine], SEATS.get(engine))
        assert found.healthy
        assert found.running is not None
        assert found.waiting is not None
        assert found.models == (None if engine in ANY_NAME else ("base", "lora") if engine == "vllm" else ("base",))
        asked = site.asked.copy()
        await workers.look(at(site, stated or engine))
        again = site.asked - asked
        assert again.total() == 1, "it is found out once, and details are asked for less often"


async def test_trtllm_is_read_by_its_gauges_where_it_has_them_and_else_by_its_records(workers: Workers) -> None:
    async with Site(SURFACES["trtllm"]) as site:
        await workers.look(at(site))
        await workers.look(at(site))
        assert (site.asked["/metrics"], site.asked["/prometheus/metrics"]) == (1, 2)
    pages = {path: answer for path, answer in SURFACES["trtllm"].items() if "prometheus" not in path}
    async with Site(pages) as site:
        found = await workers.look(at(site))
        assert (found.engine, found.running, found.waiting) == ("trtllm", 5, 2)


async def test_sglang_without_metrics_is_found_by_its_loads(workers: Workers) -> None:
    loads = told({"loads": [{"dp_rank": 0, "num_running_reqs": 3, "num_waiting_reqs": 1, "token_usage": 0.1}]})
    async with Site({"/v1/loads?include=core": loads}) as site:
        found = await workers.look(at(site))
        assert (found.engine, found.running, found.waiting) == ("sglang", 3, 1)


async def test_metrics_may_have_an_address_of_their_own(workers: Workers) -> None:
    async with Site({"/v1/models": models("base")}) as api, Site(SURFACES["triton"]) as monitor:
        found = await workers.look(at(api, metrics=f"http://127.0.0.1:{monitor.port}/metrics", key="secret"))
        assert (found.engine, found.running, found.models) == ("triton", 6, ("base",))
        assert (api.keys, monitor.keys) == ({b"bearer secret"}, {None})


async def test_a_stated_engine_is_not_second_guessed_but_another_ones_page_is_said_once(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    async with Site(SURFACES["vllm"]) as site:
        with caplog.at_level(logging.INFO, "gateway"):
            for _ in range(3):
                with pytest.raises(BadPage) as fault:
                    await workers.look(at(site, "tgi"))
                assert fault.value.reason == "other_engine"
        said = [record for record in caplog.records if record.levelname == "ERROR"]
        assert [record.__dict__["fields"] for record in said] == [{"upstream": "w", "stated": "tgi", "found": "vllm"}]


async def test_a_worker_that_became_another_engine_is_found_again_at_once(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    async with Site(SURFACES["vllm"]) as site:
        assert (await workers.look(at(site))).engine == "vllm"
        site.pages = dict(SURFACES["sglang"])
        found = await workers.look(at(site))
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
        assert (found.engine, found.version, found.models) == ("sglang", "0.5.23", ("base",))


async def test_a_restart_is_asked_for_everything_again(workers: Workers) -> None:
    async with Site(SURFACES["vllm"]) as site:
        await workers.look(at(site))
        later = VLLM_PAGE.replace(repr(STARTED), repr(STARTED + 60))
        site.pages |= {"/metrics": text(later), "/v1/models": models("new"), "/version": told({"version": "0.34.0"})}
        found = await workers.look(at(site))
        assert (found.models, found.version, found.started) == (("new",), "0.34.0", STARTED + 60)


async def test_a_changed_model_is_noticed_with_the_next_details(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("gateway.upstreams.workers.time.monotonic", lambda: now[0])
    async with Site(SURFACES["vllm"]) as site:
        await workers.look(at(site))
        site.pages["/v1/models"] = models("base", lora="base", newer="base")
        seen = []
        for _ in range(4):
            now[0] += 0.5
            seen.append((await workers.look(at(site))).adapters)
        assert DETAIL_SECONDS <= 1
        assert seen == [("lora",), ("lora", "newer"), ("lora", "newer"), ("lora", "newer")]
        assert site.asked["/version"] == 1
        assert site.asked["/is_sleeping"] == 1, "it has none: not asked for again"


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        ((500, b""), True),
        ((200, b"not a list"), True),
        ((404, b""), True),
        (models(*(f"m{i}" for i in range(1000))), False),
        ((200, b" " * (DETAIL_BYTES + 1)), False),
    ],
    ids=["fails", "junk", "gone", "too many", "too long"],
)
async def test_a_list_that_can_no_longer_be_read_is_unknown(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes], held: bool
) -> None:
    now = [1000.0]
    monkeypatch.setattr("gateway.upstreams.workers.time.monotonic", lambda: now[0])
    async with Site(SURFACES["vllm"]) as site:
        assert (await workers.look(at(site))).models == ("base", "lora")
        good, site.pages["/v1/models"] = site.pages["/v1/models"], answer
        seen = {}
        while now[0] < 1000 + LIST_SECONDS + 1:
            now[0] += 1
            found = await workers.look(at(site))
            seen[now[0] - 1000] = (found.models, found.adapters, found.version)
        until = LIST_SECONDS if held else 1  # the next time that it is asked for
        for seconds, row in seen.items():
            lists = (("base", "lora"), ("lora",)) if seconds <= until else (None, ())
            assert row == (*lists, "0.33.0"), seconds
        if answer[0] != 404:
            site.pages["/v1/models"] = good
            for _ in range(2):
                now[0] += 1
                found = await workers.look(at(site))
            assert found.models == ("base", "lora")


async def test_a_list_that_is_seldom_asked_for_is_held_between_two_looks(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("gateway.upstreams.workers.time.monotonic", lambda: now[0])
    async with Site(SURFACES["vllm"]) as site:
        for _ in range(8):
            assert (await workers.look(at(site))).models == ("base", "lora")
            now[0] += 5.5


async def test_a_worker_that_is_not_ready_says_so(workers: Workers) -> None:
    async with Site({**SURFACES["vllm"], "/health": (503, b"")}) as site:
        found = await workers.look(at(site))
        assert (found.healthy, found.reason) == (False, "not_ready")
        site.pages["/health"] = (200, b"")
        workers._known["w"].detailed = float("-inf")
        found = await workers.look(at(site))
        assert (found.healthy, found.reason) == (True, None)
    async with Site(dict.fromkeys(("/metrics",), (503, b'{"error":{"code":503,"message":"Loading model"}}'))) as site:
        with pytest.raises(BadPage) as fault:
            await workers.look(at(site, "llamacpp"))
        assert fault.value.reason == "not_ready"


async def test_what_is_missing_is_named_once_in_a_life(workers: Workers, caplog: pytest.LogCaptureFixture) -> None:
    renamed = VLLM_PAGE.replace("vllm:num_requests_waiting{", "vllm:num_requests_queued{")
    async with Site({**SURFACES["vllm"], "/metrics": text(renamed)}) as site:
        with caplog.at_level(logging.WARNING, "gateway"):
            for _ in range(3):
                found = await workers.look(at(site))
        assert (found.running, found.waiting, found.missing) == (5, None, ("vllm:num_requests_waiting",))
        assert [record.__dict__["fields"]["missing"] for record in caplog.records] == [["vllm:num_requests_waiting"]]
        site.pages["/metrics"] = text(renamed.replace(repr(STARTED), repr(STARTED + 60)))
        with caplog.at_level(logging.WARNING, "gateway"):
            await workers.look(at(site))
        assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, HTML), "not_metrics"),
        ((302, b""), "redirected"),
        ((401, b""), "key_refused"),
        ((503, b""), "not_ready"),
        ((500, b""), "no_metrics"),
        ((200, SGLANG_PAGE.encode()), "other_engine"),
        ((200, b"#" * (PROBE_PAGE_BYTES + 1)), "page_too_long"),
    ],
)
async def test_a_page_that_is_none_says_why(workers: Workers, answer: tuple[int, bytes], reason: str) -> None:
    async with Site({"/metrics": answer}) as site:
        with pytest.raises(UpstreamFault) as fault:
            await workers.look(at(site, "vllm"))
        assert fault.value.reason == reason
        assert fault.value.processed


async def test_a_wrong_certificate_says_so(workers: Workers, tmp_path: Path) -> None:
    pair = Authority.make(tmp_path).issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    async with RawServer(always(HI), tls=context) as server:
        with pytest.raises(ConnectFailed) as fault:
            await workers.look(replace(at(server), url=f"https://127.0.0.1:{server.port}"))
        assert fault.value.reason == "tls"


async def test_a_model_list_of_megabytes_is_not_kept(workers: Workers) -> None:
    crowd = models(*(f"m{i}" for i in range(10_000)))
    async with Site({**SURFACES["vllm"], "/v1/models": crowd}) as site:
        found = await workers.look(at(site))
        assert (found.models, found.running) == (None, 5)


async def test_what_the_policy_does_not_name_is_forgotten(workers: Workers) -> None:
    async with Site(SURFACES["vllm"]) as site:
        await workers.look(at(site))
        workers.keep(replace(worlds.policy(), upstreams={"w": at(site)}))
        assert workers._known
        workers.keep(worlds.policy())
        assert not workers._known

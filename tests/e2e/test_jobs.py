"""Films and pictures in the background, through a real gateway: what callers, SDKs and webhooks see of them."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis
from standardwebhooks import Webhook

from tests.gateways import LOCAL, OTHER_KEY, Lane, Site, eventually
from tests.hook_receiver import hearing

SECRET = "whsec_" + base64.b64encode(b"a secret of these tests alone...").decode()
ENGINE: dict[str, Any] = {"worker": {"engine": "vllm-omni"}, "cloud": False, "seats": 4}
FILM = Lane("film", sim={"engine": "vllm-omni", "unit_s": 0.02}, model={"modality": "video"}, **ENGINE)
LONG = Lane("long", sim={"engine": "vllm-omni", "unit_s": 30.0}, model={"modality": "video"}, **ENGINE)
DRAW = Lane("draw", sim={"engine": "vllm-omni", "unit_s": 0.02}, model={"modality": "image"}, **ENGINE)
LANES = [FILM, LONG, DRAW]
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")
ENV = {
    "GATEWAY_ARTEFACTS_FLOOR": "0",
    "GATEWAY_WEBHOOK_SECRET": SECRET,
    "GATEWAY_WEBHOOK_HOSTS": "127.0.0.1",
}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def film(site: Site, model: str = "film", wait: float | None = 20, **more: Any) -> httpx.Response:
    body = {"model": model, "prompt": "a cat", "seconds": "4", "size": "720x1280", **more}
    return site.http.post("/v1/videos", params={} if wait is None else {"wait": wait}, json=body)


def running(site: Site) -> str:
    """A film that takes minutes, once a worker has it."""
    made = film(site, "long", wait=None)
    assert made.status_code == httpx.codes.OK, made.text
    id = str(made.json()["id"])
    eventually(lambda: job(site, id)["tries"] and job(site, id)["tries"][0]["placed"], "a worker has it")
    return id


def job(site: Site, id: str) -> dict[str, Any]:
    found: dict[str, Any] = site.http.get(f"/v1/gateway/jobs/{id}").json()
    return found


def test_the_official_sdk(site: Site) -> None:
    with site.sdk() as sdk:
        made = sdk.videos.create_and_poll(
            model="film",
            prompt="a cat",
            seconds="4",
            size="720x1280",
            input_reference=("x.png", PNG),
            poll_interval_ms=50,
        )
        assert (made.status, made.progress, made.seconds, made.size) == ("completed", 100, "4", "720x1280")
        assert made.object == "video"
        assert made.completed_at is not None
        assert made.completed_at >= made.created_at
        assert sdk.videos.download_content(made.id).read()[4:8] == b"ftyp"
        assert sdk.videos.retrieve(made.id) == made
        assert made in list(sdk.videos.list(limit=1, order="asc"))
        assert sdk.videos.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError):
            sdk.videos.retrieve(made.id)


def test_a_job_tells_all_of_itself_and_what_it_cost(site: Site) -> None:
    made = film(site)
    assert made.json()["status"] == "completed", made.text
    id = made.json()["id"]
    site.receipt(made)
    whole = job(site, id)
    assert (whole["state"], whole["percent"], whole["endpoint"]) == ("succeeded", 100, "videos")
    assert whole["receipt"] == made.headers["x-request-id"]
    assert whole["created_at"] <= whole["started_at"] <= whole["ended_at"] < whole["deadline"] < whole["expires_at"]
    (tried,) = whole["tries"]
    assert (tried["upstream"], tried["result"], tried["placed"], tried["managed"]) == (
        "film-1",
        "answered",
        True,
        False,
    )
    (kept,) = whole["artefacts"]
    assert kept["name"] == "video"
    assert len(site.http.get(kept["url"]).content) == kept["bytes"]
    assert whole["cost"]["basis"] == "amortised"


def test_downloads_in_whole_and_in_part(site: Site) -> None:
    path = f"/v1/videos/{film(site).json()['id']}/content"
    got = site.http.get(path)
    data, etag = got.content, got.headers["etag"]
    assert got.headers["content-type"] == "video/mp4"
    assert got.headers["content-disposition"].startswith('attachment; filename="video_')
    assert got.headers["content-disposition"].endswith('.mp4"')
    part = site.http.get(path, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, data[4:8])
    assert part.headers["content-range"] == f"bytes 4-7/{len(data)}"
    assert site.http.get(path, headers={"Range": "bytes=-3"}).content == data[-3:]
    stale = site.http.get(path, headers={"Range": "bytes=4-7", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, data)
    assert site.http.get(path, headers={"Range": "bytes=4-7", "If-Range": etag}).status_code == 206
    beyond = site.http.get(path, headers={"Range": f"bytes={len(data)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
    assert site.http.get(path, headers={"If-None-Match": etag}).status_code == 304
    head = site.http.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))
    assert site.http.get(path, params={"variant": "thumbnail"}).status_code == 404
    assert site.http.get(path, params={"variant": "poster"}).json()["error"]["param"] == "variant"


def test_a_file_that_this_replica_does_not_have(site: Site) -> None:
    id = film(site).json()["id"]
    for kept in (site.data / "artefacts").rglob("*"):
        if kept.is_file():
            kept.unlink()
    for method in ("GET", "HEAD"):
        assert site.http.request(method, f"/v1/videos/{id}/content").status_code == 409
    assert site.http.get(f"/v1/videos/{id}/content").json()["error"]["code"] == "state_elsewhere"


def test_a_job_is_nobody_elses(site: Site) -> None:
    id = film(site).json()["id"]
    other = {"Authorization": f"Bearer {OTHER_KEY}"}
    for forged in (id, id[:-1] + ("0" if id[-1] != "0" else "1"), "video_" + "0" * 48, "x", "..%2f..%2fetc"):
        headers = other if forged == id else None
        for method, path in (
            ("GET", f"/v1/videos/{forged}"),
            ("GET", f"/v1/videos/{forged}/content"),
            ("HEAD", f"/v1/videos/{forged}/content"),
            ("DELETE", f"/v1/videos/{forged}"),
            ("DELETE", f"/v1/gateway/jobs/{forged}"),
            ("GET", f"/v1/gateway/jobs/{forged}"),
            ("POST", f"/v1/gateway/jobs/{forged}/cancel"),
            ("GET", f"/v1/gateway/jobs/{forged}/events"),
            ("GET", f"/v1/gateway/jobs/{forged}/artefacts/video"),
        ):
            answer = site.http.request(method, path, headers=headers)
            code = "not_found" if method == "HEAD" else answer.json()["error"]["code"]
            assert (answer.status_code, code) == (404, "not_found"), (method, path)
    assert site.http.get("/v1/videos", headers=other).json()["data"] == []
    assert site.http.get("/v1/videos", params={"after": id}, headers=other).status_code == 404
    assert httpx.get(f"{site.gateway.url}/v1/videos/{id}", trust_env=False).status_code == 401
    assert job(site, id)["state"] == "succeeded"
    receipt = f"/v1/gateway/receipts/{job(site, id)['receipt']}"
    eventually(lambda: site.http.get(receipt).status_code == 200, "its receipt")
    assert site.http.get(receipt, headers=other).status_code == 404


def test_an_idempotency_key_is_its_tenants(site: Site) -> None:
    body, once = {"model": "film", "prompt": "mine"}, {"Idempotency-Key": "shared"}
    mine = site.http.post("/v1/videos", json=body, headers=once).json()["id"]
    theirs = site.http.post(
        "/v1/videos", json={**body, "prompt": "theirs"}, headers={**once, "Authorization": f"Bearer {OTHER_KEY}"}
    )
    assert (theirs.status_code, theirs.json()["id"] != mine) == (200, True)
    assert site.http.post("/v1/videos", json={**body, "prompt": "x"}, headers=once).status_code == 409
    drawn = {"model": "draw", "prompt": "mine", "background": True}
    assert site.http.post("/v1/images/generations", json=drawn, headers=once).status_code == 409


@pytest.mark.parametrize(
    "field",
    [
        *("reference_url", "output_path", "extra_body", "lora", "source_video", "video_reference", "image_reference"),
        *("input_references", "control_reference", "diffusers_kwargs", "perf_dump_path"),
    ],
)
def test_what_workers_would_fetch_or_open_is_refused_at_once(site: Site, field: str) -> None:
    for value in ("http://169.254.169.254/latest", "/etc/passwd"):
        answer = film(site, wait=None, **{field: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), answer.text


@pytest.mark.parametrize("host", ["localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"])
def test_no_webhook_goes_inside(site: Site, host: str) -> None:
    """Nobody can tell by the name where it leads: that is looked at as it connects, and nobody is called."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.0)
        hook = f"https://{host}:{listening.getsockname()[1]}/"
        before = site.metric("gateway_job_webhooks_total", result="failed") or 0
        made = site.http.post(
            "/v1/videos?wait=20", json={"model": "film", "prompt": "x"}, headers={"X-Gateway-Webhook": hook}
        )
        assert made.json()["status"] == "completed", made.text
        eventually(lambda: (site.metric("gateway_job_webhooks_total", result="failed") or 0) > before, "it was tried")
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_pages(site: Site) -> None:
    made = [film(site).json()["id"] for _ in range(3)]
    newest = site.http.get("/v1/videos", params={"limit": 2}).json()
    assert [one["id"] for one in newest["data"]] == made[:0:-1]
    assert newest["has_more"]
    following = site.http.get("/v1/videos", params={"limit": 1, "after": made[1]}).json()
    assert [one["id"] for one in following["data"]] == made[:1]
    after = site.http.get("/v1/videos", params={"order": "asc", "after": made[0]}).json()
    assert [one["id"] for one in after["data"]] == made[1:]
    drawn = site.http.post("/v1/images/generations", json={"model": "draw", "prompt": "x", "background": True})
    ids = [one["id"] for one in site.http.get("/v1/gateway/jobs").json()["data"]]
    assert ids[0] == drawn.json()["id"]
    assert drawn.json()["id"] not in [one["id"] for one in site.http.get("/v1/videos").json()["data"]]
    for wrong in ({"limit": "-1"}, {"limit": "x"}, {"order": "up"}):
        assert site.http.get("/v1/videos", params=wrong).json()["error"]["param"] in wrong


def test_pictures_in_the_background(site: Site) -> None:
    body = {"model": "draw", "prompt": "a cat", "n": 2, "background": True}
    made = site.http.post("/v1/images/generations", json=body)
    assert made.status_code == 202
    assert made.json()["object"] == "job"
    ended = site.http.get(f"/v1/gateway/jobs/{made.json()['id']}", params={"wait": 20}).json()
    assert (ended["state"], [one["name"] for one in ended["artefacts"]]) == ("succeeded", ["image-0", "image-1"])
    for one in ended["artefacts"]:
        got = site.http.get(one["url"])
        assert (got.headers["content-type"], got.content[:8]) == ("image/png", PNG[:8])
    assert site.http.get(f"/v1/videos/{ended['id']}").status_code == 404, "it is no video"
    streamed = site.http.post("/v1/images/generations", json={**body, "stream": True})
    assert (streamed.status_code, streamed.json()["error"]["param"]) == (400, "stream")
    waited = site.http.post("/v1/images/generations", json={**body, "background": "opaque"})
    assert len(waited.json()["data"]) == 2, "a word is OpenAI's own"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"seconds": 0}, "seconds"),
        ({"seconds": "0"}, "seconds"),
        ({"seconds": -4}, "seconds"),
        ({"seconds": "four"}, "seconds"),
        ({"seconds": "1e3"}, "seconds"),
        ({"seconds": []}, "seconds"),
        ({"size": "big"}, "size"),
        ({"size": "0x720"}, "size"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"n": 0}, "n"),
        ({"input_reference": "not a picture"}, "input_reference"),
        ({"input_reference": {"file_id": "file-1"}}, "input_reference"),
        ({"input_reference": {"image_url": "http://169.254.169.254/latest"}}, "input_reference"),
    ],
)
def test_bad_input_is_refused_at_once(site: Site, wrong: dict[str, Any], param: str) -> None:
    answer = film(site, wait=None, **wrong)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_what_would_be_refused_later_is_refused_at_once(site: Site) -> None:
    assert film(site, "none").json()["error"]["code"] == "model_not_found"
    narrow = httpx.post(
        f"{site.gateway.url}/v1/videos",
        json={"model": "film", "prompt": "x"},
        headers={"Authorization": "Bearer key-narrow"},
        trust_env=False,
    )
    assert narrow.json()["error"]["code"] == "model_not_allowed"
    zone = site.http.post("/v1/videos", json={"model": "film", "prompt": "x"}, headers={"X-Data-Residency": "eu"})
    assert (zone.status_code, zone.json()["error"]["code"]) == (403, "residency_refused"), (
        "its results lie nowhere known"
    )
    ours = site.http.post("/v1/videos?wait=20", json={"model": "film", "prompt": "x"}, headers=LOCAL)
    assert ours.json()["status"] == "completed", "the folder is on our own machine"
    for header, value in (
        ("X-Gateway-Webhook", "http://10.0.0.1/"),
        ("X-Gateway-Webhook", "ftp://x"),
        ("Idempotency-Key", ""),
    ):
        answer = site.http.post("/v1/videos", json={"model": "film", "prompt": "x"}, headers={header: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, header)
    assert (
        site.http.post("/v1/videos?wait=soon", json={"model": "film", "prompt": "x"}).json()["error"]["param"] == "wait"
    )


def test_one_idempotency_key_is_one_job(site: Site) -> None:
    before = len(site.fleet.requests("film-1"))
    with site.sdk() as sdk:
        given: dict[str, Any] = {"model": "film", "prompt": "once", "seconds": "4", "input_reference": ("x.png", PNG)}
        made = [sdk.videos.create(**given, extra_headers={"Idempotency-Key": "k1"}).id for _ in range(2)]
        with pytest.raises(openai.ConflictError, match="another body"):
            sdk.videos.create(model="film", prompt="twice", extra_headers={"Idempotency-Key": "k1"})
    assert made[0] == made[1]
    site.http.get(f"/v1/videos/{made[0]}", params={"wait": 20})
    posted = [one for one in site.fleet.requests("film-1")[before:] if one["path"].endswith("/videos")]
    assert len(posted) == 1


def test_a_running_job_is_cancelled_at_its_worker_too(site: Site) -> None:
    id = running(site)
    assert site.http.get(f"/v1/videos/{id}/content").status_code == 404, "there is nothing of it yet"
    asked = site.http.post(f"/v1/gateway/jobs/{id}/cancel").json()
    assert asked["cancel_requested"]
    ended = site.http.get(f"/v1/gateway/jobs/{id}", params={"wait": 20}).json()
    assert ended["state"] == "cancelled"
    seen = site.http.get(f"/v1/videos/{id}").json()
    assert (seen["status"], seen["error"]["code"]) == ("failed", "cancelled")
    eventually(lambda: site.fleet.state("long-1")["running"] == 0, "its worker has stopped")
    site.quiet("long")


def test_deleting_one_that_runs_cancels_it_and_its_record_goes_with_the_next(site: Site) -> None:
    id = running(site)
    assert site.http.delete(f"/v1/videos/{id}").json() == {"id": id, "object": "video.deleted", "deleted": True}
    eventually(lambda: job(site, id)["state"] == "cancelled", "it is over")
    site.http.delete(f"/v1/videos/{id}")
    assert site.http.get(f"/v1/videos/{id}").status_code == 404


def test_events(site: Site) -> None:
    id = running(site)
    seen: list[tuple[str, str]] = []
    with site.http.stream("GET", f"/v1/gateway/jobs/{id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for block in frames(answer):
            seen.append((block["event"], json.loads(block["data"])["state"]))
            if len(seen) == 1:
                site.http.post(f"/v1/gateway/jobs/{id}/cancel")
    assert seen[0] == ("state", "running")
    assert seen[-1] == ("state", "cancelled"), "it ends with its job"
    last = {"Last-Event-ID": "1050"}
    with site.http.stream("GET", f"/v1/gateway/jobs/{id}/events", headers=last) as answer:
        (only,) = frames(answer)
    assert int(only["id"]) > 1050
    with site.http.stream("GET", f"/v1/gateway/jobs/{id}/events", headers={"Last-Event-ID": only["id"]}) as answer:
        assert list(frames(answer)) == []


def frames(answer: httpx.Response) -> Any:
    block: dict[str, str] = {}
    for line in answer.iter_lines():
        if not line and block:
            yield block
            block = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            block[name] = value


def test_webhooks_are_signed_and_say_how_it_ended(site: Site) -> None:
    with hearing(204) as heard:
        body = {"model": "film", "prompt": "x"}
        made = site.http.post("/v1/videos", json=body, headers={"X-Gateway-Webhook": heard.url}).json()
        eventually(lambda: heard.seen, "it is told", 10)
        headers, raw = heard.seen[0]
        told = Webhook(SECRET).verify(raw, headers)
        assert (told["type"], told["data"]["id"]) == ("video.completed", made["id"])
        assert headers["webhook-id"] == told["id"]
        with site.sdk(webhook_secret=SECRET) as sdk:
            sdk.webhooks.verify_signature(raw, headers)
        drawn = {"model": "draw", "prompt": "x", "background": True}
        site.http.post("/v1/images/generations", json=drawn, headers={"X-Gateway-Webhook": heard.url})
        eventually(lambda: len(heard.seen) == 2, "that too", 10)
        assert json.loads(heard.seen[1][1])["type"] == "job.succeeded"
    assert site.metric("gateway_job_webhooks_total", result="taken") == 2


def test_nothing_of_a_caller_lies_readable_in_the_store(site: Site) -> None:
    made = film(site, "long", wait=None, prompt="a-very-secret-prompt")
    with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as client:
        kept = client.hgetall(f"gw:{{jobs}}:job:{made.json()['id']}")
    assert kept[b"sealed"]
    assert b"a-very-secret-prompt" not in b"".join(kept.values())
    site.http.delete(f"/v1/videos/{made.json()['id']}")
    assert "a-very-secret-prompt" not in Path(site.log).read_text()

"""What is wrong with a request for pictures or speech is said by the parameter's name, and nobody is asked."""

from __future__ import annotations

import base64
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.studio import Gallery, gallery, picture

MOST = 400_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    env = {"GATEWAY_MAX_BODY_BYTES": str(MOST), "GATEWAY_IMAGE_PIXELS": "1000000"}
    with gallery(tmp_path_factory.mktemp("gallery"), env) as running:
        yield running


@pytest.fixture
def asked(place: Gallery) -> Iterator[Gallery]:
    place.rehearse()
    yield place
    assert not place.seen, "somebody was asked"


def refused(answer: httpx.Response, status: int = 400) -> str | None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    name: str | None = error["param"]
    return name


def bomb(side: int = 60_000) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")


GENERATION: list[tuple[dict[str, Any], str]] = [
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": "2"}, "n"),
    ({"n": 1.5}, "n"),
    ({"size": "12y"}, "size"),
    ({"size": "0x100"}, "size"),
    ({"size": 1024}, "size"),
    ({"size": "1024x1024x3"}, "size"),
    ({"quality": "a b"}, "quality"),
    ({"quality": ["high"]}, "quality"),
    ({"output_format": "../png"}, "output_format"),
    ({"partial_images": 4}, "partial_images"),
    ({"partial_images": -1}, "partial_images"),
    ({"num_inference_steps": 0}, "num_inference_steps"),
    ({"stream": "yes"}, "stream"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": " \n"}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": "a" * 32_001}, "prompt"),
    ({"aspect_ratio": "wide"}, "aspect_ratio"),
    ({"image": "http://169.254.169.254/latest"}, "image"),
    ({"image_url": {"url": "HTTPS://example.com/a.png"}}, "image_url"),
    ({"images": [{"image_url": "http://10.0.0.1/"}]}, "images"),
    ({"mask": "http://localhost/"}, "mask"),
    ({"image": "bm90IGEgcGljdHVyZQ=="}, "image"),
    ({"image": "data:image/png,raw"}, "image"),
    ({"image": "***"}, "image"),
    ({"image": 7}, "image"),
    ({"image": {"file_id": "file-1"}}, "image"),
    ({"image": base64.b64encode(bomb()).decode()}, "image"),
    ({"image": base64.b64encode(picture()[:-20]).decode()}, "image"),
    ({"image": [base64.b64encode(picture()).decode()] * 17}, "image"),
    ({"model": None}, "model"),
]


@pytest.mark.parametrize(("change", "name"), GENERATION, ids=lambda value: str(value)[:40])
def test_generations(asked: Gallery, change: dict[str, Any], name: str) -> None:
    body = {"model": "pic", "prompt": "a fox", **change}
    assert refused(asked.site.http.post("/v1/images/generations", json=body)) == name


@pytest.mark.parametrize("background", [False, True], ids=["waits", "background"])
@pytest.mark.parametrize(
    ("change", "name", "supported"),
    [
        ({"size": "640x640"}, "size", "512x512"),
        ({"quality": "ultra"}, "quality", "low"),
        ({"output_format": "bmp"}, "output_format", "png"),
        ({"n": 3}, "n", "2"),
        ({"prompt": "a" * 10}, "prompt", "9"),
        ({"image": [base64.b64encode(picture()).decode()] * 2}, "image", "0 to 1"),
        ({"mask": base64.b64encode(picture()).decode()}, "mask", "no mask"),
        ({"partial_images": 1}, "partial_images", "piece by piece"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_a_model_cannot_do(
    asked: Gallery, change: dict[str, Any], name: str, supported: str, background: bool
) -> None:
    body = {"model": "pic-few", "prompt": "a fox", **change, **({"background": True} if background else {})}
    answer = asked.site.http.post("/v1/images/generations", json=body)
    assert refused(answer) == name
    assert supported in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "name", "supported"),
    [
        ({"voice": "nobody"}, "voice", "alloy"),
        ({"response_format": "mp3"}, "response_format", "wav"),
        ({"input": "a" * 10}, "input", "9"),
    ],
    ids=str,
)
def test_what_a_voice_cannot_do(asked: Gallery, change: dict[str, Any], name: str, supported: str) -> None:
    body = {"model": "voice-few", "input": "hello", "voice": "alloy", "response_format": "wav", **change}
    answer = asked.site.http.post("/v1/audio/speech", json=body)
    assert refused(answer) == name
    assert supported in answer.json()["error"]["message"]


INSIDE = (
    *("http://169.254.169.254/latest", "http://127.0.0.1:1/", "http://[::ffff:10.0.0.1]/", "HTTP://LOCALHOST/"),
    *("https://[fd00::1]/", "http://0x7f000001/", "https://example.com/a.png"),
)
PLACES: list[Any] = [
    lambda url: {"image": url},
    lambda url: {"image": [url]},
    lambda url: {"images": [{"image_url": url}]},
    lambda url: {"image": {"url": url}},
    lambda url: {"image_url": {"url": {"url": url}}},
    lambda url: {"mask": url, "image": base64.b64encode(picture()).decode()},
    lambda url: {"url": url},
    lambda url: {"input_reference": {"image_url": url}},
    lambda url: {"first_frame_image": url},
]


@pytest.mark.parametrize("path", ["images/generations", "images/edits", "videos"])
@pytest.mark.parametrize("place_of", PLACES, ids=range(len(PLACES)))
def test_no_address_is_gone_to_wherever_it_stands(asked: Gallery, path: str, place_of: Any) -> None:
    for url in INSIDE:
        given = place_of(url)
        answer = asked.site.http.post(f"/v1/{path}", json={"model": "pic", "prompt": "a fox", **given})
        assert refused(answer) in given
        assert url not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/webhooks", "/v1/webhooks/openai", "/webhook", "/webhooks/fal", "/v1/gateway/webhooks", "/callback"),
        *("/v1/gateway/jobs/job_0/webhook", "/v1/videos/video_0/webhook", "/api/v1/callback/kling"),
    ],
)
def test_nobody_tells_us_of_a_job(asked: Gallery, path: str) -> None:
    """Providers are looked at; a message that says that it is one of theirs has nowhere to go."""
    told = {"request_id": "r", "status": "COMPLETED", "payload": {"video": {"url": "http://10.0.0.1/"}}}
    signed = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    assert asked.site.http.post(path, json=told, headers=signed).status_code == 404


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("Idempotency-Key", "k" * 257, "Idempotency-Key"),
        ("Idempotency-Key", "", "Idempotency-Key"),
        ("X-Gateway-Webhook", "https://hooks.example.com/", "X-Gateway-Webhook"),  # no secret to sign it with
        ("X-Gateway-Deadline-Ms", "soon", "X-Gateway-Deadline-Ms"),
    ],
)
def test_headers_of_jobs(asked: Gallery, name: str, value: str, param: str) -> None:
    body = {"model": "pic", "prompt": "a fox", "background": True}
    assert refused(asked.site.http.post("/v1/images/generations", json=body, headers={name: value})) == param
    assert asked.site.http.get("/v1/gateway/jobs").json()["data"] == []


SPEECH: list[tuple[dict[str, Any], str]] = [
    ({"input": ""}, "input"),
    ({"input": None}, "input"),
    ({"input": ["a"]}, "input"),
    ({"input": "a" * 32_001}, "input"),
    ({"speed": -1}, "speed"),
    ({"speed": 0}, "speed"),
    ({"speed": 4.5}, "speed"),
    ({"speed": "fast"}, "speed"),
    ({"stream_format": "wav"}, "stream_format"),
    ({"voice": ""}, "voice"),
    ({"voice": {"id": 5}}, "voice"),
    ({"response_format": "a/b"}, "response_format"),
    ({"ref_audio": "file:///etc/passwd"}, "ref_audio"),
    ({"references": [{"audio_path": "/etc/passwd"}]}, "references"),
]


@pytest.mark.parametrize(("change", "name"), SPEECH, ids=lambda value: str(value)[:40])
def test_speech(asked: Gallery, change: dict[str, Any], name: str) -> None:
    body = {"model": "voice", "input": "hello", "voice": "alloy", **change}
    assert refused(asked.site.http.post("/v1/audio/speech", json=body)) == name


FORMS: list[tuple[dict[str, Any], list[tuple[str, bytes]], str]] = [
    ({}, [], "image"),
    ({}, [("image", b"not a picture")], "image"),
    ({}, [("image", b"")], "image"),
    ({}, [("image", picture()[:60])], "image"),
    ({}, [("image", bomb())], "image"),
    ({}, [("image[]", picture())] * 17, "image"),
    ({}, [("image", picture()), ("mask", b"<svg/>")], "mask"),
    ({}, [("image", picture()), ("mask", picture()), ("mask", picture())], "mask"),
    ({}, [("avatar", picture())], "avatar"),
    ({"n": "0"}, [("image", picture())], "n"),
    ({"n": "many"}, [("image", picture())], "n"),
    ({"size": "12y"}, [("image", picture())], "size"),
    ({"prompt": ""}, [("image", picture())], "prompt"),
    ({"prompt": "a" * 32_001}, [("image", picture())], "prompt"),
    ({"url": "http://169.254.169.254/"}, [], "url"),
    ({"image": "http://127.0.0.1/"}, [], "image"),
    ({"lora": '{"path":"/models"}'}, [("image", picture())], "lora"),
    ({"diffusers_kwargs[a]": "1"}, [("image", picture())], "diffusers_kwargs[a]"),
]


@pytest.mark.parametrize(("fields", "files", "name"), FORMS, ids=lambda value: str(value)[:40])
def test_forms(asked: Gallery, fields: dict[str, Any], files: list[tuple[str, bytes]], name: str) -> None:
    given = [(field, ("a.png", data, "image/png")) for field, data in files] or [("no_file", (None, "x"))]
    data = {"model": "pic", "prompt": "a fox", **fields}
    assert refused(asked.site.http.post("/v1/images/edits", data=data, files=given)) == name


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


PLAIN = part("model", b"pic") + part("prompt", b"a fox")
IMAGE = part("image", picture(), '; filename="a.png"')
RAW: list[tuple[str, bytes, int]] = [
    ("multipart/form-data", PLAIN + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=", PLAIN + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=other", PLAIN + IMAGE + b"--b--\r\n", 400),
    (f"multipart/form-data; boundary={'b' * 300}", PLAIN + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + IMAGE, 400),
    ("multipart/form-data; boundary=b", PLAIN + IMAGE[:-40], 400),
    ("multipart/form-data; boundary=b", b"", 400),
    ("multipart/form-data; boundary=b", b"--b\r\n\r\nno name\r\n--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("", b"x") + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("n" * 200, b"x") + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("a\x00b", b"x") + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("model", b"pic-api") + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("user", b"\xff\xfe") + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("x", b"1") * 200 + IMAGE + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("x", b"1", '"\r\nX: ' + "y" * 9000) + b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", PLAIN + part("user", b"u" * 300_000) + IMAGE + b"--b--\r\n", 413),
    ("multipart/form-data; boundary=b", PLAIN + part("image", b"i" * MOST, '; filename="a"') + b"--b--\r\n", 413),
    ("application/x-www-form-urlencoded", b"model=pic&prompt=x", 415),
    ("image/png", picture(), 415),
]


@pytest.mark.parametrize(("kind", "body", "status"), RAW, ids=lambda value: str(value)[:50])
def test_broken_forms(asked: Gallery, kind: str, body: bytes, status: int) -> None:
    refused(asked.site.http.post("/v1/images/edits", content=body, headers={"content-type": kind}), status)


def test_a_form_is_for_edits_alone(asked: Gallery) -> None:
    files = {"image": ("a.png", picture())}
    answer = asked.site.http.post("/v1/images/generations", data={"model": "pic", "prompt": "x"}, files=files)
    assert refused(answer, 415) == "Content-Type"


def test_what_a_form_demands_of_its_data_holds(asked: Gallery) -> None:
    """The model is bought in the US alone."""
    for field, value in (("metadata", '{"data_residency":"local"}'), ("metadata[data_residency]", "local")):
        data = {"model": "pic-api", "prompt": "x", field: value}
        answer = asked.site.http.post("/v1/images/edits", data=data, files={"image": ("a.png", picture())})
        assert answer.status_code == 403, answer.text
        assert answer.json()["error"]["code"] == "residency_refused"
    data = {"model": "pic-api", "prompt": "x", "metadata[data_residency]": "atlantis"}
    answer = asked.site.http.post("/v1/images/edits", data=data, files={"image": ("a.png", picture())})
    assert answer.json()["error"]["code"] == "residency_unknown"


class Host(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(picture())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_gateway_that_fetches_goes_nowhere_inside(tmp_path: Any) -> None:
    """With GATEWAY_IMAGE_URLS=fetch: loopback, however it is written, is not asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with gallery(tmp_path, {"GATEWAY_IMAGE_URLS": "fetch"}) as running:
            for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254"):
                for url in (f"http://{host}:{server.server_port}/", f"http://{host}/"):
                    body = {"model": "pic", "prompt": "x", "image": url}
                    assert refused(running.site.http.post("/v1/images/generations", json=body)) == "image"
            free, bound = {"model": "pic", "prompt": "x", "image": "http://localhost/"}, {"X-Data-Residency": "local"}
            stays = {**free, "metadata": {"data_residency": "local"}}
            for body, headers in ((stays, {}), (free, bound)):
                answer = running.site.http.post("/v1/images/generations", json=body, headers=headers)
                assert refused(answer) == "image"
                assert "residency demand" in answer.text, "it was not even looked up"
            assert not running.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not server.asked  # type: ignore[attr-defined]

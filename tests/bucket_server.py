"""As much of S3 as a store of artefacts asks for: objects, ranges, multipart uploads, listings. Signatures are looked
for, not verified."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

_HEAD = 'etag: "x"\r\nlast-modified: Sun, 22 Nov 2026 16:00:00 GMT\r\n'
_NO_KEY = b"<Error><Code>NoSuchKey</Code></Error>"


@dataclass
class Bucket:
    """`objects` by path, which begins with the bucket's name. `failing`: answers 500 to all."""

    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[int, bytes] = field(default_factory=dict)
    unsigned: int = 0
    dropped: int = 0
    failing: bool = False
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = first.split(" ")
        self.unsigned += not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=")
        status, more, answer = (500, "", b"") if self.failing else self.answer(method, target, headers, body)
        head = f"HTTP/1.1 {status} X\r\n{more}content-length: {len(answer)}\r\nconnection: close\r\n\r\n".encode()
        with suppress(ConnectionError):
            writer.write(head if method == "HEAD" else head + answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        parts = urlsplit(target)
        path, query = parts.path, parse_qs(parts.query, keep_blank_values=True)
        if method == "PUT" and "partNumber" in query:
            self.parts[int(query["partNumber"][0])] = body
            return 200, _HEAD, b""
        if method == "POST" and "uploads" in query:
            self.parts.clear()
            return 200, "", b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
        if method == "POST" and "uploadId" in query:
            self.objects[path] = b"".join(part for _, part in sorted(self.parts.items()))
            return 200, "", b'<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>'
        if method == "DELETE" and "uploadId" in query:
            self.dropped += 1
            return 204, "", b""
        if method == "POST" and "delete" in query:
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for key in keys:
                self.objects.pop(f"{path}/{key}", None)
            rows = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return 200, "", f"<DeleteResult>{rows}</DeleteResult>".encode()
        if method == "GET" and "list-type" in query:
            return 200, "", self.listing(path, query)
        if path not in self.objects:
            return 404, "", _NO_KEY
        return self.read(self.objects[path], headers.get("range"))

    def read(self, data: bytes, wanted: str | None) -> tuple[int, str, bytes]:
        if wanted is None:
            return 200, _HEAD, data
        at = int(wanted.removeprefix("bytes=").partition("-")[0])
        return 206, f"{_HEAD}content-range: bytes {at}-{len(data) - 1}/{len(data)}\r\n", data[at:]

    def listing(self, path: str, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        keys = [key.removeprefix(path + "/") for key in self.objects]
        found = sorted(key for key in keys if key.startswith(prefix))
        if "delimiter" in query:
            places = sorted({prefix + key.removeprefix(prefix).partition("/")[0] + "/" for key in found})
            rows = "".join(f"<CommonPrefixes><Prefix>{one}</Prefix></CommonPrefixes>" for one in places)
        else:
            rows = "".join(
                f"<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-11-22T16:00:00.000Z</LastModified></Contents>"
                for key in found
            )
        return f"<ListBucketResult>{rows}</ListBucketResult>".encode()


@asynccontextmanager
async def bucket_server() -> AsyncIterator[Bucket]:
    made = Bucket()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made

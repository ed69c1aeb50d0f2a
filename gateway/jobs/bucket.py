"""Artefacts in a bucket that speaks S3. Imported where `GATEWAY_ARTEFACTS` is `s3://...` and nowhere else: obstore is
an extra.

Address, region and credentials are read from the usual variables (`AWS_ENDPOINT`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, ...) or found at the machine, by obstore.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from gateway.errors import ArtefactFault
from gateway.jobs.artefacts import CHUNK, Stored, new_id, over, shard

if TYPE_CHECKING:
    from obstore import BytesStream
    from obstore.store import ClientConfig, RetryConfig

PART_BYTES = 5 << 20
"""Of a multipart upload: S3's least."""
PARTS_AT_ONCE = 2
_OPTIONS: ClientConfig = {"allow_http": True, "connect_timeout": "5s", "timeout": "1h"}
"""`timeout` is of a whole object, at the pace of whoever downloads it. Plain HTTP is for a store beside the gateway:
where the address says so."""
_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


class Bucket:
    """`most`: bytes of one artefact."""

    def __init__(self, url: str, most: int) -> None:
        self._store = S3Store.from_url(url, client_options=_OPTIONS, retry_config=_RETRIES)
        self._most = most

    async def put(self, chunks: AsyncIterable[bytes], expires: float, of: str) -> Stored:
        """A bucket shows an object whole or not at all."""
        id, counted = new_id(expires, of), _Counted(chunks, self._most)
        try:
            await obstore.put_async(
                self._store, _key(id), counted.pieces(), chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            )
        except ArtefactFault:
            raise
        except (BaseError, OSError) as fault:
            raise counted.fault or _fault(fault) from None
        return Stored(id, counted.size, counted.digest.hexdigest())

    async def open(self, id: str, offset: int = 0) -> ObjectReading | None:
        try:
            if not offset:
                got = await obstore.get_async(self._store, _key(id))
            else:
                got = await obstore.get_async(self._store, _key(id), options={"range": {"offset": offset}})
        except FileNotFoundError:
            return None
        except BaseError as fault:
            raise _fault(fault) from None
        return ObjectReading(got.meta["size"], got.stream(min_chunk_size=CHUNK))

    async def exists(self, id: str) -> bool:
        try:
            await obstore.head_async(self._store, _key(id))
        except FileNotFoundError:
            return False
        except BaseError as fault:
            raise _fault(fault) from None
        return True

    async def delete(self, id: str) -> None:
        try:
            await obstore.delete_async(self._store, _key(id))
        except FileNotFoundError:
            return
        except BaseError as fault:
            raise _fault(fault) from None

    async def sweep(self, now: float) -> int:
        gone = 0
        try:
            for place in (await obstore.list_with_delimiter_async(self._store))["common_prefixes"]:
                if over(str(place).rpartition("/")[2], now):
                    async for listed in obstore.list(self._store, str(place)):
                        await obstore.delete_async(self._store, [one["path"] for one in listed])
                        gone += len(listed)
        except BaseError as fault:
            raise _fault(fault) from None
        return gone

    async def room(self) -> None:
        """A bucket has no floor that it tells."""

    async def aclose(self) -> None:
        """Nothing is kept open."""


class ObjectReading:
    def __init__(self, size: int, stream: BytesStream) -> None:
        self.size, self._pieces = size, aiter(stream)

    async def read(self) -> bytes:
        try:
            return bytes(await anext(self._pieces))
        except StopAsyncIteration:
            return b""
        except BaseError as fault:
            raise _fault(fault) from None

    async def aclose(self) -> None:
        """The connection goes with the stream."""
        del self._pieces


class _Counted:
    """What is counted while it is sent. obstore tells of our own fault in words of its own: `fault` keeps it."""

    def __init__(self, chunks: AsyncIterable[bytes], most: int) -> None:
        self._chunks, self._most = chunks, most
        self.size, self.digest = 0, hashlib.sha256()
        self.fault: ArtefactFault | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                self.size += len(chunk)
                if self.size > self._most:
                    raise ArtefactFault(ArtefactFault.TOO_LARGE, f"the result has more than {self._most} bytes")
                self.digest.update(chunk)
                yield chunk
        except ArtefactFault as fault:
            self.fault = fault
            raise


def _key(id: str) -> str:
    return f"{shard(id)}/{id}"


def _fault(fault: BaseError | OSError) -> ArtefactFault:
    """Without its text, which holds addresses."""
    return ArtefactFault(ArtefactFault.UNAVAILABLE, f"the bucket of artefacts: {type(fault).__name__}")

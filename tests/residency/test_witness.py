"""The servers of the proof note what they are sent, also where nobody is there any more."""

from __future__ import annotations

import asyncio
from random import Random

import httpx
import pytest

from loadtests.residency.wires import mark
from loadtests.residency.witness import Delivery, Witness

BODY = b'{"prompt": "%s"}' % mark("m-1").encode()


async def test_what_is_sent_to_a_host_that_is_gone_is_noted_and_not_answered() -> None:
    async with Witness(["far"], Random(1)) as witness, httpx.AsyncClient(trust_env=False) as http:
        witness.trouble["far"] = 1.0
        with pytest.raises(httpx.TransportError):
            await http.post(f"{witness.urls['far']}/v1/videos", content=BODY)
        assert witness.journal == [Delivery("far", "m-1", "POST /v1/videos HTTP/1.1")]
        with pytest.raises(httpx.TransportError):
            await http.get(f"{witness.urls['far']}/health")
        assert len(witness.journal) == 1, "a look at a worker is nobody's request"
        witness.trouble["far"] = 0.0
        assert (await http.get(f"{witness.urls['far']}/health")).status_code == 200


async def test_an_upload_that_never_ends_is_noted_there_too() -> None:
    async with Witness(["far"], Random(1)) as witness:
        witness.trouble["far"] = 1.0
        reader, writer = await asyncio.open_connection(*witness.urls["far"].removeprefix("http://").split(":"))
        writer.write(b"POST /v1/files HTTP/1.1\r\ncontent-length: 9000\r\n\r\n" + BODY)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    assert witness.journal == [Delivery("far", "m-1", "POST /v1/files HTTP/1.1")]

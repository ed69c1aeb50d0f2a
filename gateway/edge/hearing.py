"""Steps 1 to 3 of a request that comes with a sound: routed as soon as its fields are here, with the file behind them.

Who calls, and whether the demand in its header is understood, is settled before any of its body is read.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import msgspec
from msgspec import Raw

from gateway.edge import body as bodies
from gateway.edge.account import refused
from gateway.edge.body import Body
from gateway.edge.calls import Call
from gateway.edge.cycle import Cycle
from gateway.edge.form import FILE
from gateway.edge.forward import Forward
from gateway.edge.limits import of_refused
from gateway.edge.replies import Receive
from gateway.edge.routes import answerable, built, caller, followed
from gateway.edge.services import Services
from gateway.edge.upload import METADATA, MODEL, ONCE, RESIDENCY, Bounds, Upload
from gateway.edge.witness import unread_in_audit
from gateway.errors import (
    GatewayError,
    InvalidRequest,
    MethodNotAllowed,
    RequestTooLarge,
    ResidencyUnknown,
    UnsupportedMedia,
)
from gateway.model import MediaAsk, Tenant
from gateway.routing.board import Board
from gateway.routing.fields import NEUTRAL
from gateway.upstreams.dialects.endpoint import Endpoint

UPLOADS = "uploads"
"""Folder of what is kept on disk meanwhile, in the data folder."""
_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}


async def hearing(
    services: Services, call: Call, endpoint: Endpoint, method: str, receive: Receive, wire: Cycle
) -> Forward:
    """A transcription or a translation. Raises GatewayError or ClientLeft."""
    if method != "POST":
        raise MethodNotAllowed(f"{call.path} takes POST")
    policy = services.policy
    tenant, upload = caller(services, call), None
    call = followed(services, call, tenant)
    try:
        call.demand(policy)
        upload = _upload(services, call, receive)
        wire.stream()
        await upload.begin(_length(call))
        folder, floor = services.settings.data_dir / UPLOADS, services.settings.uploads_floor
        if not upload.routable:
            await upload.spool(folder, floor)
        board = services.board_for(call, tenant)
        if board.policy is not policy:  # replaced meanwhile, or a candidate
            policy = board.policy
            tenant = caller(services, call, policy)
        forward = _forward(services, call, endpoint, tenant, board, upload)
        upload.watch(folder, floor)
        return forward
    except BaseException as fault:
        if upload is not None:
            upload.close()
        if not isinstance(fault, GatewayError | asyncio.CancelledError):
            raise
        error = answerable(services, fault)
        services.receipts.add(refused(call, tenant, policy.version, error))
        unread_in_audit(services, call, tenant, policy, b"" if upload is None else _told(upload), error)
        error.headers, error.traced = of_refused(services, tenant, call.path), call.traced
        raise error from None


def _upload(services: Services, call: Call, receive: Receive) -> Upload:
    settings = services.settings
    if call.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("compressed request bodies are not supported", param="Content-Encoding")
    length = _length(call)
    if length is not None and length > settings.upload_bytes:
        raise RequestTooLarge(f"an upload may have at most {settings.upload_bytes} bytes", param=FILE)
    bounds = Bounds(
        settings.upload_bytes,
        settings.body_seconds,
        time.monotonic() + settings.upload_seconds,
        call.deadline(),
    )
    return Upload(receive, call.headers.get(b"content-type", b""), bounds)


def _forward(
    services: Services, call: Call, endpoint: Endpoint, tenant: Tenant, board: Board, upload: Upload
) -> Forward:
    request, _ = built(services, call, tenant, endpoint, board, decode(upload))
    ask = MediaAsk(audio_seconds=upload.expected(_length(call)))
    return Forward(services, call, replace(request, media=ask), {}, board, upload=upload)


def _length(call: Call) -> int | None:
    said = call.headers.get(b"content-length")
    return None if said is None else int(said)


def decode(upload: Upload) -> Body:
    """The routing fields of a form. Raises InvalidRequest or ResidencyUnknown."""
    for name in ONCE:
        if sum(one.name == name for one in upload.form.fields) > 1:
            raise InvalidRequest(f"`{name}` must come once", param=name)
    model, stream = _one(upload, MODEL), _FLAGS.get(_one(upload, "stream") or "")
    if not model:
        raise InvalidRequest("`model` is missing", param=MODEL)
    if stream is None:
        raise InvalidRequest("`stream` must be true or false", param="stream")
    fields = {one.name: Raw(msgspec.json.encode(one.value)) for one in upload.form.fields}
    return Body(
        b"",
        fields,
        model,
        stream=stream,
        include_usage=True,
        max_tokens=None,
        choices=1,
        prompts=1,
        text_only=False,
        prompt_bytes=len((_one(upload, "prompt") or "").encode()),
        known=tuple(name for name in NEUTRAL if name in fields),
        residency=_residency(upload),
    )


def _residency(upload: Upload) -> str | None:
    """Of `metadata[data_residency]`, or of `metadata` as JSON."""
    plain, whole = _one(upload, RESIDENCY), _one(upload, METADATA)
    said = None if whole is None else bodies.residency({METADATA: Raw(whole.encode() or b"null")})
    if plain is not None and said is not None and plain != said:
        raise ResidencyUnknown(f"{bodies.RESIDENCY}: said twice", param=bodies.RESIDENCY)
    return plain if said is None else said


def _one(upload: Upload, name: str) -> str | None:
    return next((one.value for one in upload.form.fields if one.name == name), None)


def _told(upload: Upload) -> bytes:
    """What was read of a form that is refused, as the audit reads bodies."""
    told: dict[str, object] = {}
    if (model := _one(upload, MODEL)) is not None:
        told[MODEL] = model
    if (said := _one(upload, RESIDENCY)) is not None:
        told[METADATA] = {"data_residency": said}
    elif (whole := _one(upload, METADATA)) is not None:
        told[METADATA] = Raw(whole.encode() or b"null")
    return msgspec.json.encode(told)

"""Steps 1 to 3 of a realtime session: all that routing needs is in its handshake."""

from __future__ import annotations

import base64
import binascii

from gateway.edge.account import refused
from gateway.edge.body import Body
from gateway.edge.calls import Call, Scope
from gateway.edge.forward import Forward
from gateway.edge.limits import of_refused
from gateway.edge.routes import build, caller, demanded, followed, kept_by_both
from gateway.edge.services import Services
from gateway.edge.talk import Talk
from gateway.edge.witness import unread_in_audit
from gateway.errors import GatewayError, InvalidRequest, MethodNotAllowed
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.realtime import MODEL, Offer, offer_of

_KEY_BYTES = 16
_VERSION = b"13"
_PROTOCOLS = b"sec-websocket-protocol"


def talking(services: Services, call: Call, endpoint: Endpoint, scope: Scope) -> Forward:
    """A conversation. Raises GatewayError."""
    if scope["method"] != "GET":
        raise MethodNotAllowed(f"{call.path} takes a WebSocket handshake")
    offer = offer_of(scope["query_string"], [value for name, value in scope["headers"] if name == _PROTOCOLS])
    call = _without_secrets(call, offer)
    policy = services.policy
    tenant = caller(services, call)
    call = followed(services, call, tenant)
    try:
        key = _handshake(call, scope["http_version"])
        if not offer.model:
            raise InvalidRequest("`model` is missing: it is said in the query, `?model=NAME`", param=MODEL)
        board = services.board_for(call, tenant)
        policy = board.policy
        tenant = caller(services, call, policy)
        body = _body(offer.model)
        demand = demanded(call, body, policy)
        request, _ = build(call, tenant, endpoint, body, demand, policy, services.prompts)
        if policy is not services.policy:
            in_force = services.policy
            same, _ = build(call, caller(services, call), endpoint, body, demand, in_force, services.prompts)
            request = kept_by_both(services, request, same)
    except GatewayError as error:
        services.receipts.add(refused(call, tenant, policy.version, error))
        unread_in_audit(services, call, tenant, policy, b"", error)
        error.headers, error.traced = of_refused(services, tenant, call.path), call.traced
        raise
    return Forward(services, call, request, {}, board, talk=Talk(services, offer, key, call.headers))


def _without_secrets(call: Call, offer: Offer) -> Call:
    """With the key that a browser says as a subprotocol where keys belong, unless there is one already."""
    headers = {name: value for name, value in call.headers.items() if name != _PROTOCOLS}
    if offer.key is not None and b"authorization" not in headers and b"x-api-key" not in headers:
        headers[b"authorization"] = b"Bearer " + offer.key.encode("latin-1")
    return call._replace(headers=headers)


def _handshake(call: Call, version: str) -> str:
    """The client's key. The `Upgrade` line itself is gone by now (edge/reading.py): what is left of it is in
    `Connection`. A body would be taken for frames, and HTTP/1.0 knows no upgrades (RFC 9110 section 7.8). Raises
    InvalidRequest."""
    headers = call.headers
    said = [word.strip().lower() for word in headers.get(b"connection", b"").split(b",")]
    key = headers.get(b"sec-websocket-key", b"").strip()
    try:
        whole = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        whole = False
    plain = version == "1.1" and headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
    if b"upgrade" not in said or not plain or not whole or headers.get(b"sec-websocket-version") != _VERSION:
        raise InvalidRequest("send a WebSocket handshake (RFC 6455, version 13)", param="Upgrade")
    return key.decode()


def _body(model: str) -> Body:
    """Nobody knows yet what will be said. It is bounded as a text is, by what a session is given (UNSEEN_TOKENS)."""
    return Body(
        b"",
        {},
        model,
        stream=True,
        include_usage=True,
        max_tokens=None,
        choices=1,
        prompts=1,
        text_only=True,
        prompt_bytes=0,
        known=(),
    )

"""Every error of the gateway, as one tree.

::

    GatewayError                       the client gets it: HTTP status, stable code
      InvalidRequest          400 invalid_request
        RequestTooLarge       413 request_too_large
        UnsupportedMedia      415 unsupported_media_type
        MethodNotAllowed      405 method_not_allowed
      ModelNotFound           404 model_not_found
      NotFound                404 not_found
      ResidencyUnknown        400 residency_unknown
      ResidencyRefused        403 residency_refused
      InvalidKey              401 invalid_key
        KeyExpired            401 key_expired
      ModelNotAllowed         403 model_not_allowed
      AdminRefused            403 admin_refused
      WorkerRefused           403 worker_refused
      WorkerConflict          409 worker_conflict
      KeyConflict             409 key_conflict
      PolicyConflict          409 policy_conflict
      JobConflict             409 job_conflict
      PolicyInvalid           422 policy_invalid        with every fault found
      BudgetExceeded          402 budget_exceeded
      MaxCostExceeded         402 max_cost_exceeded
      StateElsewhere          409 state_elsewhere
      ArtefactsFull           507 artefact_store_full   always with Retry-After
      FleetSaturated          429 fleet_saturated       always with Retry-After
      RateLimited             429 rate_limited          always with Retry-After
      UpstreamFailed          502 upstream_error
      NoCapacity              503 no_capacity           always with Retry-After
      AuditUnavailable        503 audit_unavailable     always with Retry-After
      ShuttingDown            503 shutting_down         with Retry-After, if it may be repeated
      DeadlineExceeded        504 deadline_exceeded
    UpstreamFault                      what an upstream did; `edge.forward` turns it into a retry or one of the above
      ConnectFailed                    no byte of the request left this machine
      PermitRefused                    the connected peer lies outside the networks of its upstream
      PermitMismatch                   the permit is not for this request, version or upstream: a mistake of ours
      Reset                            the connection broke; `processed` tells whether the request may have been seen
      UpstreamTimeout                  `phase`: connect, first_byte, idle, total
      BadAnswer                        the bytes that came are not the HTTP we can trust
        BadPage                        a worker's page that says nothing of its load
      Incapable                        it cannot be told, or sold, what is asked: nothing was sent to it
      NotContinued                     it is up, but would not go on with another one's stream
      Refused                          a complete answer whose status is about us or about load, not about the request
      OrderLost                        it has the order, and nobody knows what became of it
    StoreFault                         the store was slow or gone; never the client's problem
    ArtefactFault                      a result that could not be kept or read; `code` is that of its job's error
    PolicyFault                        a policy folder that does not compile; carries every fault found
    StartupFault                       the process cannot start; the message says what to do

Messages name what was wrong, where, and what would be right. They never hold a prompt, a key or an address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class GatewayError(Exception):
    """An answer of ours to the client. `param` names the offending field, `retry_after` is in seconds."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "api_error"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: int | None = None, retry: bool | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.retry = retry
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        """Beside those of its own: what is left of the limits of its caller."""
        self.traced = False
        """Whether its request is traced though our own ratio left it out: its caller asked for that, and was let in."""
        self.rule: str | None = None
        """The rule that refused, and why each upstream was dropped: for the receipt."""
        self.drops: Mapping[str, int] = {}
        """Sent as `x-should-retry` when not None: False where a paid attempt of unknown outcome must not be
        repeated."""


class InvalidRequest(GatewayError):
    status, code, type = 400, "invalid_request", "invalid_request_error"


class RequestTooLarge(InvalidRequest):
    status, code = 413, "request_too_large"


class UnsupportedMedia(InvalidRequest):
    status, code = 415, "unsupported_media_type"


class MethodNotAllowed(InvalidRequest):
    status, code = 405, "method_not_allowed"


class ModelNotFound(GatewayError):
    status, code, type = 404, "model_not_found", "invalid_request_error"


class NotFound(GatewayError):
    status, code, type = 404, "not_found", "invalid_request_error"


class ResidencyUnknown(GatewayError):
    status, code, type = 400, "residency_unknown", "invalid_request_error"


class ResidencyRefused(GatewayError):
    status, code, type = 403, "residency_refused", "permission_error"


class InvalidKey(GatewayError):
    status, code, type = 401, "invalid_key", "authentication_error"


class KeyExpired(InvalidKey):
    """It was good once: a key past its `expires`, a token past its `exp`."""

    code = "key_expired"


class ModelNotAllowed(GatewayError):
    status, code, type = 403, "model_not_allowed", "permission_error"


class AdminRefused(GatewayError):
    status, code, type = 403, "admin_refused", "permission_error"


class WorkerRefused(GatewayError):
    """A worker must not register itself there, or as that."""

    status, code, type = 403, "worker_refused", "permission_error"


class WorkerConflict(GatewayError):
    """Another worker has the name or the place that is asked for."""

    status, code, type = 409, "worker_conflict", "invalid_request_error"


class KeyConflict(GatewayError):
    """What is asked of the keys does not fit those that there are."""

    status, code, type = 409, "key_conflict", "invalid_request_error"


class PolicyConflict(GatewayError):
    """What is asked for does not fit the policies that are in force or on trial."""

    status, code, type = 409, "policy_conflict", "invalid_request_error"


class JobConflict(GatewayError):
    """The same Idempotency-Key came before with another body."""

    status, code, type = 409, "job_conflict", "invalid_request_error"


class PolicyInvalid(GatewayError):
    """A folder that does not compile, for whoever sent it or asked to load it. `faults` as in PolicyFault."""

    status, code, type = 422, "policy_invalid", "invalid_request_error"

    def __init__(self, message: str, *, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


class BudgetExceeded(GatewayError):
    status, code, type = 402, "budget_exceeded", "budget_error"


class MaxCostExceeded(GatewayError):
    status, code, type = 402, "max_cost_exceeded", "budget_error"


class StateElsewhere(GatewayError):
    """What is asked for exists, and this replica cannot reach it."""

    status, code, type = 409, "state_elsewhere", "invalid_request_error"


class ArtefactsFull(GatewayError):
    """There is no room for what a job would make."""

    status, code = 507, "artefact_store_full"


class FleetSaturated(GatewayError):
    status, code, type = 429, "fleet_saturated", "rate_limit_error"


class RateLimited(GatewayError):
    """A limit of its key or tenant has no room for it."""

    status, code, type = 429, "rate_limited", "rate_limit_error"


class UpstreamFailed(GatewayError):
    status, code = 502, "upstream_error"


class NoCapacity(GatewayError):
    status, code = 503, "no_capacity"


class AuditUnavailable(GatewayError):
    status, code = 503, "audit_unavailable"


class ShuttingDown(GatewayError):
    """This process ends, and with it what it was still asked for: another one, or the next, may be asked at once. Not
    for what must not be repeated (`retry` False): proxies and HTTP libraries repeat whatever has a Retry-After."""

    status, code = 503, "shutting_down"
    AGAIN_SECONDS: ClassVar[int] = 1

    def __init__(self, cut: str = "", *, retry: bool | None = None) -> None:
        """`cut`: what was begun and ends by it."""
        why = "the gateway is shutting down"
        again = None if retry is False else self.AGAIN_SECONDS
        super().__init__(f"{cut}: {why}" if cut else why, retry_after=again, retry=retry)


class DeadlineExceeded(GatewayError):
    status, code, type = 504, "deadline_exceeded", "timeout_error"


class SessionExpired(GatewayError):
    """A conversation that lasted, or was silent, for too long: it is told in an event of its own."""

    status, code, type = 504, "session_expired", "timeout_error"


class UpstreamFault(Exception):
    """What an upstream did. `processed` is False only where the upstream cannot have seen a whole request.

    `reason` is why a worker that is looked at and does so takes no traffic, in a word.
    """

    reason: str = "no_metrics"

    def __init__(self, message: str, *, processed: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.processed = processed


class ConnectFailed(UpstreamFault):
    UNREACHABLE: ClassVar[str] = "unreachable"

    def __init__(self, message: str, reason: str = UNREACHABLE) -> None:
        super().__init__(message, processed=False)
        self.reason = reason


class PermitRefused(UpstreamFault):
    reason = "outside_networks"

    def __init__(self, message: str) -> None:
        super().__init__(message, processed=False)


class PermitMismatch(UpstreamFault):
    """Nothing was opened, and it says nothing about the upstream."""

    def __init__(self, message: str) -> None:
        super().__init__(message, processed=False)


class Reset(UpstreamFault):
    """The connection ended before the answer did."""


class UpstreamTimeout(UpstreamFault):
    def __init__(self, phase: str, seconds: float, *, processed: bool = True, held: bool = False) -> None:
        super().__init__(f"{phase} timeout after {seconds:g} s", processed=processed)
        self.phase = phase
        self.reason = "late" if processed else "unreachable"
        self.seconds = seconds
        self.held = held
        """It was held back for a slow client as its time ended: nothing that it can be blamed for."""


class BadAnswer(UpstreamFault):
    """The upstream's bytes are not HTTP that can be framed without doubt."""


class BadPage(BadAnswer):
    """A worker's page that says nothing of its load: another status, another engine's, no metrics at all."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Incapable(UpstreamFault):
    """What is asked for cannot be done there, as its dialect knows: somebody else may. `why` is for the caller, should
    there be nobody."""

    def __init__(self, why: InvalidRequest) -> None:
        super().__init__(why.message, processed=False)
        self.why = why.with_traceback(None)  # its frames hold the request


class NotContinued(UpstreamFault):
    """It answered something else when it was to go on with a stream that another one began."""


class Refused(UpstreamFault):
    """A complete answer that is about load or about our account. `retry_after` is in seconds,
    if the upstream said one."""

    def __init__(
        self, status: int, message: str, *, code: str = "", retry_after: float | None = None, account: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.account = account
        """True where the refusal is about our key, credit or spend limit: it opens that upstream's circuit."""


class OrderLost(UpstreamFault):
    """An order was placed, or may have been, and its result cannot be had: whoever sells it may charge for it."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class StoreFault(Exception):
    """The store did not answer in time, or not at all."""


class ArtefactFault(Exception):
    """`code` is one of those below: what the error of a job says that lost its result so."""

    UNAVAILABLE: ClassVar[str] = "artefact_unavailable"
    TOO_LARGE: ClassVar[str] = "artefact_too_large"
    FULL: ClassVar[str] = "artefact_store_full"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PolicyFault(Exception):
    """A policy folder that does not compile. `faults` are ready to print: `file:line:column: key.path:
    what is wrong`."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class StartupFault(Exception):
    """The process cannot start; the message says what is wrong and what to do about it."""


def extra(name: str) -> str:
    """How one of the optional dependencies of pyproject.toml gets in: no index has the package, so it is by a clone.

    >>> extra("top")
    "install the extra `top` (in a clone: .venv/bin/python -m pip install -e '.[top]')"
    """
    return f"install the extra `{name}` (in a clone: .venv/bin/python -m pip install -e '.[{name}]')"

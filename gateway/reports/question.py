"""What a serving process asks the process that reads the ledger, and what that answers: a line of JSON each."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.errors import GatewayError, InvalidRequest, NoCapacity
from gateway.reports.ask import Ask

What = Literal["report", "attempts", "material", "facts"]


class Question(msgspec.Struct, frozen=True):
    what: What
    ask: Ask


class Answer(msgspec.Struct, frozen=True):
    """`told` is JSON of what was asked for: Report, Material or Facts; or there is a fault of ours."""

    told: msgspec.Raw = msgspec.Raw(b"null")
    refused: str | None = None
    away: str | None = None
    retry_after: int | None = None

    @classmethod
    def of(cls, fault: GatewayError) -> Answer:
        if isinstance(fault, InvalidRequest):
            return cls(refused=fault.message)
        return cls(away=fault.message, retry_after=fault.retry_after)

    def checked(self) -> msgspec.Raw:
        """Raises InvalidRequest, NoCapacity."""
        if self.refused is not None:
            raise InvalidRequest(self.refused)
        if self.away is not None:
            raise NoCapacity(self.away, retry_after=self.retry_after)
        return self.told

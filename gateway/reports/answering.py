"""The process that reads the ledger for a gateway: questions on standard input, answers on standard output."""

from __future__ import annotations

from typing import IO, Any

import msgspec

from gateway.errors import GatewayError
from gateway.reports.gathering import facts, material
from gateway.reports.question import Answer, Question
from gateway.reports.reading import Reader

_question = msgspec.json.Decoder(Question)


def answer_all(reader: Reader, questions: IO[bytes], answers: IO[bytes]) -> None:
    """One line each, until there are no more questions."""
    for line in questions:
        answers.write(msgspec.json.encode(answer(reader, _question.decode(line))) + b"\n")
        answers.flush()


def answer(reader: Reader, question: Question) -> Answer:
    try:
        return Answer.with_told(msgspec.json.encode(_told(reader, question)))
    except GatewayError as fault:
        return Answer.of(fault)


def _told(reader: Reader, question: Question) -> Any:
    if question.what == "report":
        return reader.report(question.ask)
    if question.what == "attempts":
        return reader.attempts(question.ask)
    return material(reader, question.ask) if question.what == "material" else facts(reader, question.ask)

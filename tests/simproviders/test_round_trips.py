"""Every provider over real HTTP, by our dialects and driver: what is made, told, charged, and what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from gateway.edge.ordering import used
from gateway.errors import OrderLost, Refused, UpstreamFault, UpstreamTimeout
from gateway.model import EndpointName, MediaAsk, Upstream, Usage
from gateway.upstreams import answers
from gateway.upstreams.dialects.ordering import Order, Picture
from gateway.upstreams.orders import NotTaken
from loadtests.simproviders.base import Provider, Refuse
from loadtests.simproviders.elevenlabs import ElevenLabs
from loadtests.simproviders.fal import Fal
from loadtests.simproviders.gemini import Gemini
from loadtests.simproviders.kling import Kling
from loadtests.simproviders.minimax import MiniMax
from loadtests.simproviders.replicate import VERSION, Replicate
from loadtests.simproviders.samples import png
from loadtests.simproviders.serving import Running, serve
from tests.simproviders.buying import PATIENCE, buy, dialect_at, fetched, order, upstream

PICTURE = Picture(data=png(), media_type="image/png")
MP4, PNG, MP3, WAV = b"ftyp", b"\x89PNG", b"", b"RIFF"
TEXT = "Good morning, Vienna"


class Case(NamedTuple):
    provider: str
    endpoint: EndpointName
    model: str
    ask: MediaAsk
    usd: str
    """By the provider's own list."""
    per: str
    """USD for one unit by ours, which comes from the same page and was typed again."""
    unit: str
    magic: bytes
    fields: Mapping[str, Any] = MappingProxyType({})
    pictures: tuple[Picture, ...] = ()
    pieces: int = 1


SPEECH = MediaAsk(characters=len(TEXT), voice="JBFqnCBsd6RMkjVDRZzb")
FILM = MediaAsk(seconds=5)
CASES = [
    Case("fal", "images/generations", "fal-ai/flux/dev", MediaAsk(n=2, size="1024x768"), "0.05", "0.025", "images", PNG,
         {"seed": 7, "guidance_scale": 3.5}, pieces=2),
    Case("fal", "videos", "fal-ai/kling-video/v2.1/pro/image-to-video", FILM, "0.45", "0.09", "seconds", MP4,
         pictures=(PICTURE,)),
    Case("fal", "videos", "fal-ai/veo3.1/fast", MediaAsk(seconds=8, size="1280x720"), "1.2", "0.15", "seconds", MP4),
    Case("fal", "audio/speech", "fal-ai/kokoro/tts", SPEECH, "0.002", "0.0001", "characters", MP3),
    Case("replicate", "images/generations", "black-forest-labs/flux-schnell", MediaAsk(n=3, ratio="16:9"), "0.009",
         "0.003", "images", PNG, pieces=3),
    Case("replicate", "images/generations", f"stability-ai/sdxl:{VERSION}", MediaAsk(size="1024x1024"), "0.0018125",
         "0.000725", "seconds", PNG),
    Case("replicate", "videos", "kwaivgi/kling-v2.1", MediaAsk(seconds=10), "0.5", "0.05", "seconds", MP4),
    Case("replicate", "audio/speech", "minimax/speech-02-turbo", replace(SPEECH, format="wav"), "0.0012", "0.00006",
         "characters", WAV),
    Case("kling", "videos", "kling-v2-1", FILM, "0.28", "0.056", "seconds", MP4, {"cfg_scale": 0.5}),
    Case("kling", "videos", "kling-v2-1", MediaAsk(seconds=10, quality="pro"), "0.98", "0.098", "seconds", MP4,
         pictures=(PICTURE,)),
    Case("kling", "images/generations", "kling-v2-1", MediaAsk(n=2, ratio="1:1"), "0.028", "0.014", "images", PNG,
         pieces=2),
    Case("elevenlabs", "audio/speech", "eleven_v3", SPEECH, "0.0016", "0.00008", "characters", MP3, {"speed": 1.1}),
    Case("elevenlabs", "audio/speech", "eleven_flash_v2_5", replace(SPEECH, format="wav"), "0.001", "0.00005",
         "characters", WAV),
    Case("minimax", "audio/speech", "speech-2.6-turbo", SPEECH, "0.0012", "0.00006", "characters", MP3),
    Case("minimax", "audio/speech", "speech-2.6-hd", replace(SPEECH, format="wav"), "0.002", "0.0001", "characters",
         WAV, {"emotion": "happy", "language_boost": "German"}),
    Case("minimax", "videos", "MiniMax-Hailuo-2.3", MediaAsk(seconds=6, resolution="768p"), "0.27", "0.045", "seconds",
         MP4, pictures=(PICTURE,)),
    Case("minimax", "videos", "MiniMax-H3", MediaAsk(seconds=5, resolution="2k"), "0.65", "0.13", "seconds", MP4,
         pictures=(PICTURE,)),
    Case("gemini", "videos", "veo-3.1-generate-001", MediaAsk(seconds=8, size="1280x720"), "3.2", "0.40", "seconds",
         MP4),
]  # fmt: skip
KINDS = {one.name: one for one in (Fal, Replicate, Kling, ElevenLabs, MiniMax, Gemini)}
QUEUES = [case for case in CASES if case.endpoint != "audio/speech" or case.provider in ("fal", "replicate")]
TELLING = [case for case in QUEUES if case.provider != "gemini"]
"""That say whether an order is queued."""
FIRST = {case.provider: case for case in reversed(CASES)}


@pytest.fixture(scope="module")
def accounts() -> Iterator[dict[str, Running[Provider]]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                serve(
                    kind(key="access:secret-of-at-least-thirty-two-bytes" if name == "kling" else "sim-key", job_s=0.03)
                )
            )
            for name, kind in KINDS.items()
        }


@pytest.fixture
def at(accounts: dict[str, Running[Provider]]) -> dict[str, Running[Provider]]:
    for account in accounts.values():
        provider = account.provider
        provider.faults = type(provider.faults)()
        provider.jobs.clear()
        provider.asks.clear()
        provider.submits, provider.job_s = 0, 0.03
    return accounts


def _upstream(at: dict[str, Running[Provider]], case: Case, **changes: Any) -> Upstream:
    account = at[case.provider]
    return replace(upstream(case.provider, account.url, account.provider.key), **changes)


def _order(case: Case, **changes: Any) -> Order:
    asked = order(case.endpoint, case.model, TEXT, ask=case.ask, fields=case.fields, pictures=case.pictures)
    return replace(asked, **changes)


def _usd(usage: Usage, case: Case) -> Decimal:
    return Decimal(case.per) * Decimal(str(getattr(usage, case.unit)))


def _id(case: Case) -> str:
    return f"{case.provider} {case.endpoint} {case.model.partition(':')[0]} {case.usd}"


@pytest.mark.parametrize("case", CASES, ids=_id)
async def test_what_is_ordered_is_made_told_and_priced(at: dict[str, Running[Provider]], case: Case) -> None:
    account, asked = _upstream(at, case), _order(case, mark="mark-1")
    told, _ = await buy(account, asked)
    made = fetched(told, account)
    assert len(made) == case.pieces
    assert all(case.magic in data[:16] for data in made)
    assert _usd(used(asked, told), case) == at[case.provider].provider.bill() == Decimal(case.usd)
    assert at[case.provider].provider.submits == 1


@pytest.mark.parametrize("case", [FIRST[name] for name in KINDS], ids=_id)
async def test_the_address_may_end_in_its_version(at: dict[str, Running[Provider]], case: Case) -> None:
    ends = {"fal": "/", "gemini": "/v1beta/openai"}
    account = _upstream(at, case, url=at[case.provider].url + ends.get(case.provider, "/v1"))
    told, _ = await buy(account, _order(case))
    assert told.state == "succeeded"


@pytest.mark.parametrize("wait", [None, 3.0])
@pytest.mark.parametrize("case", [FIRST[name] for name in KINDS], ids=_id)
async def test_too_many_requests_may_be_sent_elsewhere(
    at: dict[str, Running[Provider]], case: Case, wait: float | None
) -> None:
    at[case.provider].provider.faults.refuse = Refuse(retry_after=wait)
    with pytest.raises(Refused) as caught:
        await buy(_upstream(at, case), _order(case))
    assert (caught.value.status, caught.value.retry_after, caught.value.account) == (429, wait, False)
    assert answers.retryable("managed", caught.value)
    assert at[case.provider].provider.submits == 0


SPENT = [
    ("fal", 403, ""),
    ("replicate", 402, ""),
    ("kling", 429, "1102"),
    ("kling", 429, "1101"),
    ("elevenlabs", 401, "quota_exceeded"),
    ("elevenlabs", 400, "quota_exceeded"),
    ("minimax", 200, "1008"),
    ("minimax", 200, "1004"),
    ("gemini", 403, "PERMISSION_DENIED"),
]


@pytest.mark.parametrize(("name", "status", "code"), SPENT)
async def test_no_money_is_about_our_account(
    at: dict[str, Running[Provider]], name: str, status: int, code: str
) -> None:
    at[name].provider.faults.refuse = Refuse(status=status, code=code)
    with pytest.raises(Refused) as caught:
        await buy(_upstream(at, FIRST[name]), _order(FIRST[name]))
    assert caught.value.account
    assert answers.retryable("managed", caught.value)


@pytest.mark.parametrize("name", sorted(KINDS))
async def test_a_wrong_key_is_about_our_account(at: dict[str, Running[Provider]], name: str) -> None:
    account = _upstream(at, FIRST[name], key="other:key-of-at-least-thirty-two-bytes-too")
    with pytest.raises(Refused) as caught:
        await buy(account, _order(FIRST[name]))
    assert caught.value.account
    assert "other" not in str(caught.value)


@pytest.mark.parametrize("case", TELLING, ids=_id)
async def test_what_nobody_begins_is_given_up_where_it_can_be_taken_back(
    at: dict[str, Running[Provider]], case: Case
) -> None:
    """Elsewhere it is waited for: begun after all, it would be paid for beside the one that was sent elsewhere."""
    at[case.provider].provider.faults.stuck = True
    account, asked = _upstream(at, case), _order(case)
    patience = replace(PATIENCE, queued=0.03)
    if dialect_at(account, case.endpoint).cancel(account, asked, _ticket(case)) is None:
        with pytest.raises(UpstreamTimeout) as late:
            await buy(account, asked, patience=replace(patience, until=time.monotonic() + 0.3))
        assert not answers.retryable("managed", late.value)
    else:
        with pytest.raises(Refused, match="stuck_in_queue"):
            await buy(account, asked, patience=patience)


def _ticket(case: Case) -> str:
    """One that the dialect can read."""
    paths = {name: f"/a/b/{name}" for name in ("status", "result", "cancel")}
    return json.dumps({**paths, "task": "t-1"}) if case.provider in ("fal", "minimax") else "t-1"


FAILS = [
    ("fal", "content_policy_violation", "", True),
    ("fal", "the model crashed", "runner_disconnected", False),
    ("replicate", "NSFW content detected. Try another prompt.", "", True),
    ("replicate", "The input was flagged as sensitive. (E005)", "", True),
    ("replicate", "CUDA out of memory", "", False),
    ("kling", "Failure to pass the risk control system", "", True),
    ("kling", "server error", "", False),
    ("gemini", "internal", "", False),
]


@pytest.mark.parametrize(("name", "reason", "code", "content"), FAILS)
async def test_a_job_that_fails_says_why_and_is_not_bought_again(
    at: dict[str, Running[Provider]], name: str, reason: str, code: str, content: bool
) -> None:
    faults = at[name].provider.faults
    faults.fail, faults.fail_code = reason, code
    with pytest.raises(UpstreamFault) as caught:
        await buy(_upstream(at, FIRST[name]), _order(FIRST[name]))
    assert answers.about_content(caught.value) is content
    assert not answers.retryable("managed", caught.value)
    assert reason not in str(caught.value) or reason.isidentifier()
    assert at[name].provider.submits == 1


async def test_minimax_fails_with_the_code_of_its_other_errors(at: dict[str, Running[Provider]]) -> None:
    faults = at["minimax"].provider.faults
    faults.fail, faults.fail_code = "sensitive", "1027"
    case = next(case for case in CASES if case.model == "MiniMax-H3")
    with pytest.raises(Refused) as caught:
        await buy(_upstream(at, case), _order(case))
    assert answers.about_content(caught.value)


@pytest.mark.parametrize("case", [case for case in TELLING if case.provider != "minimax"], ids=_id)
async def test_success_with_nothing_in_it_is_no_success(at: dict[str, Running[Provider]], case: Case) -> None:
    at[case.provider].provider.faults.filtered = True
    with pytest.raises(UpstreamFault):
        await buy(_upstream(at, case), _order(case))


async def test_gemini_filters_and_says_so(at: dict[str, Running[Provider]]) -> None:
    at["gemini"].provider.faults.filtered = True
    with pytest.raises(Refused) as caught:
        await buy(_upstream(at, FIRST["gemini"]), _order(FIRST["gemini"]))
    assert answers.about_content(caught.value)


@pytest.mark.parametrize("case", [FIRST[name] for name in KINDS if name != "kling"], ids=_id)
async def test_a_lost_answer_is_never_asked_for_twice(at: dict[str, Running[Provider]], case: Case) -> None:
    at[case.provider].provider.faults.lose_answers = 1
    with pytest.raises(UpstreamFault) as caught:
        await buy(_upstream(at, case), _order(case, mark="mark-7"))
    assert not answers.retryable("managed", caught.value)
    assert at[case.provider].provider.submits == 1


@pytest.mark.parametrize("case", [case for case in CASES if case.provider == "kling"], ids=_id)
async def test_kling_finds_an_order_whose_answer_was_lost(at: dict[str, Running[Provider]], case: Case) -> None:
    at["kling"].provider.faults.lose_answers = 1
    told, _ = await buy(_upstream(at, case), _order(case, mark="mark-7"))
    assert len(told.pieces) == case.pieces
    assert at["kling"].provider.submits == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("case", [FIRST[name] for name in KINDS if name != "elevenlabs"], ids=_id)
async def test_looks_that_fail_end_in_an_order_that_is_lost(
    at: dict[str, Running[Provider]], case: Case, status: int
) -> None:
    case = next(one for one in QUEUES if one.provider == case.provider)
    at[case.provider].provider.faults.poll_status = status
    with pytest.raises(OrderLost):
        await buy(_upstream(at, case), _order(case))
    assert at[case.provider].provider.submits == 1


@pytest.mark.parametrize("name", ["fal", "replicate", "minimax"])
async def test_what_is_given_up_is_cancelled_there(at: dict[str, Running[Provider]], name: str) -> None:
    case = next(one for one in CASES if one.provider == name and "Hailuo" not in one.model and one.endpoint == "videos")
    at[name].provider.faults.stuck = True
    with pytest.raises(Refused):
        await buy(_upstream(at, case), _order(case), patience=replace(PATIENCE, queued=0.02))
    assert [job.state for job in at[name].provider.jobs.values()] == ["cancelled"]


async def test_a_wrong_request_in_a_200_is_the_callers(at: dict[str, Running[Provider]]) -> None:
    at["minimax"].provider.faults.refuse = Refuse(status=200, code="2013")
    with pytest.raises((Refused, NotTaken)) as caught:
        await buy(_upstream(at, FIRST["minimax"]), _order(FIRST["minimax"]))
    assert isinstance(caught.value, NotTaken) or not answers.retryable("managed", caught.value)


async def test_slow_answers_are_waited_for(at: dict[str, Running[Provider]]) -> None:
    at["elevenlabs"].provider.faults.slow_s = 0.1
    began = time.monotonic()
    told, _ = await buy(_upstream(at, FIRST["elevenlabs"]), _order(FIRST["elevenlabs"]))
    assert told.state == "succeeded"
    assert time.monotonic() - began >= 0.1

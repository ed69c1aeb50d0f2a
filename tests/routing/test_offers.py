"""What a served model can do, and what is said where it cannot."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway.errors import InvalidRequest, ModelNotFound, NoCapacity
from gateway.model import EndpointName, MediaAsk, MediaRate, Model, Offer, Price, Served, SizeRule
from gateway.routing.decide import decide
from gateway.routing.offers import as_sold, complaint
from tests.worlds import board, policy, request, rule, upstream

IMAGES: EndpointName = "images/generations"
GPT = Offer(
    sizes=("1024x1024", "1536x1024"),
    any_size=SizeRule(multiple=16, most_pixels=3840 * 2160, least_pixels=655_360, longest_side=3840, most_ratio=3.0),
    qualities=("low", "medium", "high"),
    formats=("png", "jpeg"),
    most_n=10,
    most_prompt=100,
    inputs=(0, 0),
    streams=False,
    mask=False,
)
VEO = Offer(endpoints=frozenset({"videos"}), seconds=(4, 6, 8), resolutions=("720p", "1080p"), inputs=(0, 1))
WAN = Offer(seconds_range=(2, 15), inputs=(1, 1))
SOLD = Price(media=(MediaRate("second", 10**10),), sold_seconds=(4, 6, 8))


@pytest.mark.parametrize(
    ("endpoint", "ask", "offer", "said"),
    [
        (IMAGES, {}, GPT, None),
        (IMAGES, {"size": "1024X1024", "quality": "HIGH"}, GPT, None),
        (IMAGES, {"size": "2048x1152"}, GPT, None),
        (
            IMAGES,
            {"size": "1000x1000"},
            GPT,
            ("size", "give 1024x1024 or 1536x1024 or WIDTHxHEIGHT, both divisible by 16"),
        ),
        (IMAGES, {"size": "3840x640"}, GPT, ("size", "no longer than 3 times its width")),
        (IMAGES, {"size": "2K"}, GPT, ("size", "`2K` is not supported")),
        (IMAGES, {"quality": "ultra"}, GPT, ("quality", "give low, medium or high")),
        (IMAGES, {"format": "tiff"}, GPT, ("output_format", "give png or jpeg")),
        (IMAGES, {"n": 11}, GPT, ("n", "at most 10")),
        (IMAGES, {"prompt_characters": 101}, GPT, ("prompt", "101 characters, at most 100")),
        (IMAGES, {"inputs": 1}, GPT, ("image", "exactly 0")),
        (IMAGES, {"mask": True}, GPT, ("mask", "no mask")),
        (IMAGES, {"partial_images": 2}, GPT, ("partial_images", "piece by piece")),
        (IMAGES, {"streams": True}, GPT, ("stream", "piece by piece")),
        ("audio/speech", {"streams": True}, Offer(streams=False), ("stream_format", "comes whole")),
        (IMAGES, {}, VEO, ("model", "asked by videos, not by images/generations")),
        ("videos", {"seconds": 8.0}, VEO, None),
        ("videos", {"seconds": 5.0}, VEO, ("seconds", "give 4, 6 or 8")),
        ("videos", {"resolution": "4k"}, VEO, ("resolution", "give 720p or 1080p")),
        ("videos", {"inputs": 2}, VEO, ("input_reference", "0 to 1")),
        ("videos", {"seconds": 16.0, "inputs": 1}, WAN, ("seconds", "give 2 to 15")),
        ("videos", {"seconds": 7.0}, Offer(seconds=(20,), seconds_range=(2, 5)), ("seconds", "give 20 or 2 to 5")),
        ("videos", {"seconds": 20.0}, Offer(seconds=(20,), seconds_range=(2, 5)), None),
        ("videos", {"inputs": 0}, WAN, ("input_reference", "exactly 1")),
        ("audio/speech", {"voice": "x"}, Offer(voices=("alloy",)), ("voice", "give alloy")),
        ("audio/speech", {"format": "ogg"}, Offer(formats=("mp3",)), ("response_format", "give mp3")),
        ("audio/speech", {"characters": 5}, Offer(most_prompt=4), ("input", "5 characters")),
    ],
)
def test_complaints(endpoint: EndpointName, ask: dict[str, Any], offer: Offer, said: tuple[str, str] | None) -> None:
    found = complaint(endpoint, MediaAsk(**ask), Served("api", "x", None, offer=offer))
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert (found.param, said[1] in found.message) == (said[0], True), found.message


def test_lengths_that_are_not_sold() -> None:
    served, ask = Served("api", "x", SOLD), MediaAsk(seconds=5.0)
    found = complaint("videos", ask, served)
    assert found == ("seconds", "5 s is not sold; ask for 4, 6 or 8 s")
    rounds = replace(served, price=replace(SOLD, round_up=True))
    assert complaint("videos", ask, rounds) is None
    assert as_sold(ask, rounds).seconds == 6
    assert as_sold(MediaAsk(), rounds).seconds is None
    # What it can is judged of the length that is ordered: 5 s is a film of 6 there.
    assert complaint("videos", ask, replace(rounds, offer=VEO)) is None
    assert complaint("videos", MediaAsk(seconds=9.0), replace(rounds, offer=VEO)) is not None


WORKER = upstream("w1", "gpu", engine="vllm-omni")
API = upstream("a1", "api")


def decided(ask: MediaAsk, gpu: Offer | None, api: Offer | None) -> Any:
    served = (
        Served("gpu", "flux", offer=gpu),
        Served("api", "gpt", Price(media=(MediaRate("image", 10**10),)), offer=api),
    )
    made = policy((WORKER, API), (rule(),), models={"m": Model("m", "image", served)})
    return decide(request(endpoint=IMAGES, media=ask), board(made), Random(1))


def test_routing_picks_one_that_can() -> None:
    small, any_size = Offer(sizes=("512x512",)), Offer()
    decision = decided(MediaAsk(size="2048x2048"), small, any_size)
    assert (decision.primary, [group.backend for group in decision.overflow]) == ((), ["api"])
    assert decision.overflow[0].reason == "capability"
    assert decision.drops == {"capability": 1}
    assert decided(MediaAsk(size="512x512"), small, any_size).primary[0].backend == "gpu"


def test_where_nobody_can_the_caller_hears_what_is_wrong() -> None:
    with pytest.raises(InvalidRequest) as refused:
        decided(MediaAsk(size="2048x2048"), Offer(sizes=("512x512",)), Offer(sizes=("1024x1024",)))
    assert refused.value.param == "size"
    assert "give 512x512" in refused.value.message


def test_who_turned_out_not_to_know_a_field_is_left_out_as_by_its_capability() -> None:
    served = (Served("gpu", "flux"), Served("api", "gpt", Price(media=(MediaRate("image", 10**10),))))
    made = board(policy((WORKER, API), (rule(),), models={"m": Model("m", "image", served)}))
    asked = request(endpoint=IMAGES, media=MediaAsk())
    why = InvalidRequest("`seed` is not known", param="seed")
    decision = decide(asked, made, Random(1), unable={("w1", "flux"): why})
    assert (decision.primary, decision.drops) == ((), {"capability": 1})
    assert [(group.backend, group.reason) for group in decision.overflow] == [("api", "capability")]
    # The same worker by another name of its models is another matter.
    assert decide(asked, made, Random(1), unable={("w1", "sd3"): why}).primary
    with pytest.raises(InvalidRequest) as refused:
        decide(asked, made, Random(1), unable={("w1", "flux"): why, ("a1", "gpt"): why})
    assert refused.value.param == "seed"
    with pytest.raises(NoCapacity):  # somebody who may know it is down: it is worth a try later
        decide(asked, made, Random(1), unable={("w1", "flux"): why}, excluded=frozenset({"a1"}))


def test_an_endpoint_that_nobody_speaks_stays_a_missing_model() -> None:
    made = policy(
        (upstream("w1", "gpu"),), (rule(spill=None),), models={"m": Model("m", "image", (Served("gpu", "x"),))}
    )
    with pytest.raises(ModelNotFound):
        decide(request(endpoint=IMAGES, media=MediaAsk()), board(made), Random(1))

"""Whether a served model can do what is asked of it, and if not, what it can. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd
from typing import NamedTuple

from gateway.errors import InvalidRequest
from gateway.model import EndpointName, MediaAsk, Offer, Price, Served, SizeRule
from gateway.routing.sold import sold_as

MOST_LISTED = 12
"""Values that a message names; of more it names the first ones."""


class Complaint(NamedTuple):
    """`param`: the caller's word for what cannot be done; `message` says what can."""

    param: str
    message: str


def complaint(endpoint: EndpointName, ask: MediaAsk, served: Served) -> Complaint | None:
    """The first thing that `served` cannot do of it; None: all of it can be done, as far as anybody knows."""
    offer = served.offer
    found = None if offer is None else _against(endpoint, ask, offer)
    return found or _unsold(ask, served.price)


def as_sold(ask: MediaAsk, served: Served) -> MediaAsk:
    """The same with what is ordered there for it: a length that is not sold is the next longer one where the price
    says so. Raises InvalidRequest as `sold_as` does."""
    if ask.seconds is None or served.price is None:
        return ask
    return replace(ask, seconds=sold_as(served.price, ask.seconds))


def _against(endpoint: EndpointName, ask: MediaAsk, offer: Offer) -> Complaint | None:
    if offer.endpoints is not None and endpoint not in offer.endpoints:
        return Complaint("model", f"it is asked by {listed(sorted(offer.endpoints))}, not by {endpoint}")
    return (
        _size(ask, offer)
        or _one_of("resolution", ask.resolution, offer.resolutions)
        or _one_of("aspect_ratio", ask.ratio, offer.ratios)
        or _one_of("quality", ask.quality, offer.qualities)
        or _one_of("voice", ask.voice, offer.voices)
        or _one_of("response_format" if endpoint == "audio/speech" else "output_format", ask.format, offer.formats)
        or _seconds(ask, offer)
        or _counts(endpoint, ask, offer)
    )


def _size(ask: MediaAsk, offer: Offer) -> Complaint | None:
    if ask.size is None or not (offer.sizes or offer.any_size):
        return None
    if ask.size.lower().replace("*", "x") in [one.lower() for one in offer.sizes]:
        return None
    rule, pixels = offer.any_size, ask.pixels
    if rule is not None and pixels is not None and fits_rule(pixels, rule):
        return None
    ways = [listed(offer.sizes)] if offer.sizes else []
    if rule is not None:
        ways.append(_told(rule))
    return Complaint("size", f"`{ask.size}` is not supported; give {' or '.join(ways)}")


def fits_rule(pixels: tuple[int, int], rule: SizeRule) -> bool:
    short, long = sorted(pixels)
    return (
        short > 0
        and short % rule.multiple == 0
        and long % rule.multiple == 0
        and rule.least_pixels <= short * long <= rule.most_pixels
        and long <= rule.longest_side
        and long <= short * rule.most_ratio
    )


def _told(rule: SizeRule) -> str:
    said = ["WIDTHxHEIGHT"]
    if rule.multiple > 1:
        said.append(f"both divisible by {rule.multiple}")
    if rule.longest_side < SizeRule().longest_side:
        said.append(f"at most {rule.longest_side} a side")
    if rule.most_pixels < SizeRule().most_pixels:
        said.append(f"{rule.least_pixels} to {rule.most_pixels} pixels")
    if rule.most_ratio < SizeRule().most_ratio:
        said.append(f"no longer than {rule.most_ratio:g} times its width")
    return ", ".join(said)


def _one_of(param: str, value: str | None, known: Sequence[str]) -> Complaint | None:
    if value is None or not known or value.lower() in [one.lower() for one in known]:
        return None
    return Complaint(param, f"`{value}` is not supported; give {listed(known)}")


def _seconds(ask: MediaAsk, offer: Offer) -> Complaint | None:
    seconds = ask.seconds
    if seconds is None:
        return None
    if offer.seconds and seconds not in offer.seconds:
        return Complaint(
            "seconds", f"{seconds:g} s is not supported; give {listed([f'{one:g}' for one in offer.seconds])}"
        )
    if offer.seconds_range is not None and not offer.seconds_range[0] <= seconds <= offer.seconds_range[1]:
        least, most = offer.seconds_range
        return Complaint("seconds", f"{seconds:g} s is not supported; give {least:g} to {most:g}")
    return None


def _counts(endpoint: EndpointName, ask: MediaAsk, offer: Offer) -> Complaint | None:
    if offer.most_n is not None and ask.n > offer.most_n:
        return Complaint("n", f"at most {offer.most_n} at once")
    characters = ask.characters if endpoint == "audio/speech" else ask.prompt_characters
    if offer.most_prompt is not None and characters > offer.most_prompt:
        what = "input" if endpoint == "audio/speech" else "prompt"
        return Complaint(what, f"it has {characters} characters, at most {offer.most_prompt} are supported")
    if offer.inputs is not None and not offer.inputs[0] <= ask.inputs <= offer.inputs[1]:
        least, most = offer.inputs
        wanted = f"exactly {least}" if least == most else f"{least} to {most}"
        return Complaint("input_reference" if endpoint == "videos" else "image", f"send {wanted} pictures along")
    if ask.mask and not offer.mask:
        return Complaint("mask", "it takes no mask")
    if ask.partial_images and not offer.streams:
        return Complaint("partial_images", "it does not send pictures piece by piece")
    return None


def _unsold(ask: MediaAsk, price: Price | None) -> Complaint | None:
    if ask.seconds is None or price is None:
        return None
    try:
        sold_as(price, ask.seconds)
    except InvalidRequest as refusal:
        return Complaint("seconds", refusal.message.removeprefix("seconds: "))
    return None


def listed(values: Sequence[str]) -> str:
    shown = [*values[:MOST_LISTED], *(["..."] if len(values) > MOST_LISTED else [])]
    *most, last = shown
    return f"{', '.join(most)} or {last}" if most else last


def ratio_of(pixels: tuple[int, int]) -> str:
    """`16:9` of 1920x1080."""
    width, height = pixels
    part = gcd(width, height) or 1
    return f"{width // part}:{height // part}"

"""`can` in models.yaml: what a model of pictures, films or sound can do at a backend."""

from __future__ import annotations

import pytest

from gateway.model import Offer, Price, Served, SizeRule
from gateway.policy.compile import compile_files
from tests.policy.good import ENV, GOOD, changed, faults_of, folder

M = "models.yaml"
IMAGE = GOOD[M].replace("modality: text", "modality: image")


def served(can: str, price: str = "{per_image: 0.04}") -> Served:
    files = {**GOOD, M: IMAGE.replace("{input_per_1m: 0.25, output_per_1m: 0.75}", f"{price}, can: {can}")}
    return compile_files(folder(files), ENV).models["llama-3.3-70b"].served_by[1]


def test_a_price_of_media_alone_is_one_of_a_model_of_media() -> None:
    assert isinstance(served("{}").price, Price)


@pytest.mark.parametrize(
    ("can", "offer"),
    [
        ("{}", Offer()),
        ("{sizes: 1024x1024, qualities: [low, high], n: 4, images: [0, 16]}",
         Offer(sizes=("1024x1024",), qualities=("low", "high"), most_n=4, inputs=(0, 16))),
        ("{seconds: [4, 6, 8], defaults: {seconds: 8, fps: 24, steps: 30}}",
         Offer(seconds=(4, 6, 8), default_seconds=8, default_fps=24, steps=30)),
        ("{seconds: {least: 2, most: 15}}", Offer(seconds_range=(2, 15))),
        ("{any_size: {multiple: 16, longest_side: 3840}}", Offer(any_size=SizeRule(multiple=16, longest_side=3840))),
        ("{endpoints: [images/edits], mask: false}", Offer(endpoints=frozenset({"images/edits"}), mask=False)),
    ],
    ids=["nothing", "picture", "film", "range", "rule", "edits"],
)  # fmt: skip
def test_what_is_written_is_what_it_can_do(can: str, offer: Offer) -> None:
    assert served(can).offer == offer


def test_nothing_written_is_not_known() -> None:
    assert compile_files(folder(GOOD), ENV).models["llama-3.3-70b"].served_by[0].offer is None


@pytest.mark.parametrize(
    ("can", "said"),
    [
        ("{size: 1x1}", "unknown key"),
        ("{seconds: {least: 9, most: 2}}", "`least` must not be above `most`"),
        ("{images: [1]}", "can.images: must have at least 2 entries"),
        ("{images: [2, 1]}", "fewest and most"),
        ("{images: [1, 2, 3]}", "at most 2 entries"),
        ("{aspect_ratios: wide}", "aspect_ratios"),
    ],
)
def test_what_is_no_offer(can: str, said: str) -> None:
    found = faults_of(changed(M, "output_per_1m: 0.75}}", f"output_per_1m: 0.75}}, can: {can}}}"))
    assert any(said in line for line in found), found

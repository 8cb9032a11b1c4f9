from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from fakes import FakeEncoder

from slip.evaluation.protocols import (
    Reading,
    RedBlueSwapped,
    read_finetuned,
    read_pretrained,
    same_last_tiles,
)
from slip.types import Encoder

PER_TILE = (76, 64, 71, 68)
"""What the published fine-tuned run got right of 100, tile by tile."""


def verdicts(per_tile: Sequence[int], composites: int = 100) -> list[list[bool]]:
    return [[row < right for right in per_tile] for row in range(composites)]


def test_61_right_last_tiles_of_100_were_published_as_15_25_percent() -> None:
    reading = read_pretrained(verdicts((90, 80, 70, 61)))
    assert reading == Reading(right=61, counted=400, scored=100)
    assert reading.share == 0.1525
    assert reading.ceiling == 0.25


def test_279_right_of_400_were_published_as_69_75_percent() -> None:
    reading = read_finetuned(verdicts(PER_TILE))
    assert reading == Reading(right=279, counted=400, scored=400)
    assert reading.share == 0.6975
    assert reading.ceiling == 1


def test_the_gain_on_the_same_last_tiles_is_seven_points() -> None:
    same = same_last_tiles(verdicts((0, 0, 0, 61)), verdicts(PER_TILE))
    assert (same.first_right, same.second_right) == (61, 68)
    assert (same.paired.trials, same.paired.first_only, same.paired.second_only) == (100, 0, 7)
    assert same.paired.p == pytest.approx(2 / 2**7)


def test_the_same_last_tiles_need_the_same_composites() -> None:
    with pytest.raises(ValueError, match="shorter"):
        same_last_tiles(verdicts(PER_TILE, 3), verdicts(PER_TILE, 2))


def test_red_is_shown_as_blue() -> None:
    swapped: Encoder = RedBlueSwapped(FakeEncoder())
    crops = np.zeros((1, 8, 8, 3), np.uint8)
    crops[..., 0] = 255
    assert swapped.encode_images(crops).tolist() == [[0, 0, 1]]
    assert swapped.encode_text(["a blue thing"]).tolist() == [[0, 0, 1]]
    assert (swapped.name, swapped.image_size) == ("fake-clip", 8)

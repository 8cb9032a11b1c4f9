"""From a probability for every pixel to a prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slip.masks import segment_of
from slip.options import PART_THRESHOLD
from slip.types import Prediction


def answer(prompt: str, probabilities: NDArray[np.float32]) -> Prediction:
    """The pixels above ``PART_THRESHOLD`` as one segment; none where there is none.

    probabilities: ``float32 (H, W)`` at the picture's size. The score is their mean inside the segment.
    """
    height, width = probabilities.shape
    mask = probabilities > PART_THRESHOLD
    segment = segment_of(mask)
    if segment is None:
        return Prediction(prompt, (), (height, width))
    score = float(np.clip(probabilities[mask].mean(), 0, 1))
    return Prediction(prompt, (segment.scored(score),), (height, width))

"""Stage 4: order the segments by how well they match the text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slip.errors import UsageError, WeightsError
from slip.types import Features, Segment


def rank_segments(
    segments: Sequence[Segment], image_features: Features, text_features: Features
) -> tuple[Segment, ...]:
    """The segments with their scores, the highest first; ties stay in the given order.

    image_features: ``float32 (N, D)`` with unit rows, a row a segment.
    text_features: ``float32 (D,)``, a unit vector.
    A score is the cosine similarity of the two.

    Raises UsageError where the shapes do not fit, and WeightsError for features that are not
    finite: no ranking could be trusted.
    """
    if text_features.ndim != 1 or image_features.shape != (len(segments), len(text_features)):
        raise UsageError(
            f"features of shape {image_features.shape} and {text_features.shape} do not fit "
            f"{len(segments)} segments; give (N, D) and (D,)"
        )
    if not (np.isfinite(image_features).all() and np.isfinite(text_features).all()):
        raise WeightsError(
            "the features hold NaN or infinity; the weights may be damaged, or need --precision fp32"
        )
    # Row sums, not a matrix product: BLAS may round equal rows differently, and ties would break.
    cosines = (image_features.astype(np.float64) * text_features).sum(axis=1)
    order = np.argsort(-cosines, kind="stable")
    return tuple(segments[index].scored(float(np.clip(cosines[index], -1, 1))) for index in order)

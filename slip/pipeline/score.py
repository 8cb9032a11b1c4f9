"""Stage 4a: from similarities to scores that mean the same in every picture.

A softmax over the segments of one picture can never say that a thing is not there. This one is over
the texts: what is asked for against what else a segment may show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slip.errors import UsageError, WeightsError
from slip.types import Features, Segment

LogOdds = NDArray[np.float64]

_SMALLEST = 1e-3
"""A quality below this counts as this much: its logarithm would be boundless."""


def log_odds(
    image_features: Features,
    prompt: Features,
    negatives: Features,
    logit_scale: float,
    floor: float,
) -> LogOdds:
    """How much more each picture resembles the prompt than any of the negatives: ``float64 (N,)``.

    The logistic function of it is the prompt's share in a softmax over the prompt, the negatives and
    one logit that is always ``floor``, as in LERF (arXiv 2303.09553, section 3.2) but for the floor.

    image_features: ``float32 (N, D)``; prompt: ``float32 (D,)``; negatives: ``float32 (M, D)``, M may
    be 0. All with unit rows. logit_scale: what their cosine similarities are multiplied by.

    Raises UsageError where the shapes do not fit, and WeightsError for features that are not finite:
    no ranking could be trusted.
    """
    if not (prompt.shape == image_features.shape[1:] == negatives.shape[1:] and prompt.ndim == 1):
        raise UsageError(
            f"features of shapes {image_features.shape}, {prompt.shape} and {negatives.shape} do not fit "
            "each other; give (N, D), (D,) and (M, D)"
        )
    if not all(np.isfinite(features).all() for features in (image_features, prompt, negatives)):
        raise WeightsError(
            "the features hold NaN or infinity; the weights may be damaged, or need --precision fp32"
        )
    against = np.full(len(image_features), float(floor))
    for negative in negatives:
        against = np.logaddexp(against, logit_scale * _cosines(image_features, negative))
    odds: LogOdds = logit_scale * _cosines(image_features, prompt) - against
    return odds


def _cosines(image_features: Features, text: Features) -> LogOdds:
    """Row sums, not a matrix product: BLAS may round equal rows differently, and ties would break."""
    cosines: LogOdds = (image_features.astype(np.float64) * text).sum(axis=1)
    return cosines


def quality_prior(segments: Sequence[Segment]) -> LogOdds:
    """What SAM's own trust says of each segment: the logarithm of predicted IoU x stability, ``(N,)``."""
    trust = [segment.trust for segment in segments]
    prior: LogOdds = np.log(np.clip(np.array(trust, np.float64), _SMALLEST, None))
    return prior


def to_score(odds: LogOdds) -> LogOdds:
    """Log-odds as probabilities, 0 to 1."""
    score: LogOdds = np.exp(-np.logaddexp(0.0, -odds))
    return score

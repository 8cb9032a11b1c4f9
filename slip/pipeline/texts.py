"""The text side: what is asked for, and what else a segment may show, as features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from slip.options import Scoring
from slip.types import Features

TEXTS_KEPT = 1024
"""Texts whose features are kept, the latest ones: a few megabytes."""

Encode = Callable[[Sequence[str]], Features]


class Texts:
    """Features of prompts and of their negatives, both put into the same templates.

    encode: texts to ``float32 (N, D)`` with unit rows.
    """

    def __init__(self, encode: Encode, scoring: Scoring) -> None:
        self._scoring = scoring
        self._encode = encode
        self._feature: Callable[[str], Features] = lru_cache(TEXTS_KEPT)(self._of)

    def prompt(self, text: str) -> Features:
        """``float32 (D,)``, a unit vector."""
        return self._feature(text)

    def negatives(self, prompt: str) -> Features:
        """Of every negative but the prompt itself: ``float32 (M, D)`` with unit rows."""
        others = [text for text in self._scoring.negatives if text.casefold() != prompt.strip().casefold()]
        rows = [self._feature(text) for text in others]
        return np.stack(rows) if rows else np.empty((0, *self._feature(prompt).shape), np.float32)

    def _of(self, text: str) -> Features:
        worded = [template.replace("{}", text) for template in self._scoring.templates]
        feature: Features = averaged(self._encode(worded)[:, None])[0]
        return feature


def averaged(features: Sequence[Features] | Features) -> Features:
    """Unit rows in the mean direction of those of several ``float32 (N, D)``; of one, the same rows."""
    if len(features) == 1:
        return features[0]
    mean = np.mean(features, axis=0)
    unit: Features = mean / np.linalg.norm(mean, axis=1, keepdims=True).clip(1e-12)
    return unit

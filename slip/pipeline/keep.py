"""What is kept between runs, and under which names: nothing is computed twice.

A name is a digest of all that decides the content: the pixels of the picture, who was asked (weights,
options, device, precision, versions) and how. Of a picture only this digest is kept.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slip.errors import SlipWarning
from slip.types import Box, Features, Image, Segment

if TYPE_CHECKING:
    from slip.cache import Cache, Kind


class Keeping:
    """Segments, crops' features and texts' features in a cache.

    proposer, encoder: digests of whatever changes what they answer.
    """

    def __init__(self, cache: Cache, proposer: str, encoder: str) -> None:
        self._cache = cache
        self._proposer = proposer
        self._encoder = encoder

    def segments(self, image: Image, search: Callable[[], list[Segment]]) -> list[Segment]:
        """The segments of a picture, ``uint8 (H, W, 3)``, or those that ``search`` finds."""
        key = _digest(self._proposer, *_pixels(image))
        held = self._cache.get("segments", key)
        if held is not None:
            return _unpack(held)
        found = search()
        self._cache.put("segments", key, _pack(found))
        return found

    def subject(self, image: Image, segments: Sequence[Segment]) -> str:
        """What the crops of just these segments of a picture are kept under."""
        return _digest(*_pixels(image), *(array.data for array in _pack(segments).values()))

    def crops(self, subject: str, view: str, encode: Callable[[], Features]) -> Features:
        """Features of the crops of a ``subject`` in a view."""
        key = _digest(self._encoder, subject, view)
        held = self._held("crops", key)
        return self._keep("crops", key, encode()) if held is None else held

    def texts(self, texts: Sequence[str], encode: Callable[[], Features]) -> Features:
        """Features of texts.

        Not kept where ``encode`` warns (SlipWarning): who asks again is to be warned again, and a warning
        tells of the text.
        """
        key = _digest(self._encoder, *texts)
        held = self._held("texts", key)
        if held is not None:
            return held
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", SlipWarning)
            features = encode()
        for one in told:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if any(issubclass(one.category, SlipWarning) for one in told):
            return features
        return self._keep("texts", key, features)

    def _held(self, kind: Kind, key: str) -> Features | None:
        held = self._cache.get(kind, key)
        return None if held is None else held["features"]

    def _keep(self, kind: Kind, key: str, features: Features) -> Features:
        self._cache.put(kind, key, {"features": features})
        return features


def _digest(*parts: str | memoryview) -> str:
    """SHA-256 of the parts, in hex; the same bytes parted differently give another digest."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{memoryview(data).nbytes}:".encode())
        digest.update(data)
    return digest.hexdigest()


def _pixels(image: Image) -> tuple[str, memoryview]:
    return str(image.shape), np.ascontiguousarray(image).data


def _pack(segments: Sequence[Segment]) -> dict[str, NDArray[Any]]:
    patches = [segment.patch.ravel() for segment in segments]
    boxes = [(s.box.x1, s.box.y1, s.box.x2, s.box.y2, *s.image_size) for s in segments]
    return {
        "patches": np.packbits(np.concatenate(patches) if patches else np.zeros(0, bool)),
        "boxes": np.array(boxes, np.int32).reshape(-1, 6),
        "trust": np.array([(s.predicted_iou, s.stability) for s in segments], np.float64).reshape(-1, 2),
    }


def _unpack(held: Mapping[str, NDArray[Any]]) -> list[Segment]:
    boxes = [Box(*corners) for corners in held["boxes"][:, :4].tolist()]
    areas = [box.width * box.height for box in boxes]
    bits = np.unpackbits(held["patches"], count=sum(areas)).view(bool)
    patches = np.split(bits, np.cumsum(areas)[:-1]) if boxes else []
    return [
        Segment(patch.reshape(box.height, box.width), box, (height, width), *map(_estimate, trust))
        for patch, box, (height, width), trust in zip(
            patches, boxes, held["boxes"][:, 4:].tolist(), held["trust"].tolist(), strict=True
        )
    ]


def _estimate(held: float) -> float | None:
    """An estimate as it was before it was packed, which makes a missing one not a number."""
    return None if isnan(held) else held

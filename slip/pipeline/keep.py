"""What is kept between runs, and under which names: nothing is computed twice.

A name is a digest of all that decides the content: the pixels of the picture, who was asked (weights,
options, device, precision, versions) and how. Of a picture only this digest is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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

    def key(self, image: Image) -> str:
        """What the search of a picture, ``uint8 (H, W, 3)``, is kept under."""
        return _digest(self._proposer, str(image.shape), np.ascontiguousarray(image).data)

    def segments(self, key: str, search: Callable[[], list[Segment]]) -> list[Segment]:
        """The segments kept under ``key``, or those that ``search`` finds."""
        held = self._cache.get("segments", key)
        if held is not None:
            return _unpack(held)
        found = search()
        self._cache.put("segments", key, _pack(found))
        return found

    def crops(self, key: str, view: str, encode: Callable[[], Features]) -> Features:
        """Features of the crops that proposals with a ``key`` give in a view."""
        return self._features("crops", _digest(self._encoder, key, view), encode)

    def texts(self, texts: Sequence[str], encode: Callable[[], Features]) -> Features:
        """Features of texts."""
        return self._features("texts", _digest(self._encoder, *texts), encode)

    def _features(self, kind: Kind, key: str, encode: Callable[[], Features]) -> Features:
        held = self._cache.get(kind, key)
        if held is not None:
            kept: Features = held["features"]
            return kept
        features = encode()
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
        Segment(patch.reshape(box.height, box.width), box, (height, width), predicted_iou, stability)
        for patch, box, (height, width), (predicted_iou, stability) in zip(
            patches, boxes, held["boxes"][:, 4:].tolist(), held["trust"].tolist(), strict=True
        )
    ]

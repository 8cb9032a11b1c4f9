"""Small stand-ins for the models, as deterministic as they are simple."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slip.types import Box, Features, Image, Mask, Progress, Segment

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def segment_from(mask: Mask, predicted_iou: float = 1.0, stability: float = 1.0) -> Segment:
    """The segment of a full mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Segment(mask[box.slices], box, mask.shape, predicted_iou, stability)


class FakeProposer:
    """A segment for every colour of the picture other than black, darkest first."""

    name = "fake-sam"
    image_size = 1024

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        self.seen.append(image.shape)
        colours = [colour for colour in np.unique(image.reshape(-1, 3), axis=0) if colour.any()]
        if progress:
            progress("propose", 1, 1)
        return [segment_from((image == colour).all(axis=2)) for colour in colours]


class FakeEncoder:
    """Pictures by their mean colour, texts by the first colour they name (else grey)."""

    name = "fake-clip"
    image_size = 8

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.texts: list[str] = []

    def encode_images(self, crops: Image) -> Features:
        self.batches.append(len(crops))
        return _unit(crops.mean(axis=(1, 2)))

    def encode_text(self, texts: Sequence[str]) -> Features:
        self.texts += texts
        named = [[COLOURS[word] for word in text.split() if word in COLOURS] for text in texts]
        return _unit(np.array([(colours or [(1, 1, 1)])[0] for colours in named], float))


def _unit(rows: np.ndarray) -> Features:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

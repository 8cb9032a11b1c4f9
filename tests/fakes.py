"""Small stand-ins for the models, as deterministic as they are simple."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slip.data.parts import SIDES, Fault, Part, PartPicture, Side
from slip.data.pictures import Picture
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
    logit_scale = 10.0

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


HUES = {**COLOURS, "white": (255, 255, 255), "teal": (0, 128, 128)}


class ColourSet:
    """Boxes of the named colours on black, ``count`` of each, 16 x 16 pixels, with their masks.

    labels: what to call the colours; by default their names. A PictureSet.
    """

    name = "colours"
    unreadable: tuple[tuple[str, str], ...] = ()
    digest = "0" * 64

    def __init__(
        self,
        colours: Sequence[str] = ("red", "green", "blue", "white"),
        count: int = 3,
        labels: Mapping[str, str] | None = None,
        masks: bool = True,
    ) -> None:
        labels = labels or {}
        self.masks = masks
        named = [
            (f"{colour}/{index}.png", labels.get(colour, colour))
            for colour in colours
            for index in range(count)
        ]
        self.pictures = tuple(
            Picture(name, label, f"a {label} thing", group)
            for group, (name, label) in enumerate(sorted(named))
        )
        self.classes = tuple(sorted({picture.label for picture in self.pictures}))

    def load(self, picture: Picture) -> tuple[Image, Mask | None]:
        image = np.zeros((16, 16, 3), np.uint8)
        image[2:10, 4:14] = HUES[picture.name.partition("/")[0]]
        return image, image.any(axis=2) if self.masks else None


class FakeJudge:
    """Says which of its colours is nearest to the crop's mean: a Classifier."""

    name = "fake-judge"
    image_size = 8

    def __init__(self, classes: Sequence[str] = ("red", "green", "blue", "white")) -> None:
        self.classes = tuple(classes)

    def classify(self, crops: Image) -> Features:
        hues = _unit(np.array([HUES.get(name, (1, 2, 3)) for name in self.classes], float))
        return _unit(crops.mean(axis=(1, 2)) + 1e-9) @ hues.T


class FakeParts:
    """Toys of coloured boxes on black, each colour a part, with their masks. A PartSet.

    count: pictures of each side. size: their (height, width). colours: what a picture shows, but for the
    first picture of a side, which shows the first colour alone.
    """

    name = "toys"
    faults: tuple[Fault, ...] = ()
    digest = "1" * 64

    def __init__(
        self,
        count: int = 4,
        colours: Sequence[str] = ("red", "green", "blue"),
        sides: Sequence[Side] = SIDES,
        size: tuple[int, int] = (24, 32),
    ) -> None:
        self.count, self.sides, self.size = count, tuple(sides), size
        self.parts = tuple(sorted(Part(f"toy {colour}", colour, "toy") for colour in colours))
        self.loaded: list[str] = []

    def pictures(self, side: Side) -> tuple[PartPicture, ...]:
        count = self.count if side in self.sides else 0
        return tuple(
            PartPicture(f"{side}/{index:02}.png", side, "", self.parts if index else self.parts[:1])
            for index in range(count)
        )

    def load(self, picture: PartPicture) -> tuple[Image, dict[Part, Mask]]:
        self.loaded.append(picture.name)
        index = int(picture.name[-6:-4])
        masks = {}
        image = np.zeros((*self.size, 3), np.uint8)
        for place, part in enumerate(picture.parts):
            mask = np.zeros(self.size, bool)
            mask[2 : 8 + index % 5, 1 + 10 * place : 8 + 10 * place] = True
            image[mask] = HUES[part.name]
            masks[part] = mask
        return image, masks

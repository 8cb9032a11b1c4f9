"""The parts of pictures as labelled pictures of their own: what CLIP can be taught them from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from slip.data.parts.records import SIDES, Part, PartPicture, PartSet
from slip.data.pictures import Picture, check_classes, fill_caption
from slip.errors import UsageError
from slip.masks import mask_box
from slip.options import CAPTION
from slip.types import Box, Image, Mask

AROUND = 0.5
"""A crop shows so much of the part's own width or height beyond it, on every side."""
_KEPT_BYTES = 300_000_000
"""Crops are kept up to so many bytes: later epochs then decode no picture for them."""

_Decoded = tuple[Image, Mapping[Part, Mask]]


@dataclass(frozen=True)
class PartCrops:
    """A PictureSet: a picture for each part of each picture of ``data``, on the side that this is on.

    caption: what CLIP is told of a part; ``{}`` is its category. The crops of a picture are one group.
    Raises UsageError for a caption without its place, and for fewer than two parts.
    """

    data: PartSet
    caption: str = CAPTION
    _kept: dict[str, tuple[Image, Mask]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _room: list[int] = field(default_factory=lambda: [_KEPT_BYTES], init=False, repr=False, compare=False)
    _last: dict[str, _Decoded] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fill_caption(self.caption, "")
        if not self._places:
            raise UsageError(f"{self.data.name} has no part in any picture; give one with two parts or more")
        check_classes((part.category for _, part in self._places.values()), self.data.name)

    def __reduce__(self) -> tuple[type[PartCrops], tuple[object, ...]]:
        """Without what is kept: a process that is started with the set cuts its own."""
        return PartCrops, (self.data, self.caption)

    @property
    def name(self) -> str:
        """That of the set with the pictures."""
        return self.data.name

    @property
    def digest(self) -> str:
        """That of the set with the pictures: beside the caption, it decides all there is."""
        return self.data.digest

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """The faults of the set with the pictures: where, and what kind."""
        return tuple(sorted((fault.where, fault.kind) for fault in self.data.faults))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The categories of the parts that there are pictures of, sorted."""
        return tuple(sorted({part.category for _, part in self._places.values()}))

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Sorted by name, which is the picture's and the category: ``birds/1.png#bird wing``."""
        names = sorted({picture.name for picture, _ in self._places.values()})
        groups = {name: group for group, name in enumerate(names)}
        return tuple(
            Picture(
                name,
                part.category,
                fill_caption(self.caption, part.category),
                groups[picture.name],
                picture.side,
            )
            for name, (picture, part) in sorted(self._places.items())
        )

    def load(self, picture: Picture) -> tuple[Image, Mask]:
        """What a part's box shows and what is around it, and the part's mask in that. Raises ImageError."""
        held = self._kept.get(picture.name)
        if held is None:
            held = self._cut(*self._places[picture.name])
            size = sum(array.nbytes for array in held)
            if size <= self._room[0]:
                self._room[0] -= size
                self._kept[picture.name] = held
        image, mask = held
        return image.copy(), mask.copy()

    @cached_property
    def _places(self) -> dict[str, tuple[PartPicture, Part]]:
        """The picture and the part that each crop shows, by its name."""
        return {
            f"{picture.name}#{part.category}": (picture, part)
            for side in SIDES
            for picture in self.data.pictures(side)
            for part in picture.parts
        }

    def _cut(self, picture: PartPicture, part: Part) -> tuple[Image, Mask]:
        image, masks = self._decoded(picture)
        box = mask_box(masks[part])
        if box is None:
            raise ValueError(f"{part.category!r} has no pixel in {picture.name!r}")
        around = _widened(box, image.shape[1], image.shape[0]).slices
        return image[around].copy(), masks[part][around].copy()

    def _decoded(self, picture: PartPicture) -> _Decoded:
        """The picture and its masks; the last one asked for is at hand, since its parts come in turn."""
        if picture.name not in self._last:
            decoded = self.data.load(picture)
            self._last.clear()
            self._last[picture.name] = decoded
        return self._last[picture.name]


def _widened(box: Box, width: int, height: int) -> Box:
    """The box with its surroundings, within a picture of that size."""
    right, down = round(AROUND * box.width), round(AROUND * box.height)
    return Box(
        max(box.x1 - right, 0),
        max(box.y1 - down, 0),
        min(box.x2 + right, width),
        min(box.y2 + down, height),
    )

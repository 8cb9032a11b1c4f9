"""Which files a search writes, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slip.batch.names import Names
from slip.errors import UsageError
from slip.options import TOP_K

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slip.types import Image, Prediction, Segment


@dataclass(frozen=True)
class Wanted:
    """What the user asked for.

    masks: a mask file for each match that is wanted. top_k: how many those are, 1 where it is None;
    all_matches: all of them. all_segments: the index picture, and every segment in the JSON.

    Raises UsageError for top_k with all_matches.
    """

    overlay: bool = False
    cutout: bool = False
    json: bool = False
    all_segments: bool = False
    top_k: int | None = None
    all_matches: bool = False
    masks: bool = True

    def __post_init__(self) -> None:
        if self.all_matches and self.top_k:
            raise UsageError("--all-matches writes all matches, --top-k the best; leave one of them out")

    def chosen(self, prediction: Prediction) -> Sequence[Segment]:
        """The matches that are wanted, best first."""
        matches = prediction.matches
        return matches if self.all_matches else matches[: self.top_k or 1]


@dataclass(frozen=True)
class Maker:
    """By what results were made, for their JSON: models by name, options by name."""

    version: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The files of one search; what is not wanted is None.

    index: the index picture; where it is written, the JSON lists every segment.
    """

    names: Names
    wanted: Wanted
    overlay: Path | None
    cutout: Path | None
    index: Path | None
    json: Path | None

    @classmethod
    def of(cls, names: Names, wanted: Wanted) -> Plan:
        """Raises UsageError where several masks would go to standard output."""
        if names.mask is None and (wanted.all_matches or (wanted.top_k or 1) > 1):
            option = "--all-matches" if wanted.all_matches else "--top-k"
            raise UsageError(f"-o - takes one mask; name a file with -o or leave {option} out")
        return cls(
            names,
            wanted,
            names.beside("overlay.png") if wanted.overlay else None,
            names.beside("cutout.png") if wanted.cutout else None,
            names.beside("segments.png") if wanted.all_segments else None,
            names.beside("json") if wanted.json or wanted.all_segments else None,
        )

    @property
    def masks(self) -> list[Path]:
        """Of the matches that may be written, and with all of them those that an earlier search left."""
        if not self.wanted.masks:
            return []
        known = max(1, self.names.masks_there()) if self.wanted.all_matches else self.wanted.top_k or 1
        return self.names.masks(known)

    @property
    def paths(self) -> list[Path]:
        """Every file that is known of before the search."""
        optional = self.overlay, self.cutout, self.index, self.json
        return [*self.masks, *(path for path in optional if path is not None)]

    @property
    def replaced(self) -> list[Path]:
        """What a search that overwrites writes or removes: ``paths``, and further masks of an earlier one."""
        there = self.names.masks(self.names.masks_there()) if self.wanted.masks else []
        return [*self.paths, *there[len(self.masks) :]]

    def contents(self, image: Image, prediction: Prediction, maker: Maker) -> Iterator[tuple[Path, bytes]]:
        """The files of a prediction; of one without a match, only the JSON."""
        from slip.images import encode_png
        from slip.outputs import report, to_json

        if prediction.found:
            for path, pixels in self._pictures(image, prediction):
                yield path, encode_png(pixels)
        if self.json is not None:
            count = None if self.index else self._listed(prediction)
            listed = replace(prediction, segments=prediction.segments[:count])
            every = self.index is not None
            told = report(listed, models=maker.models, options=maker.options, all_segments=every)
            yield self.json, to_json({"version": maker.version, **told})

    def _listed(self, prediction: Prediction) -> int:
        """How many segments the JSON lists: at least those that have a mask."""
        if self.wanted.all_matches:
            return max(TOP_K, len(prediction.matches))
        return self.wanted.top_k or TOP_K

    def _pictures(self, image: Image, prediction: Prediction) -> Iterator[tuple[Path, NDArray[Any]]]:
        from slip import drawing

        best = prediction.best
        if self.wanted.masks:
            chosen = self.wanted.chosen(prediction)
            for path, segment in zip(self.names.masks(len(chosen)), chosen, strict=False):
                yield path, drawing.mask_picture(segment)
        if self.overlay is not None:
            yield self.overlay, drawing.overlay(image, best, f"{prediction.prompt} {best.score:.2f}")
        if self.cutout is not None:
            yield self.cutout, drawing.cutout(image, best)
        if self.index is not None:
            yield self.index, drawing.index_picture(prediction.segments, prediction.image_size)

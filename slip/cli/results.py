"""Which files ``slip segment`` writes, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slip import __version__
from slip.cli.files import Names, to_json
from slip.errors import UsageError
from slip.options import TOP_K

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slip.types import Image, Prediction


@dataclass(frozen=True)
class Wanted:
    """What the user asked for besides the mask."""

    overlay: bool
    cutout: bool
    json: bool
    all_segments: bool
    top_k: int | None


@dataclass(frozen=True)
class Plan:
    """The files of one search; what is not wanted is None.

    masks: of the best segments, best first; empty where the mask goes to standard output.
    index: the index picture; where it is written, the JSON lists every segment.
    listed: how many segments the JSON lists otherwise.
    """

    masks: list[Path]
    overlay: Path | None
    cutout: Path | None
    index: Path | None
    json: Path | None
    listed: int

    @classmethod
    def of(cls, names: Names, wanted: Wanted) -> Plan:
        """Raises UsageError where several masks would go to standard output."""
        count = wanted.top_k or 1
        if names.mask is None and count > 1:
            raise UsageError(f"-o - takes one mask, not {count}; name a file with -o or leave --top-k out")
        return cls(
            names.masks(count),
            names.beside("overlay.png") if wanted.overlay else None,
            names.beside("cutout.png") if wanted.cutout else None,
            names.beside("segments.png") if wanted.all_segments else None,
            names.beside("json") if wanted.json or wanted.all_segments else None,
            wanted.top_k or TOP_K,
        )

    @property
    def paths(self) -> list[Path]:
        """Every file there may be."""
        optional = self.overlay, self.cutout, self.index, self.json
        return [*self.masks, *(path for path in optional if path is not None)]

    def contents(
        self,
        image: Image,
        prediction: Prediction,
        *,
        models: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> Iterator[tuple[Path, bytes]]:
        """The files of a prediction; of one that found nothing, only the JSON."""
        from slip.images import encode_png
        from slip.outputs import report

        if prediction.found:
            for path, pixels in self._pictures(image, prediction):
                yield path, encode_png(pixels)
        if self.json is not None:
            count = None if self.index else self.listed
            listed = replace(prediction, segments=prediction.segments[:count])
            told = report(listed, models=models, options=options, all_segments=self.index is not None)
            yield self.json, to_json({"version": __version__, **told})

    def _pictures(self, image: Image, prediction: Prediction) -> Iterator[tuple[Path, NDArray[Any]]]:
        from slip import outputs

        best = prediction.best
        for path, segment in zip(self.masks, prediction.segments, strict=False):
            yield path, outputs.mask_picture(segment)
        if self.overlay is not None:
            yield self.overlay, outputs.overlay(image, best, f"{prediction.prompt} {best.score:.2f}")
        if self.cutout is not None:
            yield self.cutout, outputs.cutout(image, best)
        if self.index is not None:
            yield self.index, outputs.index_picture(prediction.segments, prediction.image_size)

"""Pictures with questions: what is there, what is not, and which segments would be right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from slip.data.composites import Tile, draw_composite, plan_composites
from slip.data.critters import SPECIES, caption, make_scene
from slip.data.pictures import PictureSet
from slip.data.splits import split
from slip.evaluation.trials import tile_of
from slip.images import resize
from slip.masks import segment_iou, segment_of
from slip.options import EvalOptions, Overlap, View
from slip.pipeline.crops import VIEWS, crop_views
from slip.pipeline.overlap import drop_overlaps
from slip.pipeline.propose import propose_segments
from slip.pipeline.score import LogOdds, quality_prior
from slip.types import Encoder, Features, Image, Proposer, Segment

GOOD_IOU = 0.5
_BATCH = 64

IsRight = Callable[[Segment], Sequence[bool]]
"""Says of a segment, for each thing that is there, whether it is the right answer."""


@dataclass(frozen=True, eq=False)
class Exam:
    """A picture searched once and seen in every view: all that ranking needs, and the answers.

    present, absent: prompts for what is there, and as many for what is not.
    crops: of all N segments, for each view, ``float32 (N, D)``. whole: the picture's, ``float32 (1, D)``.
    kept: which of the segments each filter leaves. prior: SAM's trust in each, ``float64 (N,)``.
    right: which of them answers which present prompt, ``bool (P, N)``.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    crops: Mapping[str, Features]
    whole: Features
    kept: Mapping[Overlap, list[int]]
    prior: LogOdds
    right: NDArray[np.bool_]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Examiner:
    """Sets exams with one pair of models."""

    proposer: Proposer
    encoder: Encoder

    def scenes(self, first: int, count: int) -> Iterator[Exam]:
        """Scenes of seeds from ``first``; asked for is every critter, by its looks."""
        for number in range(first, first + count):
            scene = make_scene(number)
            truths = [segment_of(scene.mask(critter)) for critter in scene.critters]
            present = [critter.caption for critter in scene.critters]
            absent = self._others(present, sorted({caption(kin) for kin in SPECIES}), number)
            yield self._exam(scene.image, present, absent, partial(_shows, truths=truths))

    def composites(self, data: PictureSet, options: EvalOptions) -> Iterator[Exam]:
        """Composites of held-out pictures; asked for is the class of every tile."""
        for number, plan in enumerate(plan_composites(split(data.pictures).validation, options)):
            composite = draw_composite(plan, data, options)
            present = [tile.prompt for tile in composite.tiles]
            absent = self._others(present, data.classes, number)
            yield self._exam(composite.image, present, absent, partial(_lies_in, tiles=composite.tiles))

    def _others(self, present: Sequence[str], all_prompts: Sequence[str], seed: int) -> list[str]:
        """As many prompts that are not present, or all there are, drawn by the seed."""
        others = [prompt for prompt in all_prompts if prompt not in present]
        rng = np.random.default_rng(seed)
        return [str(prompt) for prompt in rng.permutation(others)[: len(present)]]

    def _exam(self, image: Image, present: Sequence[str], absent: Sequence[str], is_right: IsRight) -> Exam:
        segments = list(propose_segments(self.proposer, image))
        place = {id(segment): index for index, segment in enumerate(segments)}
        side = self.encoder.image_size
        right = np.array([is_right(segment) for segment in segments], bool)
        return Exam(
            tuple(present),
            tuple(absent),
            {view: self._encode(image, segments, view) for view in VIEWS},
            self.encoder.encode_images(resize(image, side, side)[None]),
            {
                overlap: [place[id(segment)] for segment in drop_overlaps(segments, overlap)]
                for overlap in get_args(Overlap)
            },
            quality_prior(segments),
            right.reshape(len(segments), len(present)).T,
            tuple(segments),
        )

    def _encode(self, image: Image, segments: Sequence[Segment], view: View) -> Features:
        batches = [
            self.encoder.encode_images(
                crop_views(image, segments[start : start + _BATCH], view, self.encoder.image_size)
            )
            for start in range(0, max(len(segments), 1), _BATCH)
        ]
        return np.concatenate(batches)


def _shows(segment: Segment, truths: Sequence[Segment | None]) -> list[bool]:
    return [truth is not None and segment_iou(segment, truth) >= GOOD_IOU for truth in truths]


def _lies_in(segment: Segment, tiles: Sequence[Tile]) -> list[bool]:
    return [tile_of(segment, tiles) == place for place in range(len(tiles))]

"""The segments that segment_anything's automatic mask generator finds, sooner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torchvision.ops import nms

from slip.device import Compute, is_out_of_memory
from slip.models.checks import check_options
from slip.models.sam.budget import Budget
from slip.models.sam.decoder import MASKS, ImageSide, PointDecoder
from slip.models.sam.encoder import encode_image
from slip.models.sam.fullsize import Found, FullSize
from slip.models.sam.points import Grid, Numbers
from slip.models.sam.resize import Resize
from slip.options import ProposeOptions
from slip.types import Features, Image, Progress, Segment

BOX_NMS = 0.7
"""Of two masks whose boxes overlap more than this, the one of lower predicted IoU goes (the library's)."""

SURE_IOU = 0.9
SURE_STABILITY = 0.8
"""Only a mask of at least these makes it needless to ask at other points inside.

Where SAM is unsure, its masks differ from point to point.
"""

DECODED = Budget(on_cpu=2**23, elsewhere=2**28)
"""Bytes of the image side of the points decoded together."""

Tell = Callable[[int | None], None]
"""Called with the number of points asked since the last call; with None when the rest is left out."""

Ask = Callable[[Numbers], "list[Candidate]"]
"""Asks at points by their numbers."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that passed the thresholds, and its place among all answers of the grid."""

    place: int
    predicted_iou: float
    found: Found

    @property
    def sure(self) -> bool:
        """Whether other points inside may be taken to give the same mask."""
        return self.predicted_iou >= SURE_IOU and self.found.stability >= SURE_STABILITY


class SamProposer:
    """Asks SAM at a grid of points and keeps the masks it is sure of.

    The method is that of segment_anything's automatic mask generator (SAM paper, section 4 and
    appendix B), with its non-maximum suppression of boxes and without its crops of the picture.
    ``exhaustive`` asks every point and finds the same masks but for rounding. ``adaptive`` asks a
    sixteenth of them first, and leaves out those deep inside the smallest mask of one of these, if SAM
    is sure of it.
    ``guided`` is ``adaptive`` for ``propose``, and has ``propose_guided``.
    """

    def __init__(self, sam: Sam, options: ProposeOptions, compute: Compute, name: str) -> None:
        check_options(options)
        self.name = name
        self.image_size = int(sam.image_encoder.img_size)
        self._sam = sam.to(compute.device)
        self._options = options
        self._compute = compute
        self._decoder = PointDecoder(self._sam, compute.dtype)
        self._together = options.points_per_batch or self._fitting()

    def _fitting(self) -> int:
        """How many points are decoded together."""
        encoder = self._sam.prompt_encoder
        height, width = encoder.image_embedding_size
        bytes_a_point: int = height * width * encoder.embed_dim * self._compute.dtype.itemsize
        return DECODED.fitting(bytes_a_point, self._sam.device)

    @property
    def guided(self) -> bool:
        """Whether it was asked for to be told what is of interest, by ``propose_guided``."""
        return self._options.points == "guided"

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        """Segments of a ``uint8 (H, W, 3)`` RGB picture, by falling predicted IoU; may be empty.

        ``progress`` counts the points asked or left out, in the stage ``propose``.
        """
        if self._options.points == "exhaustive":
            return self._propose(image, lambda ask, grid: ask(np.arange(len(grid.places))), progress)
        return self._propose(image, _ask_adaptively, progress)

    def propose_guided(
        self, image: Image, interest: Features, progress: Progress | None = None
    ) -> list[Segment]:
        """As ``propose``, but asks at the coarse points and where there is most to be expected.

        interest: ``float32 (h, w)`` over the whole picture, higher where points are worth more.
        """

        def ask_likely(ask: Ask, grid: Grid) -> list[Candidate]:
            return ask(np.flatnonzero(grid.coarse() | grid.likely(interest)))

        return self._propose(image, ask_likely, progress)

    @torch.inference_mode()
    def _propose(
        self, image: Image, strategy: Callable[[Ask, Grid], list[Candidate]], progress: Progress | None
    ) -> list[Segment]:
        size = image.shape[0], image.shape[1]
        grid = Grid(self._options.points_per_side, size)
        tell = _counter(progress, len(grid.places))
        search = self._look(image, grid)
        candidates = strategy(partial(self._ask, search, tell), grid)
        tell(None)
        return [_segment(candidate, size) for candidate in _without_duplicates(candidates)]

    def _look(self, image: Image, grid: Grid) -> Search:
        """What is computed once a picture; calling it asks at points, by their numbers in the grid."""
        size = image.shape[0], image.shape[1]
        embedding, seen = encode_image(self._sam, image, self._compute)
        points = torch.as_tensor(Resize(self.image_size).apply_coords(grid.places, size))
        low = 4 * embedding.shape[1], 4 * embedding.shape[2]
        return Search(
            self._decoder,
            self._decoder.image_side(embedding),
            FullSize(low, self.image_size, seen, size, self._sam.mask_threshold, embedding.device),
            points.to(embedding.device),
            self._options,
        )

    def _ask(self, search: Search, tell: Tell, numbers: Numbers) -> list[Candidate]:
        """Asks at all these points, fewer of them together from the moment on that memory runs out."""
        candidates: list[Candidate] = []
        while len(numbers):
            batch = numbers[: self._together]
            try:
                candidates += search(batch)
            except (MemoryError, RuntimeError) as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                self._together = len(batch) // 2
                continue
            tell(len(batch))
            numbers = numbers[len(batch) :]
        return candidates


@dataclass(frozen=True, eq=False)
class Search:
    """A picture that SAM has seen. points: x and y of every point of the grid in SAM's input."""

    decoder: PointDecoder
    shared: ImageSide
    full: FullSize
    points: Tensor
    options: ProposeOptions

    def __call__(self, numbers: Numbers) -> list[Candidate]:
        """The masks that pass the thresholds at the points of these numbers."""
        answers = self.decoder.answer(self.shared, self.points[torch.as_tensor(numbers)])
        wanted = torch.isfinite(answers.predicted_iou)
        if self.options.pred_iou_thresh > 0:
            wanted &= answers.predicted_iou > self.options.pred_iou_thresh
        found = self.full.find(self.decoder.logits(answers, wanted), self.options.stability_thresh)
        ious = answers.predicted_iou[wanted].tolist()
        rows, masks = (axis.cpu().numpy() for axis in wanted.nonzero(as_tuple=True))
        places = numbers[rows] * MASKS + masks
        return [
            Candidate(int(place), iou, mask)
            for place, iou, mask in zip(places, ious, found, strict=True)
            if mask is not None
        ]


def _ask_adaptively(ask: Ask, grid: Grid) -> list[Candidate]:
    coarse = grid.coarse()
    candidates = ask(np.flatnonzero(coarse))
    done = coarse
    for found in _explaining(candidates):
        done = done | grid.deep_inside(found)
    return candidates + ask(np.flatnonzero(~done))


def _explaining(candidates: list[Candidate]) -> list[Found]:
    """Of each point's masks the smallest, where SAM is sure of it."""
    finest: dict[int, Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: -candidate.found.area):
        finest[candidate.place // MASKS] = candidate
    return [candidate.found for candidate in finest.values() if candidate.sure]


def _without_duplicates(candidates: list[Candidate]) -> list[Candidate]:
    """By falling predicted IoU, without those whose box repeats that of a better one."""
    if not candidates:
        return []
    ordered = sorted(candidates, key=lambda candidate: candidate.place)
    corners = [(box.x1, box.y1, box.x2 - 1, box.y2 - 1) for box in (each.found.box for each in ordered)]
    scores = torch.tensor([candidate.predicted_iou for candidate in ordered])
    kept = nms(torch.tensor(corners, dtype=torch.float32), scores, BOX_NMS)
    return [ordered[index] for index in kept.tolist()]


def _segment(candidate: Candidate, size: tuple[int, int]) -> Segment:
    found = candidate.found
    return Segment(found.patch, found.box, size, candidate.predicted_iou, found.stability)


def _counter(progress: Progress | None, total: int) -> Tell:
    """Reports to ``progress`` from 0 to ``total``."""
    done = 0

    def tell(more: int | None) -> None:
        nonlocal done
        done = total if more is None else done + more
        if progress:
            progress("propose", done, total)

    tell(0)
    return tell

"""Proposals by segment_anything's own automatic mask generator: what the fast ones are compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.amg import MaskData
from torch import Tensor

from slip.device import Compute
from slip.masks import decode_rle, segment_of
from slip.models.checks import check_options
from slip.models.sam.resize import Resize
from slip.options import ProposeOptions
from slip.types import Image, Progress, Segment


class ReferenceProposer:
    """Asks SAM at a grid of points and keeps the masks it is sure of.

    The method is segment_anything's automatic mask generator (SAM paper, section 4 and appendix B),
    with its non-maximum suppression of boxes; without its crops of the picture.
    """

    def __init__(self, sam: Sam, options: ProposeOptions, compute: Compute, name: str) -> None:
        check_options(options)
        self.name = name
        self.image_size = int(sam.image_encoder.img_size)
        self._compute = compute
        self._generator = _Generator(sam.to(compute.device), options)

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        """Segments of a ``uint8 (H, W, 3)`` RGB picture, in the generator's order; may be empty.

        ``progress`` counts the points asked, in the stage ``propose``.
        """
        self._generator.watch(progress)
        with self._compute.autocast():
            records = self._generator.generate(image)
        segments = (_segment(record) for record in records)
        return [segment for segment in segments if segment is not None]


def _segment(record: dict[str, Any]) -> Segment | None:
    predicted_iou, stability = record["predicted_iou"], record["stability_score"]
    if not (math.isfinite(predicted_iou) and math.isfinite(stability)):
        return None
    return segment_of(decode_rle(record["segmentation"]), predicted_iou, stability)


class _Generator(SamAutomaticMaskGenerator):  # type: ignore[misc]
    """The automatic mask generator, which tells how far it is."""

    def __init__(self, sam: Sam, options: ProposeOptions) -> None:
        super().__init__(
            sam,
            points_per_side=options.points_per_side,
            points_per_batch=options.points_per_batch or 64,
            pred_iou_thresh=options.pred_iou_thresh,
            stability_score_thresh=options.stability_thresh,
            output_mode="uncompressed_rle",
        )
        self.predictor = _Predictor(sam)
        self.watch(None)

    def watch(self, progress: Progress | None) -> None:
        """Report the next picture to ``progress``."""
        self._progress = progress
        self._done = 0
        self._report(0)

    def _process_batch(self, points: NDArray[np.float64], *args: Any) -> MaskData:
        data = super()._process_batch(points, *args)
        self._report(len(points))
        return data

    def _report(self, points: int) -> None:
        self._done += points
        if self._progress:
            self._progress("propose", self._done, len(self.point_grids[0]))


class _Predictor(SamPredictor):  # type: ignore[misc]
    def __init__(self, sam: Sam) -> None:
        super().__init__(sam)
        self.transform = Resize(sam.image_encoder.img_size)

    def predict_torch(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The parent's prediction with the IoU in float32: NMS and NumPy take no bfloat16."""
        masks, predicted_iou, low_res_masks = super().predict_torch(*args, **kwargs)
        return masks, predicted_iou.float(), low_res_masks

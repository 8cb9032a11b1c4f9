"""Ways to search a picture: segment_anything's, ours, and each trick of ours alone or left out.

Composed from the pieces of segment_anything and of slip.models.sam, of which none has a switch for it.
Each is built in a process of its own, so that what one puts in a module's place meets no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import MaskDecoder, Sam
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor

from benchmarks.workers import Stopwatch
from slip.device import Compute
from slip.masks import decode_rle, segment_of
from slip.models.sam import load_sam, proposer
from slip.models.sam.decoder import ImageSide, PointDecoder
from slip.models.sam.encoder import encode_image
from slip.models.sam.fullsize import Found, FullSize
from slip.models.sam.points import Grid
from slip.models.sam.proposer import SamProposer, Search
from slip.options import Points, ProposeOptions
from slip.types import Image, Segment

BATCH = 64
"""The library's points a batch, and ours where the size is not fitted to the cache."""
FEW = 4
"""The reference's points a batch where they are to stay in the cache."""
WARM_UP = BATCH
"""Points of a first search of the library's generator."""
ASKED = 0.53
"""Share of the points that adaptive search asks of the tiny SAM on drawn scenes."""
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
SPREAD, CENTRE = 50.0, 0.5
"""Random weights answer masks of logits near 0 and predicted IoUs near 0; with these they do not."""


class Method(Protocol):
    """A way to search, built."""

    def __call__(self, image: Image) -> Any:
        """Search a picture: what is measured."""
        ...

    def segments(self, found: Any) -> list[Segment]:
        """What was found, as segments."""
        ...


@dataclass(frozen=True)
class Side:
    """One competitor. against: the name of the one it is compared with.

    per_side: points a side in place of the run's.
    """

    name: str
    make: Callable[[Sam, ProposeOptions, Compute], Method]
    points: Points = "exhaustive"
    precision: str = "fp32"
    batch: int | None = None
    per_side: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    against: str = "reference"


class Library:
    """segment_anything's automatic mask generator, its defaults but for points and thresholds."""

    def __init__(
        self,
        sam: Sam,
        options: ProposeOptions,
        compute: Compute,
        predictor: type[SamPredictor] = SamPredictor,
    ) -> None:
        self._generator = SamAutomaticMaskGenerator(
            sam.to(compute.device),
            points_per_side=options.points_per_side,
            points_per_batch=options.points_per_batch or BATCH,
            pred_iou_thresh=options.pred_iou_thresh,
            stability_score_thresh=options.stability_thresh,
            output_mode="uncompressed_rle",
        )
        self._generator.predictor = predictor(sam)
        self._compute = compute
        self.batch = self._generator.points_per_batch

    def __call__(self, image: Image) -> list[dict[str, Any]]:
        with self._compute.autocast():
            records: list[dict[str, Any]] = self._generator.generate(image)
        return records

    @contextmanager
    def at_few_points(self) -> Iterator[None]:
        """For a while asks only at WARM_UP points."""
        grids = self._generator.point_grids
        self._generator.point_grids = [grid[:WARM_UP] for grid in grids]
        yield
        self._generator.point_grids = grids

    def segments(self, found: list[dict[str, Any]]) -> list[Segment]:
        each = (
            segment_of(decode_rle(one["segmentation"]), one["predicted_iou"], one["stability_score"])
            for one in found
        )
        return [segment for segment in each if segment is not None]


class InFloat(SamPredictor):  # type: ignore[misc]
    """With the predicted IoU in float32: under autocast it is bf16, which the library's NMS does not take."""

    def predict_torch(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        masks, predicted_iou, low = super().predict_torch(*args, **kwargs)
        return masks, predicted_iou.float(), low


class OurEncoder(SamPredictor):  # type: ignore[misc]
    """The library's predictor, with the picture encoded by us."""

    def set_image(self, image: Image, image_format: str = "RGB") -> None:
        self.reset_image()
        embedding, self.input_size = encode_image(self.model, image, Compute(str(self.device), "fp32"))
        self.features = embedding[None]
        self.original_size = image.shape[:2]
        self.is_image_set = True


class OurDecoder(SamPredictor):  # type: ignore[misc]
    """The library's predictor, with all masks decoded by us, then enlarged whole by the library."""

    _view: ImageSide | None = None

    def reset_image(self) -> None:
        super().reset_image()
        self._view = None

    @torch.inference_mode()
    def predict_torch(self, points: Tensor, labels: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        decoder = PointDecoder(self.model, torch.float32)
        if self._view is None:
            self._view = decoder.image_side(self.features[0])
        answers = decoder.answer(self._view, points[:, 0].float())
        wanted = torch.ones_like(answers.predicted_iou, dtype=torch.bool)
        low = decoder.logits(answers, wanted)
        low = low.view(*wanted.shape, *low.shape[1:])
        masks = self.model.postprocess_masks(low, self.input_size, self.original_size)
        return masks, answers.predicted_iou, low


def reference(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    return Library(sam, options, compute)


def reference_in_float(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    return Library(sam, options, compute, InFloat)


def reference_with_encoder(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    return Library(sam, options, compute, OurEncoder)


def reference_with_decoder(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    return Library(sam, options, compute, OurDecoder)


class Ours:
    """Our proposer as it is."""

    def __init__(self, sam: Sam, options: ProposeOptions, compute: Compute) -> None:
        self.proposer = cast(Any, SamProposer(sam, options, compute, "sam"))

    @property
    def batch(self) -> int:
        return int(self.proposer._together)

    def __call__(self, image: Image) -> list[Segment]:
        found: list[Segment] = self.proposer.propose(image)
        return found

    def segments(self, found: list[Segment]) -> list[Segment]:
        return found


class AllMasks(PointDecoder):
    """Makes every mask, then takes the wanted ones."""

    def logits(self, answers: Any, wanted: Tensor) -> Tensor:
        return super().logits(answers, torch.ones_like(wanted))[wanted.flatten()]


class WholeMasks(FullSize):
    """Computes masks in the whole picture, not only in their boxes."""

    def _find(self, logits: Tensor, rows: Any, columns: Any, least_stability: float) -> Found | None:
        return super()._find(logits, (0, logits.shape[0]), (0, logits.shape[1]), least_stability)


class SmallStability(FullSize):
    """Computes the stability of the small logits first, and enlarges only what is stable there."""

    def find(self, logits: Tensor, least_stability: float) -> list[Found | None]:
        shown = logits[:, : self._rows.seen, : self._columns.seen]
        stable = calculate_stability_score(shown, self._threshold, 1.0) >= least_stability
        found = iter(super().find(logits[stable], least_stability))
        return [next(found) if passes else None for passes in stable.tolist()]


class AsManyPoints(Grid):
    """Leaves out as many points as masks of trained weights do, whatever the masks."""

    def deep_inside(self, found: Found) -> NDArray[np.bool_]:
        others = np.random.default_rng(0).permutation(np.flatnonzero(~self.coarse()))
        left_out = np.zeros(len(self.places), bool)
        left_out[others[: round(len(left_out) * (1 - ASKED))]] = True
        return left_out


def all_masks(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    ours = Ours(sam, options, compute)
    ours.proposer._decoder = AllMasks(sam, compute.dtype)
    return ours


def whole_masks(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    vars(proposer)["FullSize"] = WholeMasks
    return Ours(sam, options, compute)


def small_stability(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    vars(proposer)["FullSize"] = SmallStability
    return Ours(sam, options, compute)


def as_many_points(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    vars(proposer).update(Grid=AsManyPoints, SURE_IOU=-np.inf, SURE_STABILITY=-np.inf)
    return Ours(sam, options, compute)


def library_encoder(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    def encode(sam: Sam, image: Image, compute: Compute) -> tuple[Tensor, tuple[int, int]]:
        predictor = SamPredictor(sam)
        with compute.autocast():
            predictor.set_image(image)
        return predictor.features[0].float(), predictor.input_size

    vars(proposer)["encode_image"] = encode
    return Ours(sam, options, compute)


def compiled_decoder(sam: Sam, options: ProposeOptions, compute: Compute) -> Method:
    ours = Ours(sam, options, compute)
    ours.proposer._decoder.answer = torch.compile(ours.proposer._decoder.answer)
    return ours


REFERENCE = Side("reference", reference)
EXHAUSTIVE = Side("ours, exhaustive", Ours)
ADAPTIVE = Side("ours, adaptive", Ours, "adaptive")
AS_MANY_POINTS = Side(f"ours, {ASKED:.0%} of the points", as_many_points, "adaptive")
ADAPTIVE_BF16 = Side("ours, adaptive, bf16", Ours, "adaptive", "bf16")

ALONE = (
    replace(REFERENCE, name=f"reference, {FEW} points a batch", batch=FEW),
    Side("reference, bf16 autocast", reference_in_float, precision="bf16"),
    replace(REFERENCE, name="reference, huge pages", environment=HUGE_PAGES),
    Side("reference, our encoder", reference_with_encoder),
    Side("reference, our decoder", reference_with_decoder),
    Side(f"reference, our decoder, {FEW} points a batch", reference_with_decoder, batch=FEW),
)
"""Each trick on the library's generator."""

WITHOUT = (
    Side("exhaustive but the library's encoder", library_encoder),
    Side("exhaustive but all masks made", all_masks),
    Side("exhaustive but masks enlarged whole", whole_masks),
    replace(EXHAUSTIVE, name=f"exhaustive but {BATCH} points a batch", batch=BATCH),
)
"""Everything of ours but one."""

MORE = (
    ADAPTIVE_BF16,
    replace(EXHAUSTIVE, name="exhaustive and huge pages", environment=HUGE_PAGES),
    replace(ADAPTIVE_BF16, name="adaptive, bf16 and huge pages", environment=HUGE_PAGES),
    Side("exhaustive and decoder compiled", compiled_decoder),
    Side("exhaustive and stability of small masks first", small_stability),
)
"""More of it; also what does not pay, and so is not in slip."""

TRICKS = (*ALONE, *WITHOUT, EXHAUSTIVE, ADAPTIVE, *MORE)


def load(name: str) -> Sam:
    """The built-in SAM, an architecture with random weights, or a checkpoint's by its path."""
    if name not in sam_model_registry:
        return load_sam(name)
    torch.manual_seed(0)
    sam = sam_model_registry[name]()
    decoder = sam.mask_decoder
    with torch.no_grad():
        decoder.iou_prediction_head.layers[-1].bias += CENTRE
        for head in decoder.output_hypernetworks_mlps:
            head.layers[-1].weight *= SPREAD
            head.layers[-1].bias *= SPREAD
    return sam


@dataclass(frozen=True)
class Setup:
    """Builds a side in its worker. image: what it searches first, which does not count."""

    side: Side
    sam: str
    options: ProposeOptions
    device: str
    image: Image

    def __call__(self) -> Searching:
        sam = load(self.sam)
        compute = Compute(self.device, self.side.precision)
        options = replace(
            self.options,
            points_per_side=self.side.per_side or self.options.points_per_side,
            points=self.side.points,
            points_per_batch=self.side.batch,
        )
        return Searching(self.side.make(sam, options, compute), self.image)


@dataclass(frozen=True, eq=False)
class Searched:
    """What a side found in a picture. stages: seconds; counts: points asked, masks that passed.

    device_peak: bytes of the GPU's memory, 0 without one.
    """

    segments: list[Segment]
    stages: Mapping[str, float]
    counts: Mapping[str, int]
    device_peak: int


class Searching:
    """The job of a worker."""

    def __init__(self, method: Method, first: Image) -> None:
        self._method = method
        self._first = first
        self._watch = Stopwatch()
        for predictor in (SamPredictor, OurEncoder):
            self._watch.watch(predictor, "set_image", "encoder")
        self._watch.watch(MaskDecoder, "forward", "decoder")
        self._watch.watch(Sam, "postprocess_masks", "enlarging")
        self._watch.watch(
            SamAutomaticMaskGenerator,
            "_process_batch",
            "filter and codes",
            lambda data, arguments: {"points": len(arguments[1]), "passed": len(data["iou_preds"])},
        )
        self._watch.watch(proposer, "encode_image", "encoder")
        self._watch.watch(PointDecoder, "image_side", "decoder")
        self._watch.watch(PointDecoder, "answer", "decoder")
        self._watch.watch(PointDecoder, "logits", "masks")
        self._watch.watch(FullSize, "find", "enlarging")
        self._watch.watch(proposer, "_without_duplicates", "duplicates")
        self._watch.watch(
            Search,
            "__call__",
            "filter",
            lambda candidates, arguments: {"points": len(arguments[1]), "passed": len(candidates)},
        )

    def warm_up(self) -> None:
        """A search; of the library's generator, which may take minutes, at fewer points."""
        if isinstance(self._method, Library):
            with self._method.at_few_points():
                self._method(self._first)
        else:
            self._method(self._first)

    def run(self, image: Image) -> Any:
        self._watch.clear()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        return self._method(image)

    def report(self, found: Any) -> Searched:
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        segments = self._method.segments(found)
        counts = {**self._watch.counts, "batch": cast(Any, self._method).batch}
        return Searched(segments, dict(self._watch.spent), counts, peak)

"""SAM (Kirillov et al. 2023, arXiv 2304.02643): segment_anything's own classes, as a proposer."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.amg import MaskData
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from slip.device import Compute
from slip.errors import WeightsError
from slip.masks import decode_rle, segment_of
from slip.models.checkpoint import State, built_in, load_strictly, read_checkpoint, read_state
from slip.models.checks import check_options, check_sam, is_named_sam
from slip.options import ProposeOptions
from slip.types import Image, Progress, Segment
from slip.weights import ensure

OFFICIAL = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""Width of the image encoder to architecture."""

PIXEL_MEAN = [123.675, 116.28, 103.53]
PIXEL_STD = [58.395, 57.12, 57.375]


def build_sam(config: dict[str, Any]) -> Sam:
    """A SAM of any size with random weights, in evaluation mode.

    config: image_size and patch_size (pixels); of the image encoder embed_dim, depth, num_heads,
    mlp_ratio, window_size, global_attn_indexes, use_rel_pos; out_chans, the width of the prompt
    encoder and the decoder; mask_in_chans; decoder_depth, decoder_heads, decoder_mlp_dim;
    iou_head_depth, iou_head_hidden_dim. Raises WeightsError for a configuration of other keys or
    values that do not go together.
    """
    try:
        return _assemble(**config).eval()
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"not a configuration of SAM: {reason}") from None


def _assemble(
    *,
    image_size: int,
    patch_size: int,
    embed_dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float,
    window_size: int,
    global_attn_indexes: list[int],
    use_rel_pos: bool,
    out_chans: int,
    mask_in_chans: int,
    decoder_depth: int,
    decoder_heads: int,
    decoder_mlp_dim: int,
    iou_head_depth: int,
    iou_head_hidden_dim: int,
) -> Sam:
    grid = image_size // patch_size
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            out_chans=out_chans,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=use_rel_pos,
            window_size=window_size,
            global_attn_indexes=tuple(global_attn_indexes),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=out_chans,
            image_embedding_size=(grid, grid),
            input_image_size=(image_size, image_size),
            mask_in_chans=mask_in_chans,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=out_chans,
            transformer=TwoWayTransformer(
                depth=decoder_depth, embedding_dim=out_chans, num_heads=decoder_heads, mlp_dim=decoder_mlp_dim
            ),
            iou_head_depth=iou_head_depth,
            iou_head_hidden_dim=iou_head_hidden_dim,
        ),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
    )


def load_sam(source: str, progress: Progress | None = None) -> Sam:
    """A SAM with its weights: ``tiny``, ``vit_b``, ``vit_l``, ``vit_h``, or the path of a checkpoint.

    A path leads to a SLIP checkpoint (``.safetensors``) or to a file in the official format, whose
    architecture is told from its shapes. Raises UsageError for a name that is neither, WeightsError.
    """
    check_sam(source)
    if source == "tiny":
        return _load_own(built_in("sam"))
    if is_named_sam(source):
        return _load_official(ensure(f"sam/{source}", progress), source)
    path = Path(source)
    return _load_own(path) if path.suffix == ".safetensors" else _load_official(path)


def name_of(source: str) -> str:
    """What ``load_sam(source)`` is called in results."""
    return f"sam/{source}" if is_named_sam(source) else Path(source).name


def _load_own(path: Path) -> Sam:
    config, state = read_checkpoint(path, "sam")
    sam = build_sam(config)
    load_strictly(sam, state, path, "the SAM of its configuration")
    return sam


def _load_official(path: Path, expected: str | None = None) -> Sam:
    state = read_state(path)
    architecture = _architecture(state)
    if architecture is None or expected not in (None, architecture):
        wanted = expected or "vit_b, vit_l or vit_h"
        raise WeightsError(
            f"{path} holds {architecture or 'no official SAM'}; expected the weights of {wanted}"
        )
    sam = sam_model_registry[architecture]()
    load_strictly(sam, state, path, architecture)
    return sam


def _architecture(state: State) -> str | None:
    patches = state.get("image_encoder.patch_embed.proj.weight")
    return OFFICIAL.get(patches.shape[0]) if patches is not None and patches.ndim else None


class SamProposer:
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
            points_per_batch=options.points_per_batch,
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
        self.transform = _Resize(sam.image_encoder.img_size)

    def predict_torch(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The parent's prediction with the IoU in float32: NMS and NumPy take no bfloat16."""
        masks, predicted_iou, low_res_masks = super().predict_torch(*args, **kwargs)
        return masks, predicted_iou.float(), low_res_masks


class _Resize(ResizeLongestSide):  # type: ignore[misc]
    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[np.float32]:
        """The parent's coordinates in float32: MPS has no float64."""
        return np.asarray(super().apply_coords(coords, original_size), np.float32)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """The parent's size with no side of 0, which very long pictures would get."""
        height, width = ResizeLongestSide.get_preprocess_shape(oldh, oldw, long_side_length)
        return max(height, 1), max(width, 1)

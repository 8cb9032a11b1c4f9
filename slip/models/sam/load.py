"""Building SAM of any size, and loading its weights: built-in, official, or of a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from slip.errors import WeightsError
from slip.models.checkpoint import State, WithoutDraws, load_strictly, read_checkpoint, read_state
from slip.models.checks import check_sam, is_named_sam
from slip.models.header import built_in
from slip.types import Progress
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
    if decoder_depth < 1:
        raise ValueError(f"a decoder of {decoder_depth} layers; it has 1 or more")
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


def _load_own(path: Path) -> Sam:
    config, state = read_checkpoint(path, "sam")
    with WithoutDraws():
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
    with WithoutDraws():
        sam = sam_model_registry[architecture]()
    load_strictly(sam, state, path, architecture)
    return sam


def _architecture(state: State) -> str | None:
    patches = state.get("image_encoder.patch_embed.proj.weight")
    return OFFICIAL.get(patches.shape[0]) if patches is not None and patches.ndim else None

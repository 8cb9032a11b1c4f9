"""SAM's mask decoder for single points: segment_anything's function and weights, in fewer operations.

Kirillov et al. 2023, appendix A. Three changes, none of which changes a result but by rounding:

- What every point shares is computed once a picture: the image side of the first layer's attention.
- Few tokens (7 a point) meet many pixels (4,096). A projection of the pixels that is only multiplied
  with a projection of the tokens is moved to the side of the tokens: (x K) q = x (K q).
- The quality of a mask is known before the mask; only masks that are wanted are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from slip.models.sam.budget import Budget

MASKS = 3
"""Masks of a point: SAM's answers to an ambiguous prompt, without its answer to a clear one."""

UPSCALED = Budget(on_cpu=2**22, elsewhere=2**28)
"""Bytes of upscaled pixels made at once."""


@dataclass(frozen=True, eq=False)
class ImageSide:
    """The image side of a picture, of N pixels of the embedding and h heads, shared by all points.

    pixels, position: ``(N, C)``. keys, values, queries: ``(h, N, d)``, of the first layer.
    """

    pixels: Tensor
    position: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


@dataclass(frozen=True, eq=False)
class Answers:
    """What the decoder knows of B points before any mask is made.

    predicted_iou: ``float32 (B, 3)``. tokens: ``float32 (B, 3, C)``, one a mask. pixels: ``(B, N, C)``.
    """

    predicted_iou: Tensor
    tokens: Tensor
    pixels: Tensor


class PointDecoder:
    """Masks of single foreground points.

    dtype: what the image side is computed in; the tokens' side is float32.
    """

    def __init__(self, sam: Sam, dtype: torch.dtype) -> None:
        self._prompts = sam.prompt_encoder
        self._decoder = sam.mask_decoder
        self._transformer = sam.mask_decoder.transformer
        self._heads = int(self._transformer.num_heads)
        self._dtype = dtype
        height, width = self._prompts.image_embedding_size
        spread = 16 * height * width * self._prompts.embed_dim // 8 * dtype.itemsize
        self._upscaled_together = UPSCALED.fitting(spread, sam.device)

    def image_side(self, embedding: Tensor) -> ImageSide:
        """What all points share of an image embedding ``(C, h, w)``."""
        no_mask = self._prompts.no_mask_embed.weight.reshape(-1, 1, 1)
        pixels = _rows(embedding.float() + no_mask)
        position = _rows(self._prompts.get_dense_pe()[0])
        first = self._transformer.layers[0]
        placed = pixels + position
        projected = (
            first.cross_attn_token_to_image.k_proj(placed),
            first.cross_attn_token_to_image.v_proj(pixels),
            first.cross_attn_image_to_token.q_proj(placed),
        )
        heads = (self._split(each).transpose(0, 1).contiguous() for each in projected)
        return ImageSide(*(tensor.to(self._dtype) for tensor in (pixels, position, *heads)))

    def answer(self, shared: ImageSide, points: Tensor) -> Answers:
        """Asks at points ``float32 (B, 2)``: x and y in pixels of the encoder's input."""
        prompts = self._tokens(points)
        first, *others = self._transformer.layers
        tokens, pixels = self._first_layer(first, prompts, shared)
        placed = pixels + shared.position
        for layer in others:
            tokens, pixels = self._layer(layer, tokens, prompts, pixels, placed)
            placed = pixels + shared.position
        final = self._transformer.final_attn_token_to_image
        tokens = tokens + self._attend(final, tokens + prompts, pixels, placed)
        tokens = self._transformer.norm_final_attn(tokens)
        predicted_iou = self._decoder.iou_prediction_head(tokens[:, 0])[:, 1:]
        return Answers(predicted_iou, tokens[:, 2 : 2 + MASKS], pixels)

    def logits(self, answers: Answers, wanted: Tensor) -> Tensor:
        """The masks' logits ``float32 (M, 4h, 4w)`` where ``wanted``, ``bool (B, 3)``, in its order."""
        points = wanted.any(1).nonzero().flatten()
        pieces = torch.split(points, self._upscaled_together)
        made = [self._logits(answers.pixels[some], answers.tokens[some], wanted[some]) for some in pieces]
        height, width = self._prompts.image_embedding_size
        placed = torch.cat(made).view(-1, height, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
        return placed.reshape(len(placed), 4 * height, 4 * width)

    def _logits(self, pixels: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
        """``float32 (M, 16 N)``: every pixel of the embedding four by four, in two steps of two by two."""
        spread = self._upscaled(pixels)
        heads = self._decoder.output_hypernetworks_mlps[1:]
        kernels = torch.stack([head(tokens[:, i]) for i, head in enumerate(heads)], 1)
        return (kernels.to(spread.dtype) @ spread.transpose(1, 2))[wanted].float()

    def _tokens(self, points: Tensor) -> Tensor:
        labels = torch.ones(len(points), 1, device=points.device)
        sparse, _ = self._prompts((points[:, None], labels), None, None)
        outputs = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])
        return torch.cat([outputs.expand(len(points), -1, -1), sparse], 1)

    def _first_layer(self, layer: Any, prompts: Tensor, shared: ImageSide) -> tuple[Tensor, Tensor]:
        """Tokens and pixels after the layer in which all points see the same pixels."""
        tokens = layer.norm1(_attended_by_itself(layer, prompts, prompts))
        tokens = tokens + self._attend_to_shared(layer.cross_attn_token_to_image, tokens + prompts, shared)
        tokens = _through_mlp(layer, tokens)
        attention = layer.cross_attn_image_to_token
        keys = self._keys(attention, tokens + prompts)
        scores = _by_head(keys).to(self._dtype) @ shared.queries.transpose(1, 2)
        scores = scores.view(self._heads, *tokens.shape[:2], -1).transpose(0, 1)
        pixels = shared.pixels.expand(len(tokens), -1, -1)
        return tokens, self._take(layer, scores, tokens, pixels)

    def _layer(
        self, layer: Any, tokens: Tensor, prompts: Tensor, pixels: Tensor, placed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens and pixels after a layer in which every point has pixels of its own."""
        tokens = layer.norm1(_attended_by_itself(layer, tokens, prompts))
        tokens = tokens + self._attend(layer.cross_attn_token_to_image, tokens + prompts, pixels, placed)
        tokens = _through_mlp(layer, tokens)
        attention = layer.cross_attn_image_to_token
        keys = self._keys(attention, tokens + prompts)
        probes = torch.einsum("bthd,hdc->bhtc", keys, self._weight(attention.q_proj)).flatten(1, 2)
        bias = torch.einsum("bthd,hd->bht", keys, attention.q_proj.bias.view(self._heads, -1)).flatten(1)
        scores = torch.baddbmm(
            bias[..., None].to(self._dtype), probes.to(self._dtype), placed.transpose(1, 2)
        )
        scores = scores.view(len(tokens), self._heads, -1, scores.shape[-1])
        return tokens, self._take(layer, scores, tokens, pixels)

    def _attend_to_shared(self, attention: Any, tokens: Tensor, shared: ImageSide) -> Tensor:
        """Tokens to the pixels that all points share."""
        queries = self._split(attention.q_proj(tokens))
        queries = _by_head(queries / sqrt(queries.shape[-1]))
        found = (queries.to(self._dtype) @ shared.keys.transpose(1, 2)).softmax(-1) @ shared.values
        joined = found.float().transpose(0, 1).reshape(*tokens.shape[:2], -1)
        projected: Tensor = attention.out_proj(joined)
        return projected

    def _attend(self, attention: Any, tokens: Tensor, pixels: Tensor, placed: Tensor) -> Tensor:
        """Tokens to pixels of their own.

        The keys' bias adds the same to all scores of a token and falls out of the softmax; the
        values' bias passes through it whole.
        """
        queries = self._split(attention.q_proj(tokens))
        queries = queries / sqrt(queries.shape[-1])
        probes = torch.einsum("bthd,hdc->bhtc", queries, self._weight(attention.k_proj)).flatten(1, 2)
        scores = probes.to(self._dtype) @ placed.transpose(1, 2)
        means = (scores.softmax(-1) @ pixels).float().view(len(tokens), self._heads, tokens.shape[1], -1)
        found = torch.einsum("bhtc,hdc->bthd", means, self._weight(attention.v_proj)).flatten(2)
        projected: Tensor = attention.out_proj(found + attention.v_proj.bias)
        return projected

    def _take(self, layer: Any, scores: Tensor, tokens: Tensor, pixels: Tensor) -> Tensor:
        """Pixels after each has taken from the tokens by its ``scores (B, h, T, N)``.

        A pixel's shares of the tokens sum to 1 in every head, so every head may bring its part of the bias.
        """
        attention = layer.cross_attn_image_to_token
        values = self._split(attention.v_proj(tokens))
        outputs = attention.out_proj.weight.view(-1, self._heads, values.shape[-1])
        offers = torch.einsum("bthd,chd->bhtc", values, outputs) + attention.out_proj.bias / self._heads
        shares = scores.softmax(2).flatten(1, 2)
        pixels = torch.baddbmm(pixels, shares.transpose(1, 2), offers.flatten(1, 2).to(self._dtype))
        return self._normed(layer.norm4, pixels)

    def _keys(self, attention: Any, tokens: Tensor) -> Tensor:
        """Keys of tokens that pixels ask, ``(B, T, h, d)``, scaled as the scores are."""
        keys = self._split(attention.k_proj(tokens))
        return keys / sqrt(keys.shape[-1])

    def _upscaled(self, pixels: Tensor) -> Tensor:
        """``(B, N, C)`` to ``(B, 16 N, C / 8)``: every pixel four by four, in two steps of two by two."""
        first, norm, gelu, second, _ = self._decoder.output_upscaling
        half = gelu(self._normed(norm, self._spread(first, pixels)))
        whole: Tensor = gelu(self._spread(second, half))
        return whole

    def _spread(self, convolution: Any, pixels: Tensor) -> Tensor:
        """A transposed convolution of stride 2 and kernel 2: each pixel becomes four, side by side."""
        weight = convolution.weight.permute(0, 2, 3, 1)
        out = weight.shape[-1]
        four = torch.addmm(
            convolution.bias.repeat(4).to(self._dtype),
            pixels.flatten(0, 1),
            weight.reshape(weight.shape[0], -1).to(self._dtype),
        )
        spread: Tensor = four.view(len(pixels), 4 * pixels.shape[1], out)
        return spread

    def _normed(self, norm: Any, pixels: Tensor) -> Tensor:
        weight, bias = norm.weight.to(self._dtype), norm.bias.to(self._dtype)
        normed: Tensor = F.layer_norm(pixels, weight.shape, weight, bias, norm.eps)
        return normed

    def _split(self, tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:-1], self._heads, -1)

    def _weight(self, linear: Any) -> Tensor:
        """Of a projection, by head: ``(h, d, C)``."""
        weight: Tensor = linear.weight.view(self._heads, -1, linear.in_features)
        return weight


def _rows(image: Tensor) -> Tensor:
    return image.flatten(1).T.contiguous()


def _by_head(split: Tensor) -> Tensor:
    """``(B, T, h, d)`` as ``(h, B T, d)``: what is shared has no points."""
    return split.permute(2, 0, 1, 3).flatten(1, 2)


def _attended_by_itself(layer: Any, tokens: Tensor, prompts: Tensor) -> Tensor:
    if layer.skip_first_layer_pe:
        alone: Tensor = layer.self_attn(tokens, tokens, tokens)
        return alone
    placed = tokens + prompts
    attended: Tensor = layer.self_attn(placed, placed, tokens)
    return tokens + attended


def _through_mlp(layer: Any, tokens: Tensor) -> Tensor:
    tokens = layer.norm2(tokens)
    changed: Tensor = layer.norm3(tokens + layer.mlp(tokens))
    return changed

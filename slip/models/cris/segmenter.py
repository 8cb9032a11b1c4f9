"""CRIS as a segmenter: a picture is encoded once for all that is asked of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from slip.device import Compute
from slip.models.cris.network import Cris
from slip.models.letterbox import Letterbox
from slip.models.pixelwise import answer
from slip.types import Image, Prediction
from slip.wording import plain

TOGETHER = 16
"""Expressions that are asked at once."""


class CrisSegmenter:
    """Answers a picture and an expression with the pixels it means: a Segmenter."""

    def __init__(self, network: Cris, compute: Compute, name: str) -> None:
        self.name = name
        self._compute = compute
        self._network = network.to(compute.device).eval()

    def segment(self, image: Image, prompt: str) -> Prediction:
        """One segment, or none where no pixel is probable enough."""
        return self.segment_each(image, [prompt])[0]

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        """``segment`` for each of ``prompts``, in their order."""
        if not prompts:
            return []
        box = Letterbox.of(image.shape[:2], self._network.config.image_size)
        found = self._probabilities(box.picture(image, padding_of(self._network)), prompts)
        return [answer(prompt, box.undo(one)) for prompt, one in zip(prompts, found, strict=True)]

    def _probabilities(self, square: Image, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Of every pixel of the square, for each prompt: ``float32 (N, S, S)``."""
        network, device = self._network, self._compute.device
        pixels = torch.tensor(square, device=device).permute(2, 0, 1)[None]
        tokens = open_clip.tokenize([plain(prompt) for prompt in prompts], network.config.words).to(device)
        with torch.inference_mode(), self._compute.autocast():
            seen = network.see(pixels)
            logits = [
                network.ask(seen.repeated(len(some)), network.read(some)) for some in tokens.split(TOGETHER)
            ]
        found = torch.cat(logits).float().sigmoid()[:, None]
        fine = interpolate(found, network.config.image_size, mode="bicubic", align_corners=False)
        probabilities: NDArray[np.float32] = fine[:, 0].cpu().numpy()
        return probabilities


def padding_of(network: Cris) -> tuple[int, int, int]:
    """The colour around a letterboxed picture: CLIP's mean, RGB 0 to 255."""
    red, green, blue = (round(255 * value) for value in network.mean.flatten().tolist())
    return red, green, blue

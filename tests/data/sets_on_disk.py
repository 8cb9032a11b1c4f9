"""Data sets as files, for tests: pictures that no hash takes for copies of each other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from slip.images import encode_png
from slip.types import Image


def drawing(seed: int, size: tuple[int, int] = (48, 64)) -> Image:
    """Coloured clouds, ``uint8 (H, W, 3)``; every seed its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    """Write a PNG, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))
    return path


def save_folders(root: Path, count: int = 3, classes: tuple[str, ...] = ("ant", "bee")) -> Path:
    """``count`` pictures in each class folder: ``ant/0.png`` and so on."""
    for number, label in enumerate(classes):
        for index in range(count):
            save(root / label / f"{index}.png", drawing(100 * number + index))
    return root

"""Where the subject of a labelled picture is, when nobody says."""

from __future__ import annotations

import cv2
import numpy as np

from slip.types import Image, Mask

TOLERANCE = 12
"""How far, per channel, a plain background may stray from the border's colour."""
EDGE_SHARE = 0.7
"""A background is plain when this share of the picture's border has its colour."""
LEAST, MOST = 0.05, 0.9
"""Shares of the picture that a subject may cover."""


def flood_subject(image: Image) -> Mask | None:
    """What a plain background leaves over, ``bool (H, W)``; None where the background is not plain.

    The background is what is connected to the border and near its commonest colour.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(np.int16)
    colour = np.median(border, axis=0)
    if (np.abs(border - colour) <= TOLERANCE).all(axis=1).mean() < EDGE_SHARE:
        return None
    near = (np.abs(image.astype(np.int16) - colour) <= TOLERANCE).all(axis=2)
    framed = np.pad(near, 1, constant_values=True).astype(np.uint8)
    cv2.floodFill(framed, None, (0, 0), 2)
    subject: Mask = framed[1:-1, 1:-1] != 2
    return subject if LEAST <= subject.mean() <= MOST else None

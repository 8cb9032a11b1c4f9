"""Sets of parts as files, for tests: pictures, and annotations in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.sets_on_disk import drawing, save

from slip.data.critters import SPECIES

KIN = tuple(
    kin for plan in ("bird", "fish") for kin in [other for other in SPECIES if other.plan == plan][:8]
)
"""Species of two body plans, enough to be on all sides."""
SIZE = (48, 64)
"""(height, width) of the pictures of ``drawing``."""
WING, HEAD = 1, 2
CATEGORIES = [
    {"id": WING, "name": "Bird Wing", "supercategory": "Bird"},
    {"id": HEAD, "name": "Bird Head", "supercategory": "Bird"},
]


def square(x: float, y: float, side: float = 8) -> list[float]:
    """A polygon: the corner and the side of a square."""
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def image(number: int, file_name: str, size: tuple[int, int] = SIZE, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": file_name, "height": size[0], "width": size[1], **more}


def annotation(number: int, image_id: Any, category_id: Any, segmentation: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": category_id, "segmentation": segmentation}


def save_annotations(
    path: Path,
    images: Sequence[Any],
    annotations: Sequence[Any],
    categories: Sequence[Any] = tuple(CATEGORIES),
) -> Path:
    """Write a file of annotations, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": list(categories)})
    )
    return path


def save_side(path: Path, pictures: Mapping[str, int], told: Sequence[str] | None = None) -> Path:
    """A file of annotations and its pictures: paths from the file's root by the seed of their drawing.

    told: what the annotations call them. Every picture has a wing, and every other one a head.
    """
    for name, seed in pictures.items():
        save(Path(name), drawing(seed))
    images = [image(number, name) for number, name in enumerate(told or list(pictures))]
    annotations = []
    for number in range(len(images)):
        annotations.append(annotation(len(annotations), number, WING, [square(4, 4 + number % 20)]))
        if number % 2:
            annotations.append(annotation(len(annotations), number, HEAD, [square(30, 20)]))
    return save_annotations(path, images, annotations)


def save_set(root: Path, count: int = 6, *, seed: int = 0) -> Path:
    """The plain kind: ``annotations.json`` beside ``images/``; returns the root."""
    names = [f"{number}.png" for number in range(count)]
    pictures = {str(root / "images" / name): seed + number for number, name in enumerate(names)}
    save_side(root / "annotations.json", pictures, names)
    return root

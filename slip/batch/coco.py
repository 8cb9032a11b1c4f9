"""The results of a batch as one COCO file, streamed from their lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slip.batch.journal import read_lines
from slip.batch.sources import whole_name
from slip.outputs import write_file


def write_coco(results: Path, path: Path) -> None:
    """Write the matches in ``results`` (their ``segments``) as a COCO file, whole or not at all.

    Categories are the prompts, images all that were searched; masks are compressed run-length codes,
    ``bbox`` is xywh in pixels. A file that is there is replaced. Raises UsageError, OutputError.
    """
    write_file(path, _pieces(results), overwrite=True)


def _pieces(results: Path) -> Iterator[bytes]:
    images: dict[str, dict[str, Any]] = {}
    categories: dict[str, int] = {}
    for told in _searched(results):
        height, width = told["image_size"]
        number = len(images) + 1
        images.setdefault(
            whole_name(told["image"]),
            {"id": number, "file_name": told["image"], "width": width, "height": height},
        )
        categories.setdefault(told["prompt"], len(categories) + 1)
    yield b'{"info": {"description": "slip segment"},\n"images": ' + _encode(list(images.values()))
    named = [{"id": number, "name": prompt} for prompt, number in categories.items()]
    yield b',\n"categories": ' + _encode(named) + b',\n"annotations": ['
    number = 0
    for told in _searched(results):
        for segment in told["segments"]:
            number += 1
            yield (b",\n" if number > 1 else b"\n") + _encode(
                {
                    "id": number,
                    "image_id": images[whole_name(told["image"])]["id"],
                    "category_id": categories[told["prompt"]],
                    **_annotation(segment),
                }
            )
    yield b"\n]}\n"


def _searched(results: Path) -> Iterator[dict[str, Any]]:
    """The results that hold segments, perhaps none: not those that failed or have masks of their own."""
    return (told for _, told in read_lines(results) if told.get("segments") is not None)


def _annotation(segment: dict[str, Any]) -> dict[str, Any]:
    x1, y1, x2, y2 = segment["box"]
    return {
        "segmentation": segment["rle"],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": segment["area"],
        "score": segment["score"],
        "iscrowd": 0,
    }


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")

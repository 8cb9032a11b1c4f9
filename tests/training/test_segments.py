from pathlib import Path

import numpy as np
import pytest
from fakes import FakeProposer
from training.shapes import Shapes

from slip.errors import UsageError
from slip.masks import mask_iou
from slip.training.segments import find_segments, read_segments
from slip.types import Image, Progress, Segment


class Discs(FakeProposer):
    """Every colour is a segment; all discs of one sheet that share a colour are one."""

    image_size = 80

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        return [segment for segment in super().propose(image, progress) if segment.area > 40]


def test_segments_belong_to_the_picture_they_lie_in(tmp_path: Path) -> None:
    data = Shapes(count=1, with_masks=True)
    path = tmp_path / "segments.jsonl"
    found = find_segments(data, data.pictures, Discs(), path)
    assert sorted(found) == sorted(picture.name for picture in data.pictures)
    for picture in data.pictures:
        image, truth = data.load(picture)
        assert truth is not None
        (segment,) = found[picture.name]
        assert segment.image_size == image.shape[:2]
        assert mask_iou(segment.mask, truth) > 0.9


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    data, path = Shapes(count=3), tmp_path / "segments.jsonl"
    whole = find_segments(data, data.pictures, Discs(), tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:20])
    proposer = Discs()
    again = find_segments(data, data.pictures, proposer, path)
    assert len(proposer.seen) == 2
    assert again.keys() == whole.keys()
    assert read_segments(path).keys() == whole.keys()
    for name, segments in whole.items():
        assert len(again[name]) == len(segments)
        assert all(
            np.array_equal(one.mask, other.mask) for one, other in zip(again[name], segments, strict=True)
        )


def test_progress_is_told(tmp_path: Path) -> None:
    data = Shapes(count=3)
    told: list[tuple[str, int, int]] = []
    find_segments(data, data.pictures, Discs(), tmp_path / "s.jsonl", lambda *now: told.append(now))
    assert told == [("find segments", done, 9) for done in (0, 4, 8)]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segments.jsonl"
    path.write_text("no segments\n")
    with pytest.raises(UsageError, match="holds no segments"):
        read_segments(path)

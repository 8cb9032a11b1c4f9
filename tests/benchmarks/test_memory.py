from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.memory import KINDS, draw, measure
from slip.images import load_image


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_large_picture_is_read(kind: str, tmp_path: Path) -> None:
    draw(kind, 0.04, tmp_path / "large")
    image = load_image(tmp_path / "large")
    assert image.shape == (200, 200, 3)
    assert image[100, 100].mean() > image[5, 5].mean() + 50, "the disc is brighter than the ground"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak of a process by itself")
def test_a_stage_takes_at_least_what_it_makes(tmp_path: Path) -> None:
    draw("RGB JPEG", 9.0, tmp_path / "large")
    assert 27e6 < measure("decode", tmp_path / "large", 9.0) < 150e6
    assert 9e6 < measure("mask", tmp_path / "large", 9.0) < 60e6

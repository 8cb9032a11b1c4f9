from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from fakes import segment_from

from slip.batch.plan import Maker, Plan, Wanted
from slip.cli.files import check, name_in_folder, name_results
from slip.errors import OutputError, UsageError
from slip.options import TOP_K
from slip.types import Prediction

MASK_ONLY = Wanted()
EVERYTHING = Wanted(overlay=True, cutout=True, json=True, all_segments=True, top_k=3)


@pytest.mark.parametrize(
    ("image", "output", "mask", "overlay"),
    [
        ("a/scene.png", None, "a/scene.mask.png", "a/scene.overlay.png"),
        ("a/photo.final.jpg", None, "a/photo.final.mask.png", "a/photo.final.overlay.png"),
        ("scene.png", "b/bird.png", "b/bird.png", "b/bird.overlay.png"),
        ("scene.png", "b/bird.mask.png", "b/bird.mask.png", "b/bird.overlay.png"),
        ("scene.png", "bird.PNG", "bird.PNG", "bird.overlay.png"),
        ("-", "bird.png", "bird.png", "bird.overlay.png"),
    ],
)
def test_names(image: str, output: str | None, mask: str, overlay: str) -> None:
    names = name_results(image, output)
    assert names.mask == Path(mask)
    assert names.beside("overlay.png") == Path(overlay)


def test_names_in_a_folder(tmp_path: Path) -> None:
    assert name_results("a/scene.png", str(tmp_path)).mask == tmp_path / "scene.mask.png"
    assert name_results("-", str(tmp_path)).mask == tmp_path / "stdin.mask.png"
    assert name_in_folder("a/scene.png", str(tmp_path)).beside("json") == tmp_path / "scene.json"


@pytest.mark.parametrize(
    ("image", "output", "remedy"),
    [("-", None, "-o"), ("scene.png", "bird.jpg", ".png"), ("scene.png", "no/", ".png")],
)
def test_no_name(image: str, output: str | None, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        name_results(image, output)


def test_plan_of_the_mask_alone() -> None:
    assert Plan.of(name_results("scene.png", None), MASK_ONLY).paths == [Path("scene.mask.png")]


def test_plan_of_everything() -> None:
    plan = Plan.of(name_results("scene.png", "bird.png"), EVERYTHING)
    assert [path.name for path in plan.paths] == [
        "bird.png",
        "bird.2.png",
        "bird.3.png",
        "bird.overlay.png",
        "bird.cutout.png",
        "bird.segments.png",
        "bird.json",
    ]


@pytest.mark.parametrize(
    ("wanted", "matches", "listed"),
    [
        (Wanted(json=True), 8, TOP_K),
        (Wanted(json=True, top_k=2), 8, 2),
        (Wanted(json=True, all_matches=True), 8, 8),
        (Wanted(json=True, all_matches=True), 2, TOP_K),
    ],
)
def test_how_many_segments_the_json_lists(wanted: Wanted, matches: int, listed: int) -> None:
    segment = segment_from(np.ones((2, 3), bool))
    scores = [0.9] * matches + [0.1] * (9 - matches)
    ranked = Prediction("x", [segment.scored(score) for score in scores], (2, 3), min_score=0.5)
    plan = Plan.of(name_results("scene.png", None), wanted)
    contents = dict(plan.contents(np.zeros((2, 3, 3), np.uint8), ranked, Maker()))
    told = json.loads(contents[Path("scene.json")])
    assert 1 + len(told["runners_up"]) == listed
    assert len(contents) - 1 == len(wanted.chosen(ranked))


def test_several_masks_do_not_fit_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    with pytest.raises(UsageError, match="--top-k"):
        Plan.of(name_results("scene.png", "-"), EVERYTHING)


def test_the_picture_itself_is_never_replaced(tmp_path: Path) -> None:
    picture, link = tmp_path / "scene.png", tmp_path / "link.png"
    picture.touch()
    link.symlink_to(picture)
    for result in (picture, link):
        with pytest.raises(UsageError, match="the picture itself"):
            check([result], str(picture), overwrite=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_entered(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    for output in (locked / "b.png", locked / "deeper" / "b.png"):
        names = name_results("scene.png", str(output))
        with pytest.raises(OutputError, match="no permission to write"):
            check([names.mask or output], "scene.png", overwrite=True)

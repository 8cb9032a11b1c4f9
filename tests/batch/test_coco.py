from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from batch.colours import draw, files, rows, tasks_of, work_through
from pycocotools.coco import COCO

from slip.batch.coco import write_coco
from slip.batch.job import Job
from slip.batch.journal import Results
from slip.batch.plan import Wanted
from slip.errors import UsageError

AS_COCO = Wanted(masks=False, all_matches=True)


def searched(tmp_path: Path, **options: object) -> Path:
    """A batch of three pictures, the last of which is broken, as results and as masks."""
    draw(tmp_path / "in", a="red blue red", b="green")
    (tmp_path / "in" / "c.png").write_bytes(b"")
    for name, wanted in (("coco", AS_COCO), ("png", Wanted(all_matches=True))):
        job = Job(tmp_path / name, wanted, **options)
        work_through(job, tasks_of(job, tmp_path / "in", prompts=["red", "blue"]))
    return tmp_path / "coco"


def test_it_loads_and_has_the_masks(tmp_path: Path) -> None:
    folder = searched(tmp_path)
    assert files(folder) == ["results.jsonl"]
    write_coco(folder / "results.jsonl", folder / "coco.json")
    coco = COCO(folder / "coco.json")
    images = coco.loadImgs(coco.getImgIds())
    assert [(image["file_name"], image["width"], image["height"]) for image in images] == [
        (str(tmp_path / "in" / "a.png"), 40, 20),
        (str(tmp_path / "in" / "b.png"), 16, 20),
    ]
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["red", "blue"]
    found = coco.loadAnns(coco.getAnnIds())
    assert [(one["image_id"], one["category_id"], one["iscrowd"]) for one in found] == [(1, 1, 0), (1, 2, 0)]
    for one, name in zip(found, ("a.red.mask.png", "a.blue.mask.png"), strict=True):
        mask = np.asarray(PIL.Image.open(tmp_path / "png" / name)) == 255
        assert np.array_equal(coco.annToMask(one).astype(bool), mask)
        left, top, width, height = one["bbox"]
        assert mask[top : top + height, left : left + width].sum() == one["area"] == mask.sum()
        assert 0.9 < one["score"] <= 1


def test_it_is_replaced_when_the_batch_goes_on(tmp_path: Path) -> None:
    folder = searched(tmp_path)
    write_coco(folder / "results.jsonl", folder / "coco.json")
    draw(tmp_path / "in", c="blue")
    job = Job(folder, AS_COCO)
    work_through(job, tasks_of(job, tmp_path / "in", prompts=["red", "blue"]))
    write_coco(folder / "results.jsonl", folder / "coco.json")
    assert len(json.loads((folder / "coco.json").read_text())["images"]) == 3


def test_results_without_segments_are_done_again(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="green")
    masks = Job(tmp_path / "out")
    tasks = tasks_of(masks, tmp_path / "in")
    work_through(masks, tasks)
    segmenter, _ = work_through(Job(tmp_path / "out", AS_COCO), tasks, "skip")
    assert len(segmenter.asked) == 1
    write_coco(tmp_path / "out" / "results.jsonl", tmp_path / "out" / "coco.json")
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["annotations"]) == 1


def test_a_file_of_others(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out", AS_COCO)
    job.folder.mkdir()
    (job.folder / "coco.json").write_text("{}")
    tasks = tasks_of(job, tmp_path / "in")
    with pytest.raises(UsageError, match=r"coco.json' exists; replace it with --overwrite"):
        Results.open(job, tasks)
    Results.open(job, tasks, "overwrite").close()
    assert rows(job.folder) == []
    assert files(job.folder) == ["results.jsonl"]


def test_labels(tmp_path: Path) -> None:
    folder = searched(tmp_path, sharing="label-all")
    assert files(folder) == ["results.jsonl"]
    write_coco(folder / "results.jsonl", folder / "coco.json")
    coco = COCO(folder / "coco.json")
    assert [one["category_id"] for one in coco.loadAnns(coco.getAnnIds())] == [1, 2]

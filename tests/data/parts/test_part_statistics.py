from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from data.parts.sets_of_parts import (
    CATEGORIES,
    HEAD,
    KIN,
    WING,
    annotation,
    image,
    save_annotations,
    save_set,
    square,
)
from data.sets_on_disk import drawing, save

from slip.data.parts import CritterParts, Fault, Part, PartPicture, Side, open_parts
from slip.data.parts.sheet import choose_pictures, part_sheet
from slip.data.parts.statistics import FaultCount, SideCount, fault_counts, part_statistics
from slip.types import Image, Mask

WING_PART, HEAD_PART = Part("bird wing", "wing", "bird"), Part("bird head", "head", "bird")


@dataclass(frozen=True)
class Grey:
    """A set of pictures of 10 x 10 pixels that measures nothing by itself."""

    by_side: dict[Side, dict[str, dict[Part, int]]]
    name: str = "grey"
    parts: tuple[Part, ...] = (HEAD_PART, WING_PART)
    faults: tuple[Fault, ...] = ()
    digest: str = ""
    loaded: list[str] = field(default_factory=list)

    def pictures(self, side: Side) -> tuple[PartPicture, ...]:
        own = self.by_side.get(side, {})
        return tuple(PartPicture(name, side, "red bird", tuple(sorted(parts))) for name, parts in own.items())

    def load(self, picture: PartPicture) -> tuple[Image, dict[Part, Mask]]:
        self.loaded.append(picture.name)
        pixels = self.by_side[picture.side][picture.name]
        masks = {part: (np.arange(100) < count).reshape(10, 10) for part, count in pixels.items()}
        return np.full((10, 10, 3), 128, np.uint8), masks


def test_numbers() -> None:
    data = Grey(
        {
            "train": {"a": {WING_PART: 10, HEAD_PART: 1}, "b": {WING_PART: 30}, "c": {WING_PART: 80}},
            "test": {"d": {WING_PART: 20}},
        }
    )
    calls: list[tuple[str, int, int]] = []
    told = part_statistics(data, lambda *call: calls.append(call))
    assert told.sides == (SideCount("train", 3, 4), SideCount("validation", 0, 0), SideCount("test", 1, 1))
    head, wing = told.parts
    assert (head.part, head.pictures, head.share) == (
        HEAD_PART,
        {"train": 1, "validation": 0, "test": 0},
        0.01,
    )
    assert (wing.pictures, wing.share) == ({"train": 3, "validation": 0, "test": 1}, 0.25)
    assert wing.wordings == ("bird wing", "red bird wing", "wing")
    assert calls == [("measure", done, 4) for done in range(1, 5)]


def test_faults_by_kind() -> None:
    faults = [Fault("no parts", f"{number}.png") for number in (5, 3, 4, 1, 2)]
    faults += [Fault("broken RLE", "z"), Fault("a", "y")]
    assert fault_counts(faults) == (
        FaultCount("no parts", 5, ("1.png", "2.png", "3.png")),
        FaultCount("a", 1, ("y",)),
        FaultCount("broken RLE", 1, ("z",)),
    )
    assert fault_counts([]) == ()


def test_files_are_measured_without_decoding_them(tmp_path: Path) -> None:
    data = open_parts(str(save_set(tmp_path)))
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    told = part_statistics(data)
    assert [one.pictures["train"] + one.pictures["validation"] for one in told.parts] == [3, 6]
    assert {one.share for one in told.parts} == {64 / (48 * 64)}


def test_what_is_measured_is_what_is_decoded(tmp_path: Path) -> None:
    save(tmp_path / "1.png", drawing(1))
    annotations = [
        annotation(1, 1, WING, [square(1, 1), square(5, 5)]),
        annotation(2, 1, HEAD, [square(60, 44)]),
    ]
    save_annotations(tmp_path / "a.json", [image(1, "1.png")], annotations, CATEGORIES)
    data = open_parts(str(tmp_path))
    _, masks = data.load(data.pictures("train")[0])
    told = {one.part: one.share for one in part_statistics(data).parts}
    assert told == {part: pytest.approx(mask.mean()) for part, mask in masks.items()}


class TestSheet:
    def test_sides_share_it_evenly(self) -> None:
        own = {str(number): {WING_PART: 5} for number in range(20)}
        data = Grey({"train": own, "validation": dict(list(own.items())[:2]), "test": own})
        sides = [picture.side for picture in choose_pictures(data)]
        assert [sides.count(side) for side in ("train", "validation", "test")] == [5, 2, 5]
        assert len(choose_pictures(Grey({"test": own}))) == 12
        assert choose_pictures(Grey({})) == []

    def test_it_is_the_same_each_time_and_shows_the_parts(self, tmp_path: Path) -> None:
        data = open_parts(str(save_set(tmp_path)))
        sheet = part_sheet(data)
        assert sheet.dtype == np.uint8 and sheet.ndim == 3 and sheet.shape[2] == 3
        assert np.array_equal(sheet, part_sheet(open_parts(str(tmp_path))))
        save_set(tmp_path / "other", seed=9)
        assert not np.array_equal(sheet, part_sheet(open_parts(str(tmp_path / "other"))))

    @pytest.mark.parametrize("name", ["x" * 3000, "青い鳥\x1b[31m", "", "a\nb"])
    def test_any_name_can_be_written(self, name: str) -> None:
        odd = Part(name, name)
        data = Grey({"train": {f"{name}.png": {odd: 7, WING_PART: 100}}})
        assert part_sheet(data).shape[1] == 12 + 256 + 12

    def test_pictures_of_any_shape(self, tmp_path: Path) -> None:
        for number, size in enumerate(((1, 300), (300, 1), (3, 3))):
            save(tmp_path / f"{number}.png", np.zeros((*size, 3), np.uint8))
        images = [image(0, "0.png", (1, 300)), image(1, "1.png", (300, 1)), image(2, "2.png", (3, 3))]
        annotations = [annotation(number, number, WING, [square(0, 0, 3)]) for number in range(3)]
        save_annotations(tmp_path / "a.json", images, annotations)
        assert part_sheet(open_parts(str(tmp_path))).any()


def test_drawn_critters_can_be_counted() -> None:
    told = part_statistics(CritterParts(count=1, size=32, species=KIN))
    assert sum(one.pictures for one in told.sides) == len(KIN)
    assert all(0 < one.share < 1 for one in told.parts)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation.referring.toys import Interrupted, Sees, measured, run_of, slip
from fakes import FakeParts

from slip.data.parts import Part
from slip.errors import ImageError, UsageError
from slip.evaluation.referring.journal import Journal
from slip.evaluation.referring.loop import Contender, evaluate
from slip.evaluation.referring.summary import summarise, to_json
from slip.masks import decode_rle
from slip.types import Prediction


def test_every_picture_every_method_every_part(tmp_path: Path) -> None:
    source = FakeParts()
    answers = measured(tmp_path, [Contender("b", Sees()), Contender("a", slip())], source)
    told = [(one.method, one.picture, one.part) for one in answers]
    assert told == [
        (method, picture.name, part.category)
        for method in "ba"
        for picture in source.pictures("test")
        for part in picture.parts
    ]
    assert len(told) == 2 * (1 + 3 * 3)
    assert all(one.expression == one.part for one in answers)
    assert {one.found for one in answers} == {True}
    assert all(one.iou == pytest.approx(1) for one in answers)
    _, masks = source.load(source.pictures("test")[-1])
    assert (decode_rle(answers[-1].rle) == masks[Part("toy red", "red", "toy")]).all()


def test_a_picture_is_read_once_and_asked_once_by_each(tmp_path: Path) -> None:
    source, sees = FakeParts(), Sees()
    measured(tmp_path, [Contender("b", sees), Contender("a", slip())], source)
    assert source.loaded == [picture.name for picture in source.pictures("test")]
    assert sees.asked == [("toy blue",), *[("toy blue", "toy green", "toy red")] * 3]


def test_a_bound_shares_the_search_and_takes_what_fits(tmp_path: Path) -> None:
    class Wrong(Sees):
        """Finds all colours it is asked for, and thinks each prompt is any of the others."""

        def segment_each(self, image, prompts):
            found = {one.prompt: one.candidate for one in super().segment_each(image, prompts)}
            size = image.shape[0], image.shape[1]
            ranked = [sorted(found, key=lambda other, text=text: other == text) for text in prompts]
            return [
                Prediction(text, tuple(found[other] for other in order), size)
                for text, order in zip(prompts, ranked, strict=True)
            ]

    wrong = Wrong()
    contenders = [
        Contender("x", wrong),
        Contender("x-best", wrong, oracle=True),
        Contender("two", wrong, oracle=True, among=2),
    ]
    answers = measured(tmp_path, contenders)
    assert len(wrong.asked) == 4
    means = {
        name: np.mean([one.iou for one in answers if one.method == name]) for name in ("x", "x-best", "two")
    }
    assert means == pytest.approx({"x": 0.1, "x-best": 1.0, "two": 0.1})


def test_nothing_found(tmp_path: Path) -> None:
    answers = measured(tmp_path, [Contender("blind", Sees(99)), Contender("bound", Sees(99), oracle=True)])
    assert {(one.found, one.iou, one.union == one.truth) for one in answers} == {(False, 0.0, True)}


def test_what_is_answered_is_not_asked_again(tmp_path: Path) -> None:
    class Refusing:
        def segment_each(self, image, prompts):
            raise AssertionError("asked again")

    two = [Contender("a", Sees()), Contender("b", Sees(2))]
    whole = measured(tmp_path / "whole", two)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "broken", [Contender("a", Sees()), Contender("b", Interrupted(2))])
    kept = (tmp_path / "broken" / "answers.jsonl").read_bytes()
    assert kept and (tmp_path / "whole" / "answers.jsonl").read_bytes().startswith(kept)
    assert measured(tmp_path / "broken", [Contender("a", Sees()), Contender("b", Sees(2))]) == whole
    for name in ("run.json", "answers.jsonl"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    source = FakeParts()
    assert (
        measured(tmp_path / "broken", [Contender("a", Refusing()), Contender("b", Refusing())], source)
        == whole
    )
    assert source.loaded == []


@pytest.mark.parametrize("lines", range(0, 20, 3))
def test_cut_off_anywhere_it_ends_with_the_same_bytes(tmp_path: Path, lines: int) -> None:
    two = [Contender("a", Sees()), Contender("b", Sees(2))]
    whole = measured(tmp_path, two)
    path = tmp_path / "answers.jsonl"
    data = path.read_bytes()
    rows = data.splitlines(keepends=True)
    path.write_bytes(b"".join(rows[:lines]) + rows[lines][:17])
    sees = Sees()
    assert measured(tmp_path, [Contender("a", sees), Contender("b", Sees(2))]) == whole
    assert path.read_bytes() == data
    assert len(sees.asked) <= 4


def test_the_order_of_methods_changes_no_figure(tmp_path: Path) -> None:
    told = {}
    for names in ("ab", "ba"):
        own = {"a": Sees(1), "b": Sees(3)}
        answers = measured(tmp_path / names, [Contender(name, own[name]) for name in names])
        summary = to_json(summarise(run_of(*names), answers))
        told[names] = {one["method"]: one for one in summary["methods"]}
    assert told["ab"] == told["ba"]


def test_seconds_are_kept_apart_from_what_can_be_repeated(tmp_path: Path) -> None:
    source = FakeParts()
    measured(tmp_path, [Contender("a", Sees()), Contender("b", Sees())], source)
    journal = Journal.open(tmp_path, run_of("a", "b"))
    assert [(one.method, one.picture) for one in journal.seconds] == [
        (method, picture.name) for picture in source.pictures("test") for method in "ab"
    ]
    assert all(one.seconds > 0 for one in journal.seconds)
    assert "seconds" not in (tmp_path / "answers.jsonl").read_text()


def test_a_picture_that_is_gone(tmp_path: Path) -> None:
    class Gone(FakeParts):
        def load(self, picture):
            if picture.name.endswith("02.png"):
                raise ImageError("cannot read 'test/02.png'; check the path")
            return super().load(picture)

    with pytest.raises(ImageError, match=r"test/02\.png"):
        measured(tmp_path, [Contender("a", Sees())], Gone())
    assert len(measured(tmp_path, [Contender("a", Sees())])) == 10


def test_a_truth_without_a_pixel_is_refused(tmp_path: Path) -> None:
    class Empty(FakeParts):
        def load(self, picture):
            image, masks = super().load(picture)
            return image, {part: np.zeros_like(mask) for part, mask in masks.items()}

    with pytest.raises(UsageError, match="has no pixel"):
        measured(tmp_path, [Contender("a", Sees())], Empty())


def test_progress_counts_pictures(tmp_path: Path) -> None:
    source, told = FakeParts(2), []
    journal = Journal.open(tmp_path, run_of("a"))
    evaluate(
        source.pictures("test"), source, [Contender("a", Sees())], journal, lambda *call: told.append(call)
    )
    assert told == [("pictures", done, 2) for done in range(3)]

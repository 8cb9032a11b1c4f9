from __future__ import annotations

from pathlib import Path

import pytest
from evaluation.colours import JUDGE, OPTIONS, Stubborn, black, entrant, measured
from fakes import ColourSet

from slip.data.composites import TILES
from slip.evaluation.loop import Entrant
from slip.types import Prediction


def test_one_who_finds_everything(tmp_path: Path) -> None:
    trials = measured(tmp_path, [entrant("sees")])
    assert len(trials) == OPTIONS.count * TILES
    assert [(trial.composite, trial.tile) for trial in trials] == [
        (c, t) for c in range(3) for t in range(TILES)
    ]
    assert all(trial.hit and trial.judged == trial.label == trial.text for trial in trials)
    assert {trial.iou for trial in trials} == {trial.best_iou for trial in trials} == {1.0}
    assert {trial.segments for trial in trials} == {TILES}


def test_one_who_always_finds_red(tmp_path: Path) -> None:
    trials = measured(tmp_path, [entrant("stubborn", Stubborn())])
    assert [trial.hit for trial in trials] == [trial.label == "red" for trial in trials]
    assert {trial.chosen_label for trial in trials} == {trial.judged for trial in trials} == {"red"}


def test_models_in_the_given_order_and_told_in_their_words(tmp_path: Path) -> None:
    entrants = [entrant("b", template="a {} box"), entrant("a", Stubborn(), swapped=True), entrant("a")]
    trials = measured(tmp_path, entrants)
    assert [(t.model, t.swapped) for t in trials[:12:4]] == [("b", False), ("a", True), ("a", False)]
    assert {trial.text == f"a {trial.label} box" for trial in trials[:4]} == {True}
    assert {trial.hit for trial in trials if trial.model == "a" and not trial.swapped} == {True}


def test_a_composite_is_searched_once_by_each(tmp_path: Path) -> None:
    sees = entrant("sees")
    measured(tmp_path, [sees])
    assert len(sees.segmenter.proposer.seen) == OPTIONS.count
    assert sees.segmenter.encoder.batches == [TILES] * OPTIONS.count


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    class Refusing:
        def segment_each(self, image: object, prompts: object) -> list[Prediction]:
            raise AssertionError("asked again")

    class Breaking(Stubborn):
        """Interrupted at its second composite."""

        def encode_images(self, crops):
            if self.batches:
                raise KeyboardInterrupt
            return super().encode_images(crops)

    whole = measured(tmp_path / "whole", [entrant("a"), entrant("b", Stubborn())])
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "broken", [entrant("a"), entrant("b", Breaking())])
    assert measured(tmp_path / "broken", [entrant("a"), entrant("b", Stubborn())]) == whole
    finished = [Entrant("a", Refusing()), Entrant("b", Refusing())]
    assert measured(tmp_path / "broken", finished) == whole


def test_where_nothing_is_found_nobody_is_asked(tmp_path: Path) -> None:
    class Dark(ColourSet):
        def load(self, picture):
            return black(), None

    trials = measured(tmp_path, [entrant("sees")], source=Dark())
    assert {(trial.chosen, trial.judged, trial.hit, trial.iou) for trial in trials} == {
        (None, None, False, None)
    }


def test_the_judge_sees_the_crop(tmp_path: Path) -> None:
    calls = []

    def watched(image, segments, size):
        calls.append((image.shape, len(segments), size))
        return JUDGE.crop(image, segments, size)

    measured(tmp_path, [entrant("sees")], type(JUDGE)(JUDGE.classifier, watched))
    assert calls == [((32, 32, 3), TILES, 8)] * OPTIONS.count


def test_progress_counts_composites(tmp_path: Path) -> None:
    from slip.data.composites import plan_composites
    from slip.evaluation.journal import Journal
    from slip.evaluation.loop import evaluate

    source, told = ColourSet(), []
    plans = plan_composites(source.pictures, OPTIONS)
    show = lambda *call: told.append(call)  # noqa: E731
    evaluate(plans, source, OPTIONS, [entrant("a")], None, Journal.open(tmp_path, {}), show)
    assert told == [("composites", done, 3) for done in range(4)]

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.colours import OPTIONS, Stubborn, entrant, measured, note
from evaluation.composites import RIGHT

from slip.evaluation.protocols import Reading
from slip.evaluation.scores import Share
from slip.evaluation.summary import Summary, summarise, to_json
from slip.evaluation.tables import class_table, confusion_tables, main_tables, notes
from slip.evaluation.trials import Trial

PAPER = replace(OPTIONS, protocol="paper")


@pytest.fixture
def two(tmp_path: Path) -> Summary:
    """One who is always right, and one who always finds red, on three composites."""
    return summarise(
        note(["sees", "stubborn"]), measured(tmp_path, [entrant("sees"), entrant("stubborn", Stubborn())])
    )


def test_figures_of_each_model(two: Summary) -> None:
    sees, stubborn = two.models
    assert (sees.name, sees.scores.tile, sees.scores.judged) == ("sees", Share(12, 12), Share(12, 12))
    assert (stubborn.scores.tile, stubborn.scores.good) == (Share(3, 12), Share(3, 12))
    assert stubborn.scores.ceiling == Share(12, 12)
    assert [(one.measure, one.paired.first_only, one.paired.second_only) for one in two.comparisons] == [
        ("tile", 9, 0),
        ("judged", 9, 0),
        ("IoU >= .5", 9, 0),
    ]
    assert two.uncovered == {} and two.paper is None


def test_as_json(two: Summary) -> None:
    told = json.loads(json.dumps(to_json(two)))
    sees, stubborn = told["models"]
    assert stubborn["tile_accuracy"] == {
        "right": 3,
        "trials": 12,
        "share": 0.25,
        "low": pytest.approx(0.0889, abs=1e-4),
        "high": pytest.approx(0.5323, abs=1e-4),
    }
    assert sees["iou"] == {"mean": 1.0, "trials": 12, "low": 1.0, "high": 1.0}
    assert ["blue", "red", 3] in stubborn["asked_and_chosen"]
    assert stubborn["chosen_and_judged"] == [["red", "red", 12]]
    assert [one["label"] for one in sees["classes"]] == ["blue", "green", "red", "white"]
    assert told["comparisons"][0] == {
        "first": "sees",
        "second": "stubborn",
        "measure": "tile",
        "trials": 12,
        "first_only": 9,
        "second_only": 0,
        "p": 0.00390625,
    }
    assert "paper" not in told


def test_in_tables(two: Summary) -> None:
    figures, better, judge = main_tables(two)
    assert figures.columns == ("", "sees", "stubborn")
    assert (
        "tile accuracy",
        "12/12 = 100.00 % (75.8 to 100.0)",
        "3/12 = 25.00 % (8.9 to 53.2)",
    ) in figures.rows
    assert figures.rows[2][:2] == ("mean IoU", "1.000 (1.000 to 1.000) of 12")
    assert ("sees | stubborn", "tile", "12", "9", "0", "0.004") in better.rows
    assert judge.rows == (("sees", "0", "0", "12"), ("stubborn", "0", "0", "12"))
    assert class_table(two).rows[0] == ("blue", "3/3", "3/3", "1.000", "0/3", "0/3", "0.000")
    assert [told.title for model in two.models for told in confusion_tables(model)] == [
        "stubborn: chosen instead"
    ]
    (chosen,) = confusion_tables(two.models[1])
    assert chosen.rows == tuple((colour, "red", "3") for colour in ("blue", "green", "white"))
    assert chosen.note == "9 of 12 trials."


def test_without_a_judge_its_rows_are_left_out(tmp_path: Path) -> None:
    told = summarise(note(["sees"], classes=None), measured(tmp_path, [entrant("sees")], None))
    (figures,) = main_tables(told)
    assert "judged accuracy" not in {row[0] for row in figures.rows}
    assert "No judge was given: tile accuracy and IoU only." in notes(told)


def test_classes_unknown_to_the_judge_are_named_and_counted(tmp_path: Path) -> None:
    told = summarise(note(["sees"], classes=["Red", "blue."]), measured(tmp_path, [entrant("sees")]))
    assert told.uncovered == {"green": 3, "white": 3}
    assert told.models[0].scores.judged == Share(6, 6)
    assert to_json(told)["classes_unknown_to_the_judge"] == {"green": 3, "white": 3}
    (line,) = (line for line in notes(told) if "does not know" in line)
    assert "2 classes of 6 prompts: 'green' (3), 'white' (3)" in line


def test_built_in_weights_are_called_so(tmp_path: Path) -> None:
    trials = measured(tmp_path, [entrant("sees")])
    told = summarise(note(["sees"], built_in=True), trials)
    assert main_tables(told)[0].columns[1] == "sees (built-in weights)"
    assert any("Figures from built-in weights (sees)" in line for line in notes(told))
    assert not any("built-in" in line for line in notes(summarise(note(["sees"]), trials)))


def asked(model: str, judged: Sequence[str], swapped: bool = False) -> list[Trial]:
    """Two composites of four prompts each, and what the judge made of the answers."""
    labels = ["red", "green", "blue", "Mr. Red"] * 2
    return [
        replace(
            RIGHT,
            model=model,
            swapped=swapped,
            composite=place // 4,
            tile=place % 4,
            label=label,
            judged=found,
        )
        for place, (label, found) in enumerate(zip(labels, judged, strict=True))
    ]


def test_the_published_reading() -> None:
    """The base model is scored by its last tiles, the fine-tuned one with its colours swapped."""
    right = ["red", "green", "blue", "MrRed"]
    tuned = asked("tuned", right * 2) + asked("tuned", ["red", "red", "red", "Mr. Red"] * 2, swapped=True)
    run = note(["base", "tuned"], PAPER, classes=["MrRed", "red", "green", "blue"])
    run["models"][1]["finetuned"] = True
    told = summarise(run, asked("base", right * 2) + tuned)
    base, fine = told.paper.models
    assert (base.swapped, base.reading) == (False, Reading(right=0, counted=8, scored=2))
    assert (fine.swapped, fine.reading) == (True, Reading(right=4, counted=8, scored=8))
    assert told.paper.unmatched == {"Mr. Red": 2} and told.uncovered == {}
    assert [model.scores.judged for model in told.models] == [Share(8, 8), Share(8, 8)]
    (first, second, same), *_ = told.paper.same_tiles
    assert (first, second, same.first_right, same.second_right, same.paired.p) == ("base", "tuned", 0, 2, 0.5)

    _, published, tiles, *_ = main_tables(told)
    assert published.rows[0] == (
        "base",
        "0/8 = 0.00 %",
        "2 of 8",
        "25.00 %",
        "8/8 = 100.00 % (67.6 to 100.0)",
    )
    assert tiles.rows == (("base | tuned", "0/2", "2/2", "0", "2", "0.500"),)
    (line,) = (line for line in notes(told) if "written like" in line)
    assert "1 class of 2 prompts: 'Mr. Red' (2)" in line
    paper = to_json(told)["paper"]
    assert (paper["published"][0]["ceiling"], paper["published"][1]["red_and_blue_swapped"]) == (0.25, True)
    assert paper["same_last_tiles"][0]["second_right"] == 2


def test_61_of_100_last_tiles_print_as_published() -> None:
    labels = ["red"] * 400
    trials = [
        replace(
            RIGHT,
            model="base",
            composite=index // 4,
            tile=index % 4,
            label=label,
            judged="red" if index % 4 < 3 or index // 4 < 61 else "blue",
        )
        for index, label in enumerate(labels)
    ]
    told = summarise(note(["base"], PAPER), trials)
    table = main_tables(told)[1]
    assert table.rows == (
        ("base", "61/400 = 15.25 %", "100 of 400", "25.00 %", "361/400 = 90.25 % (86.9 to 92.8)"),
    )

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from fakes import ColourSet, FakeEncoder, FakeProposer

from benchmarks.exams import Examiner
from benchmarks.ranking import (
    NEGATIVES,
    NESTED,
    WORDINGS,
    Answers,
    Row,
    default_row,
    percent,
    rows,
    sit,
    table,
)
from slip.data.composites import draw_composite, plan_composites
from slip.data.critters import make_scene
from slip.data.splits import split
from slip.options import OVERLAP, VIEW, EvalOptions, Scoring
from slip.pipeline.crops import members
from slip.pipeline.score import to_score
from slip.pipeline.slip import Slip

DATA = ColourSet(("red", "green", "blue", "white", "teal"), count=10)
OPTIONS = EvalOptions(count=4, tile=16)
SCORING = Scoring(floor=3.0)


class SceneProposer(FakeProposer):
    """The true masks of three objects of a scene, the first of them cut into two."""

    def __init__(self, seed):
        super().__init__()
        self.scene = make_scene(seed)

    def propose(self, image, progress=None):
        flat = np.where(np.isin(self.scene.objects, (1, 2, 3)), self.scene.objects * 60, 0).astype(np.uint8)
        first = np.flatnonzero(flat == 60)
        flat.flat[first[: len(first) // 3]] = 50
        return super().propose(flat[..., None].repeat(3, axis=2))


def test_composites_ask_for_each_tile_and_for_what_is_not_there():
    exams = list(Examiner(FakeProposer(), FakeEncoder()).composites(DATA, OPTIONS))
    assert len(exams) == OPTIONS.count
    for exam in exams:
        assert len(exam.present) == 4
        assert sorted((*exam.present, *exam.absent)) == sorted(DATA.classes)
        assert (exam.right.sum(axis=1) == 1).all()


def test_scenes_ask_for_each_critter_and_for_what_is_not_there():
    proposer = SceneProposer(7)
    (exam,) = Examiner(proposer, FakeEncoder()).scenes(7, 1)
    captions = [critter.caption for critter in make_scene(7).critters]
    assert list(exam.present) == captions
    assert len(exam.absent) == len(captions)
    assert not {*exam.absent} & {*captions}
    assert exam.right.sum(axis=1).tolist() == [1, 1, 1, 0]
    assert exam.right[0].tolist() == [False, True, False, False]


@pytest.fixture(scope="module")
def sat():
    encoder = FakeEncoder()
    return sit(Examiner(FakeProposer(), encoder).composites(DATA, OPTIONS), encoder, SCORING)


@pytest.mark.parametrize(
    "row",
    [
        Row("black", "nms", "plain", "none", 0.0, 0.0, "whole"),
        Row("ensemble", "none", "photos", "generic", 0.25, 0.2, "whole"),
        Row("context", "paper", "plain", "ground", 1.0, 0.2, "whole"),
    ],
)
def test_a_row_is_what_the_pipeline_answers(sat, row):
    encoder = FakeEncoder()
    scoring = Scoring(WORDINGS[row.wording], NEGATIVES[row.negatives], SCORING.floor, row.presence, row.prior)
    slip = Slip(FakeProposer(), encoder, overlap=row.overlap, view=row.view, scoring=scoring)
    best, right = [], []
    for plan in plan_composites(split(DATA.pictures).validation, OPTIONS):
        composite = draw_composite(plan, DATA, OPTIONS)
        proposals = slip.propose(composite.image)
        for tile in composite.tiles:
            candidate = slip.rank(proposals, tile.prompt).candidate
            best.append(candidate.score)
            right.append(candidate.box.intersect(tile.box) == candidate.box)
    assert to_score(np.array(sat[row].present)) == pytest.approx(best)
    assert sat[row].right == right


def test_every_way_has_a_row(sat):
    every = rows(default_row(SCORING))
    assert len({*every}) == len(every) == len(sat)
    assert sum(row.view == "blur+raw" for row in every) == 1
    assert {default_row(SCORING), replace(default_row(SCORING), nested=NESTED[1])} <= {*sat}
    default = default_row(Scoring(WORDINGS["photos"], NEGATIVES["ground"], prior=0.9, presence=0.15))
    assert default == Row(VIEW, OVERLAP, "photos", "ground", 1.0, 0.2, NESTED[0])
    assert default in sat


def test_an_ensemble_is_its_members_joined(sat):
    ensemble = replace(default_row(SCORING), view="ensemble")
    assert sat[ensemble] == sat[replace(ensemble, view="+".join(members("ensemble")))]
    assert sat[ensemble].present != sat[replace(ensemble, view="black")].present


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    present, absent = rng.integers(0, 8, 40).tolist(), rng.integers(-3, 6, 30).tolist()
    pairs = [(a > b) + (a == b) / 2 for a, b in product(present, absent)]
    assert Answers(present, absent).auroc == pytest.approx(np.mean(pairs))
    assert Answers(present, absent).auroc == 1 - Answers(absent, present).auroc


@pytest.mark.parametrize("trials", [1, 19, 20, 21, 100])
def test_no_more_than_a_twentieth_of_the_absent_pass(trials):
    rng = np.random.default_rng(trials)
    absent = rng.normal(size=trials).round(1).tolist()
    answers = Answers(absent, absent, [True] * trials)
    passed = answers.accepted.sum()
    assert passed <= trials * 0.05
    assert passed >= trials * 0.05 - 1 - absent.count(max(absent))
    assert answers.found == answers.accepted.tolist()


def test_what_passes_and_is_wrong_is_not_found():
    answers = Answers([3.0, 4.0, 0.0], [1.0, 2.0], [True, False, True])
    assert answers.found == [True, False, False]


def test_the_table_marks_the_best_and_the_default():
    default = Row("black", "nms", "plain", "none", 0.0, 0.0, "whole")
    best = Row("ensemble", "nms", "plain", "none", 0.0, 0.0, "whole")
    answers = {
        default: Answers([3.0, 0.0], [1.0, 2.0], [True, True]),
        best: Answers([3.0, 3.0], [1.0, 2.0], [True, True]),
    }
    lines = table(answers, [best, default], default).splitlines()
    assert [best.differences(row) for row in answers] == [1, 0]
    assert lines[-2].startswith(
        "| **ensemble** | nms | plain | none | 0.0 | 0.0 | whole | 100.0 (34.2 to 100.0)"
    )
    assert lines[-2].endswith("| 1.0000 | 1 / 0, p = 1 |")
    assert lines[-1].startswith("| black |")
    assert lines[-1].endswith("| 50.0 (9.5 to 90.5) | 0.5000 | the default |")
    assert percent([True, False]) == "50.0 (9.5 to 90.5)"

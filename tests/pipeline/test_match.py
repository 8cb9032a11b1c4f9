from __future__ import annotations

import math
from itertools import combinations, permutations

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import segment_from
from hypothesis import example, given

from slip.errors import NoMatch, UsageError
from slip.pipeline.match import assign_one_to_one, label_all
from slip.pipeline.rank import rank_segments
from slip.types import Prediction

SEGMENTS = [segment_from(np.arange(5).reshape(1, 5) == index) for index in range(5)]


def prediction(prompt, scores, min_score=0.5, segments=SEGMENTS):
    """As ranking gives it: the best first, and where each stood before."""
    order = tuple(sorted(range(len(scores)), key=lambda index: -scores[index]))
    ranked = tuple(segments[index].scored(scores[index]) for index in order)
    scores = tuple(scores[index] for index in order)
    return Prediction(prompt, ranked, (1, 5), {}, min_score, scores, order)


def given_segments(predictions):
    """For each prompt the place of its match, or None."""
    return [one.order[0] if one.found else None for one in assign_one_to_one(predictions)]


def logit(score):
    return {0.0: -746.0, 1.0: 38.0}.get(score) or math.log(score) - math.log1p(-score)


def total_gain(given, table, least):
    pairs = [(row, column) for row, column in enumerate(given) if column is not None]
    return sum(logit(table[row][column]) - logit(least[row]) for row, column in pairs)


def best_gain(table, least):
    """Over every way to give some prompts a segment each that reaches their threshold."""
    rows, columns = range(len(table)), range(len(table[0]))
    gains = [0.0]
    for size in range(1, min(len(rows), len(columns)) + 1):
        for chosen in combinations(rows, size):
            for places in permutations(columns, size):
                given = [None] * len(rows)
                for row, column in zip(chosen, places, strict=True):
                    given[row] = column
                if all(table[row][given[row]] >= least[row] for row in chosen):
                    gains.append(total_gain(given, table, least))
    return max(gains)


SCORES = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]) | st.floats(0, 1)


@st.composite
def tables(draw):
    prompts, segments = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    table = [[draw(SCORES) for _ in range(segments)] for _ in range(prompts)]
    return table, [draw(SCORES) for _ in range(prompts)]


@given(tables())
@example(([[1.0, 0.0]], [0.0]))
@example(([[0.5], [0.5], [0.5]], [0.5, 0.5, 0.5]))
def test_no_other_assignment_gains_more(case):
    table, least = case
    asked = [prediction(str(row), table[row], least[row]) for row in range(len(table))]
    answers = assign_one_to_one(asked)
    given = given_segments(asked)
    matched = [column for column in given if column is not None]
    assert len(set(matched)) == len(matched)
    assert all(table[row][column] >= least[row] for row, column in enumerate(given) if column is not None)
    assert total_gain(given, table, least) == pytest.approx(best_gain(table, least), abs=1e-6)
    free = set(range(len(table[0]))) - set(matched)
    for row, answer in enumerate(answers):
        assert (answer.prompt, answer.min_score) == (str(row), least[row])
        if given[row] is not None:
            assert answer.best.patch is SEGMENTS[given[row]].patch
            assert answer.best.score == answer.scores[0] == table[row][given[row]]
        elif free:
            assert answer.candidate.score == max(table[row][column] for column in free) < least[row]
        else:
            assert answer.candidate is None


def test_two_prompts_that_want_the_same_segment_share_out():
    wanted = [prediction("a cat", [0.9, 0.8, 0.1]), prediction("a dog", [0.95, 0.6, 0.2])]
    assert given_segments(wanted) == [1, 0]


def test_an_absent_thing_takes_nothing_from_a_present_one():
    asked = [prediction("a unicorn", [0.4, 0.01]), prediction("a dog", [0.6, 0.55])]
    unicorn, dog = assign_one_to_one(asked)
    assert dog.best.score == 0.6
    assert not unicorn.found
    with pytest.raises(NoMatch, match="'a unicorn'.*0.01, below 0.50"):
        _ = unicorn.best


def test_more_prompts_than_segments_leave_the_weakest_without():
    scores = [[0.6], [0.9], [0.7]]
    asked = [prediction(str(row), row_scores) for row, row_scores in enumerate(scores)]
    assert given_segments(asked) == [None, 0, None]


def test_nothing_to_share_out():
    assert assign_one_to_one([]) == label_all([]) == []
    nothing = Prediction("a cat", (), (4, 5))
    assert assign_one_to_one([nothing])[0].candidate is None
    assert label_all([nothing, nothing]) == []


@given(tables())
def test_labels_are_the_best_prompt_that_each_segment_may_have(case):
    table, least = case
    asked = [prediction(str(row), table[row], least[row]) for row in range(len(table))]
    labels = label_all(asked)
    assert [label.index for label in labels] == list(range(len(table[0])))
    for label in labels:
        column = [row[label.index] for row in table]
        may = [row for row, score in enumerate(column) if score >= least[row]]
        if may:
            best = max(may, key=lambda row: column[row])
            assert (label.prompt, label.score) == (str(best), column[best])
        else:
            assert (label.prompt, label.score) == (None, max(column))


@pytest.mark.parametrize("function", [assign_one_to_one, label_all])
def test_predictions_of_different_pictures_are_refused(function):
    other = Prediction("a dog", (SEGMENTS[0].scored(0.5),), (1, 5))
    for odd in (other, Prediction("a dog", other.segments * 2, (1, 5), {}, 0.0, (0.5, 0.5), (3, 4))):
        with pytest.raises(UsageError, match="different proposals; rank all prompts on the same"):
            function([prediction("a cat", [0.5, 0.2]), odd])
    elsewhere = Prediction("a dog", (SEGMENTS[0].scored(0.5),), (2, 5))
    with pytest.raises(UsageError, match="different proposals"):
        function([prediction("a cat", [0.5]), elsewhere])


def test_scores_that_are_rounded_alike_are_told_apart_by_their_odds() -> None:
    """Log-odds of 38 and of 60 are both scores of 1."""
    segments = [segment_from(np.ones((1, width), bool)) for width in (1, 2)]
    ranked = [rank_segments(segments, np.array(odds)) for odds in ([38.0, 60.0], [60.0, 38.0])]
    both = [
        Prediction(prompt, ranking.segments, (1, 2), {}, 0.5, ranking.scores, ranking.order, ranking.odds)
        for prompt, ranking in zip("ab", ranked, strict=True)
    ]
    assert [given.order for given in assign_one_to_one(both)] == [(1,), (0,)]
    assert [label.prompt for label in label_all(both)] == ["b", "a"]

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeEncoder

from slip.options import Scoring
from slip.pipeline.texts import Texts


def test_the_bare_prompt_is_encoded_as_it_is():
    encoder = FakeEncoder()
    feature = Texts(encoder.encode_text, Scoring()).prompt("red {thing}")
    assert encoder.texts == ["red {thing}"]
    assert feature.tolist() == encoder.encode_text(["red {thing}"])[0].tolist()


def test_templates_are_averaged_to_a_unit_vector():
    encoder = FakeEncoder()
    feature = Texts(encoder.encode_text, Scoring(templates=("{}", "green and {}"))).prompt("red")
    assert encoder.texts == ["red", "green and red"]
    assert feature == pytest.approx([0.5**0.5, 0.5**0.5, 0])


def test_negatives_stand_in_the_same_templates_without_the_prompt_itself():
    encoder = FakeEncoder()
    texts = Texts(encoder.encode_text, Scoring(templates=("a {}",), negatives=("Red", "green", "blue")))
    negatives = texts.negatives("red ")
    assert negatives == pytest.approx(np.array([[0, 1, 0], [0, 0, 1]]))
    assert encoder.texts == ["a green", "a blue"]


def test_no_negatives_are_rows_of_the_right_width():
    assert Texts(FakeEncoder().encode_text, Scoring()).negatives("red").shape == (0, 3)


def test_a_text_is_encoded_once():
    encoder = FakeEncoder()
    texts = Texts(encoder.encode_text, Scoring(negatives=("green",)))
    for prompt in ("red", "blue", "red"):
        texts.prompt(prompt)
        texts.negatives(prompt)
    assert encoder.texts == ["red", "green", "blue"]

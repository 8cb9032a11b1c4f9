from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from slip.errors import UsageError, WeightsError
from slip.models import check_scoring, scoring_of
from slip.models.scoring import from_json, to_json
from slip.options import OWN_SCORING, SCORING, Scoring

TAUGHT = Scoring(("a {}",), ("ground",), 12.5, 0.1, 0.2, 0.5)


def checkpoint(path: Path, training: object) -> str:
    save_file({"x": np.zeros(1)}, path, {"slip": "clip", "training": json.dumps(training)})
    return str(path)


def test_each_kind_of_clip_has_its_scoring(tmp_path: Path) -> None:
    assert scoring_of("tiny") == OWN_SCORING["tiny"]
    assert scoring_of("ViT-B-32") == SCORING
    told = {"scoring": to_json(TAUGHT)}
    assert scoring_of(checkpoint(tmp_path / "taught.safetensors", told)) == TAUGHT
    assert scoring_of(str(tmp_path / "taught")) == TAUGHT


def test_a_checkpoint_that_tells_nothing_lets_all_pass(tmp_path: Path) -> None:
    assert scoring_of(checkpoint(tmp_path / "old.safetensors", {"classes": ["a"]})) == Scoring()


@pytest.mark.parametrize(
    "told",
    [
        [],
        {},
        {**to_json(TAUGHT), "floor": "high"},
        {**to_json(TAUGHT), "floor": None},
        {**to_json(TAUGHT), "floor": 10**400},
        {**to_json(TAUGHT), "min_score": 2.0},
        {**to_json(TAUGHT), "presence": -0.1},
        {**to_json(TAUGHT), "presence": 1.5},
        {**to_json(TAUGHT), "templates": "{}"},
        {**to_json(TAUGHT), "negatives": "ground"},
        {**to_json(TAUGHT), "negatives": ["ground", 7]},
        {**to_json(TAUGHT), "templates": []},
        {**to_json(TAUGHT), "templates": ["no place"]},
        {name: value for name, value in to_json(TAUGHT).items() if name != "prior"},
    ],
)
def test_a_damaged_scoring_is_refused(tmp_path: Path, told: object) -> None:
    with pytest.raises(WeightsError, match="is damaged: how its similarities become scores"):
        scoring_of(checkpoint(tmp_path / "odd.safetensors", {"scoring": told}))


def test_what_is_stored_comes_back() -> None:
    assert from_json(json.loads(json.dumps(to_json(TAUGHT))), Path("x")) == TAUGHT


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"templates": ("a photo",)}, "the template 'a photo' has no place for the prompt"),
        ({"templates": ()}, "no template is given"),
        ({"negatives": ("dog", " ")}, "a negative is empty"),
        ({"min_score": 1.5}, "min_score is 1.5; give 0 to 1"),
        ({"min_score": float("nan")}, "min_score is nan; give 0 to 1"),
        ({"presence": 1.5}, "presence is 1.5; give 0 to 1"),
        ({"presence": float("nan")}, "presence is nan; give 0 to 1"),
        ({"floor": float("nan")}, "floor is nan"),
    ],
)
def test_values_that_cannot_be_used_are_refused(bad: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_scoring(replace(TAUGHT, **bad))  # type: ignore[arg-type]

"""Trials as pictures, for people to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from slip.data.composites import Plan, draw_composite
from slip.data.pictures import PictureSet
from slip.drawing import overlay
from slip.evaluation.loop import Crop
from slip.evaluation.scores import Judging
from slip.evaluation.trials import Trial
from slip.images import encode_jpeg, resize
from slip.masks import decode_rle, segment_of
from slip.options import EvalOptions

SCENE, CROP = 400, 96
"""Sides of the pictures in pixels."""
MOST_PICTURES, MOST_OF_A_KIND = 72, 6
"""Of all models and kinds together, and of each: what keeps a report at a few megabytes."""


@dataclass(frozen=True)
class Example:
    """A trial, its composite with the chosen segment lit, and the crop: JPEG files."""

    trial: Trial
    scene: bytes
    crop: bytes | None


@dataclass(frozen=True)
class Gallery:
    """Draws trials of one evaluation. crop: as the model saw segments."""

    plans: Sequence[Plan]
    source: PictureSet
    options: EvalOptions
    crop: Crop

    def of(self, trials: Sequence[Trial], judging: Judging) -> dict[str, dict[str, list[Example]]]:
        """Some right and some wrong trials of each model, spread over its composites."""
        plain = [trial for trial in trials if not trial.swapped]
        models = list(dict.fromkeys(trial.model for trial in plain))
        kinds = _kinds(judging)
        most = max(1, min(MOST_OF_A_KIND, MOST_PICTURES // (len(models) * len(kinds))))
        return {
            model: {
                kind: [
                    self.draw(trial)
                    for trial in _spread([one for one in plain if one.model == model and fits(one)], most)
                ]
                for kind, fits in kinds.items()
            }
            for model in models
        }

    def draw(self, trial: Trial) -> Example:
        """One trial as pictures. Raises ImageError where a picture of it cannot be read any more."""
        image = draw_composite(self.plans[trial.composite], self.source, self.options).image
        segment = segment_of(decode_rle(trial.chosen.rle)) if trial.chosen else None
        if segment is None:
            return Example(trial, encode_jpeg(resize(image, SCENE, SCENE)), None)
        scene = resize(overlay(image, segment), SCENE, SCENE)
        return Example(trial, encode_jpeg(scene), encode_jpeg(self.crop(image, [segment], CROP)[0]))


def _kinds(judging: Judging) -> dict[str, Callable[[Trial], bool]]:
    kinds: dict[str, Callable[[Trial], bool]] = {
        "right tile": lambda trial: trial.hit,
        "wrong tile, or nothing": lambda trial: not trial.hit,
    }
    if judging.classes is not None:
        kinds["judge and tile disagree"] = lambda trial: judging.right(trial) not in (None, trial.hit)
    return kinds


def _spread(trials: Sequence[Trial], most: int) -> Iterator[Trial]:
    """At most so many of the trials, at even distances."""
    count = min(most, len(trials))
    return (trials[index * len(trials) // count] for index in range(count))

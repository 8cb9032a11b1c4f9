"""The loop of an evaluation: every composite, every model, every prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slip.data.composites import Composite, Plan, draw_composite
from slip.data.pictures import PictureSet, fill_caption
from slip.evaluation.journal import Journal
from slip.evaluation.trials import Trial, measure
from slip.options import CAPTION, EvalOptions
from slip.types import Classifier, Image, Prediction, Progress, Segment, Segmenter

Crop = Callable[[Image, Sequence[Segment], int], Image]
"""``crop(image, segments, size)``: the segments as ``uint8 (N, size, size, 3)`` RGB."""


@dataclass(frozen=True)
class Entrant:
    """A model that takes part.

    template: what it is told of a prompt; ``{}`` is the prompt.
    finetuned: whether it was taught the classes. swapped: see ``Trial``.
    """

    name: str
    segmenter: Segmenter
    template: str = CAPTION
    finetuned: bool = False
    swapped: bool = False


@dataclass(frozen=True)
class Judge:
    """Names the class of a segment that a model chose, by its crop."""

    classifier: Classifier
    crop: Crop

    def labels(self, image: Image, segments: Sequence[Segment]) -> list[str]:
        """The most probable class of each segment of a picture."""
        if not segments:
            return []
        crops = self.crop(image, segments, self.classifier.image_size)
        best = self.classifier.classify(crops).argmax(axis=1)
        return [self.classifier.classes[index] for index in best]


def evaluate(
    plans: Sequence[Plan],
    source: PictureSet,
    options: EvalOptions,
    entrants: Sequence[Entrant],
    judge: Judge | None,
    journal: Journal,
    progress: Progress | None = None,
) -> list[Trial]:
    """Measure what the journal does not hold yet; all trials, by composite, entrant and tile.

    All entrants answer a composite before the next is drawn, so that they can share one search.
    Raises ImageError for a picture that cannot be read, OutputError.
    """
    for number, plan in enumerate(plans):
        if progress:
            progress("composites", number, len(plans))
        missing = [one for one in entrants if not journal.holds(number, one.name, one.swapped)]
        composite = draw_composite(plan, source, options) if missing else None
        for entrant in missing:
            if composite is not None:
                journal.add(_answer(composite, number, entrant, judge))
    if progress:
        progress("composites", len(plans), len(plans))
    order = {(one.name, one.swapped): place for place, one in enumerate(entrants)}
    return sorted(
        journal.trials,
        key=lambda trial: (trial.composite, order[trial.model, trial.swapped], trial.tile),
    )


def _answer(composite: Composite, number: int, entrant: Entrant, judge: Judge | None) -> list[Trial]:
    """The trials of one model on one composite."""
    texts = [fill_caption(entrant.template, tile.prompt) for tile in composite.tiles]
    predictions = entrant.segmenter.segment_each(composite.image, texts)
    judged = _judged(composite.image, predictions, judge)
    return [
        measure(
            composite,
            tile,
            prediction,
            number=number,
            model=entrant.name,
            swapped=entrant.swapped,
            judged=label,
        )
        for tile, (prediction, label) in enumerate(zip(predictions, judged, strict=True))
    ]


def _judged(image: Image, predictions: Sequence[Prediction], judge: Judge | None) -> list[str | None]:
    """What the judge calls each chosen segment; None where there is no judge or no segment."""
    if judge is None:
        return [None] * len(predictions)
    labels = iter(judge.labels(image, [found.best for found in predictions if found.found]))
    return [next(labels) if found.found else None for found in predictions]

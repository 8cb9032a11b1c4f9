"""The loop of an evaluation: every picture, every method, every part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from slip.data.parts import PartPicture, PartSet, Triple, triples
from slip.errors import UsageError
from slip.evaluation.referring.answers import Answer, answer
from slip.evaluation.referring.journal import Journal, Seconds
from slip.masks import segment_of
from slip.types import Image, Prediction, Progress, Segment, Segmenter

EVERY = 1 << 30
"""More segments than any picture has."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A method that takes part.

    oracle: its answer is the segment that fits the truth best, not the one with the highest score: an upper
    bound, and no method. among: of how many of its segments, the first.
    """

    name: str
    segmenter: Segmenter
    oracle: bool = False
    among: int = EVERY


@dataclass(eq=False)
class _Asked:
    """What segmenters said of one picture: those that two contenders share are asked once."""

    image: Image
    predictions: dict[tuple[int, str], Prediction] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def of(self, segmenter: Segmenter, expressions: Sequence[str]) -> list[Prediction]:
        """Its predictions for the expressions, in their order."""
        who = id(segmenter)
        new = [text for text in dict.fromkeys(expressions) if (who, text) not in self.predictions]
        if new:
            start = perf_counter()
            found = segmenter.segment_each(self.image, new)
            self.seconds[who] = self.seconds.get(who, 0.0) + perf_counter() - start
            self.predictions |= {(who, text): one for text, one in zip(new, found, strict=True)}
        return [self.predictions[who, text] for text in expressions]


def evaluate(
    pictures: Sequence[PartPicture],
    source: PartSet,
    contenders: Sequence[Contender],
    journal: Journal,
    progress: Progress | None = None,
) -> list[Answer]:
    """Ask what the journal does not hold yet; all answers, by contender, picture and part.

    All contenders answer a picture before the next is read, so that they can share one search.
    Raises ImageError for a picture that cannot be read any more, OutputError.
    """
    for number, picture in enumerate(pictures):
        if progress:
            progress("pictures", number, len(pictures))
        wanted = triples([picture])
        missing = {
            one: [
                triple for triple in wanted if not journal.holds(one.name, picture.name, triple.part.category)
            ]
            for one in contenders
        }
        if any(missing.values()):
            _ask(picture, source, missing, len(wanted), journal)
    if progress:
        progress("pictures", len(pictures), len(pictures))
    methods = {one.name: place for place, one in enumerate(contenders)}
    places = {picture.name: place for place, picture in enumerate(pictures)}
    return sorted(journal.answers, key=lambda one: (methods[one.method], places[one.picture], one.part))


def _ask(
    picture: PartPicture,
    source: PartSet,
    missing: dict[Contender, list[Triple]],
    parts: int,
    journal: Journal,
) -> None:
    """Add the missing answers of a picture to the journal."""
    image, masks = source.load(picture)
    truths = {part.category: _truth(segment_of(mask), picture) for part, mask in masks.items()}
    asked = _Asked(image)
    for one, wanted in missing.items():
        if not wanted:
            continue
        found = asked.of(one.segmenter, [triple.expression for triple in wanted])
        best = one.among if one.oracle else 0
        journal.add(
            [
                answer(prediction, truths[triple.part.category], triple, one.name, best=best)
                for triple, prediction in zip(wanted, found, strict=True)
            ]
        )
        if len(wanted) == parts:  # else it is not how long the whole picture takes
            journal.took(Seconds(one.name, picture.name, asked.seconds[id(one.segmenter)]))


def _truth(segment: Segment | None, picture: PartPicture) -> Segment:
    if segment is None:
        raise UsageError(f"a part of {picture.name!r} has no pixel; leave it out of the set")
    return segment

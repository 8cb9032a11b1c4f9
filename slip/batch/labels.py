"""Every segment of a picture with the prompt that names it best, as files and as predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slip.batch.plan import Maker
from slip.drawing import index_picture
from slip.images import encode_png
from slip.outputs import describe, to_json
from slip.pipeline.match import Label, only
from slip.types import Prediction


def only_labelled(prediction: Prediction, labels: Sequence[Label]) -> Prediction:
    """The prediction with the segments alone that its prompt names."""
    places = [
        place for place, index in enumerate(prediction.order) if labels[index].prompt == prediction.prompt
    ]
    return only(prediction, places)


def label_contents(
    paths: Sequence[Path],
    predictions: Sequence[Prediction],
    labels: Sequence[Label],
    maker: Maker,
) -> Iterator[tuple[Path, bytes]]:
    """The index picture, if there is a segment, and the JSON: its Nth segment has the value N.

    paths: of both; none where neither is wanted. A segment that no prompt names has the prompt null.
    """
    if not paths:
        return
    picture, told = paths
    first = predictions[0]
    if labels:
        yield picture, encode_png(index_picture(first.segments, first.image_size))
    named = (labels[index] for index in first.order)
    yield (
        told,
        to_json(
            {
                "version": maker.version,
                "image_size": first.image_size,
                "prompts": [prediction.prompt for prediction in predictions],
                "segments": [
                    {"prompt": label.prompt, "score": label.score, **describe(segment, with_rle=True)}
                    for label, segment in zip(named, first.segments, strict=True)
                ],
                "models": maker.models,
                "options": maker.options,
            }
        ),
    )

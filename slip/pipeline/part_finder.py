"""Networks that answer a prompt with a mask, in the place of the whole method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from time import perf_counter
from typing import TYPE_CHECKING, Final, get_args

from slip.errors import UsageError
from slip.images import Source, load_image
from slip.options import Device, PartNetwork, Precision
from slip.pipeline.choices import check_prompt
from slip.types import Prediction, Progress, Segmenter

if TYPE_CHECKING:
    from slip.device import Compute


def load_parts(
    method: PartNetwork,
    weights: str,
    device: Device = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> PartFinder:
    """A network that was taught the parts of things.

    method: ``cris``, ``clipseg`` or ``maskrcnn``. weights: what ``slip finetune --method`` wrote: the
    path, with or without its suffix.

    Raises UsageError for values that cannot be used, WeightsError for weights that are missing, damaged
    or of another network.
    """
    if method not in get_args(PartNetwork):
        raise UsageError(f"method {method!r} is not known; choose from {', '.join(get_args(PartNetwork))}")
    from slip.device import resolve
    from slip.models import load_segmenter, named_result

    name, compute = named_result(weights, method).name, resolve(device, precision)
    return PartFinder(load_segmenter(method, weights, compute, progress), {method: name}, compute)


class PartFinder:
    """A network of parts as a Segmenter, which ``load_parts`` makes.

    >>> finder = load_parts("cris", "parts.safetensors")
    >>> mask = finder.segment("car.jpg", "front left door").best.mask

    Wherever a picture is asked for, a path, the bytes of a file, a PIL picture and an array do. A prediction
    has one segment, or none where the network sees nothing of that name.
    """

    def __init__(self, segmenter: Segmenter, models: dict[str, str], compute: Compute | None = None) -> None:
        self.models: Final = models
        """The name of the weights, by the method."""
        self.compute: Final = compute
        self._segmenter = segmenter

    @property
    def computing(self) -> dict[str, str]:
        """For reports: ``device`` and ``precision``; empty where they are not known."""
        return asdict(self.compute) if self.compute else {}

    def segment(self, image: Source, prompt: str, progress: Progress | None = None) -> Prediction:
        """The mask of what ``prompt`` names; perhaps none.

        progress: called with the stage ``ask``.
        Raises UsageError for an empty prompt, ImageError for a picture that cannot be read.
        """
        return self.segment_each(image, [prompt], progress)[0]

    def segment_each(
        self, image: Source, prompts: Sequence[str], progress: Progress | None = None
    ) -> list[Prediction]:
        """``segment`` for each of ``prompts``, in their order; the network looks at the picture once.

        The timings are those of the picture, the same for all. Raises as ``segment``.
        """
        for prompt in prompts:
            check_prompt(prompt)
        start = perf_counter()
        pixels = load_image(image)
        decoded = perf_counter()
        if progress:
            progress("ask", 0, 1)
        found = self._segmenter.segment_each(pixels, prompts)
        timings = {"decode": decoded - start, "ask": perf_counter() - decoded}
        if progress:
            progress("ask", 1, 1)
        return [replace(prediction, timings=timings) for prediction in found]

"""The method whole: propose segments, drop overlaps, crop views, rank against the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast, get_args
from weakref import WeakKeyDictionary

import numpy as np

from slip.errors import UsageError
from slip.images import Source, load_image
from slip.options import (
    OVERLAP,
    PRESET,
    PRESETS,
    PROPOSER,
    VIEW,
    Device,
    Overlap,
    Precision,
    Preset,
    PresetName,
    ProposeOptions,
    ProposerName,
    View,
    propose_options,
)
from slip.pipeline.crops import crop_views
from slip.pipeline.overlap import drop_overlaps
from slip.pipeline.propose import propose_segments
from slip.pipeline.rank import rank_segments
from slip.types import (
    DenseEncoder,
    Encoder,
    Features,
    GuidedProposer,
    Image,
    Prediction,
    Progress,
    Proposals,
    Proposer,
)

if TYPE_CHECKING:
    from slip.device import Compute

CROPS_PER_BATCH = 32
"""Crops made and encoded together; bounds the memory, and progress moves after each batch."""

TEXTS_KEPT = 1024
"""Prompts whose features are kept, the latest ones: a few megabytes."""


class Slip:
    """Text-prompted segmentation (arXiv 2405.07284): a proposer finds segments, an encoder chooses.

    >>> slip = Slip.load("tiny")
    >>> proposals = slip.propose("scene.png")
    >>> bird, fish = (slip.rank(proposals, prompt).best for prompt in ("a bird", "a fish"))

    Wherever a picture is asked for, a path, the bytes of a file, a PIL picture and an array do.
    ``progress`` is called with the stages ``propose`` and ``rank``.
    """

    def __init__(
        self, proposer: Proposer, encoder: Encoder, *, overlap: Overlap = OVERLAP, view: View = VIEW
    ) -> None:
        _check_choices(overlap, view)
        if _is_guided(proposer) and not isinstance(encoder, DenseEncoder):
            raise UsageError(f"{encoder.name} cannot guide the points; choose --points adaptive")
        self.proposer: Final = proposer
        self.encoder: Final = encoder
        self.overlap: Final = overlap
        self.view: Final = view
        self.compute: Compute | None = None
        """Device and precision of the encoder, where ``load`` chose them."""
        self.sam_compute: Compute | None = None
        """Those of the proposer."""
        self._features: WeakKeyDictionary[Proposals, Features] = WeakKeyDictionary()
        self._text_features = lru_cache(TEXTS_KEPT)(lambda prompt: encoder.encode_text([prompt])[0])

    @classmethod
    def load(
        cls,
        preset: PresetName = PRESET,
        *,
        sam: str | None = None,
        clip: str | None = None,
        clip_weights: str | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        proposer: ProposerName = PROPOSER,
        options: ProposeOptions | None = None,
        overlap: Overlap = OVERLAP,
        view: View = VIEW,
        progress: Progress | None = None,
    ) -> Slip:
        """A preset's models, or others in their place.

        sam: ``vit_b``, ``vit_l``, ``vit_h``, ``tiny`` or the path of a checkpoint.
        clip: ``tiny``, an open_clip architecture or the path of a checkpoint.
        clip_weights: a tag of the catalogue or a path, for ``clip``.
        proposer: ``fast``, or ``reference``, segment_anything's own generator, which asks every point.
        options: how SAM is asked; by default as suits it.

        Raises UsageError for values that cannot be used, WeightsError for weights that cannot
        be had.
        """
        chosen = choose_models(preset, sam=sam, clip=clip, clip_weights=clip_weights)
        options = options or propose_options(chosen.sam, proposer)
        _check_choices(overlap, view)
        from slip.device import resolve, resolve_for_sam
        from slip.models import check_encoder, check_proposer, load_encoder, load_proposer

        check_proposer(chosen.sam, options, proposer)
        check_encoder(chosen.clip, chosen.clip_weights)
        compute, sam_compute = resolve(device, precision), resolve_for_sam(chosen.sam, device, precision)
        sam_proposer = load_proposer(chosen.sam, options, sam_compute, progress, proposer)
        encoder = load_encoder(chosen.clip, chosen.clip_weights, compute, progress)
        slip = cls(sam_proposer, encoder, overlap=overlap, view=view)
        slip.compute, slip.sam_compute = compute, sam_compute
        return slip

    @property
    def models(self) -> dict[str, str]:
        """The names of the models in use, ``sam`` and ``clip``."""
        return {"sam": self.proposer.name, "clip": self.encoder.name}

    @property
    def computing(self) -> dict[str, str]:
        """For reports: ``device``, ``precision`` and ``sam_precision``; empty where ``load`` chose none."""
        if self.compute is None or self.sam_compute is None:
            return {}
        return {**asdict(self.compute), "sam_precision": self.sam_compute.precision}

    def segment(self, image: Source, prompt: str, progress: Progress | None = None) -> Prediction:
        """The segments of a picture ranked against ``prompt``, best first; perhaps none.

        Raises UsageError for an empty prompt, ImageError for a picture that cannot be read.
        """
        check_prompt(prompt)
        return self.rank(self.propose(image, progress, prompt), prompt, progress)

    def segment_each(
        self, image: Source, prompts: Sequence[str], progress: Progress | None = None
    ) -> list[Prediction]:
        """``segment`` for each of ``prompts``, in their order, for the price of one search.

        A guided proposer searches for each of them.

        Raises UsageError for an empty prompt, ImageError for a picture that cannot be read.
        """
        for prompt in prompts:
            check_prompt(prompt)
        if _is_guided(self.proposer):
            return [self.segment(image, prompt, progress) for prompt in prompts]
        proposals = self.propose(image, progress)
        return [self.rank(proposals, prompt, progress) for prompt in prompts]

    def propose(
        self, image: Source, progress: Progress | None = None, prompt: str | None = None
    ) -> Proposals:
        """Every segment of a picture, for any number of prompts.

        prompt: where a guided proposer is to look; the segments are then few, and meant for this prompt.
        Other proposers take no notice of it, and a guided one without it looks everywhere.

        Raises ImageError for a picture that cannot be read.
        """
        timings: dict[str, float] = {}
        with _timed(timings, "decode"):
            pixels = load_image(image)
        interest = None
        if prompt is not None and _is_guided(self.proposer):
            with _timed(timings, "guide"):
                interest = self._interest(pixels, prompt)
        with _timed(timings, "propose"):
            found = propose_segments(self.proposer, pixels, progress, interest)
        with _timed(timings, "overlap"):
            kept = drop_overlaps(found, self.overlap)
        return Proposals(pixels, tuple(kept), len(found), timings)

    def _interest(self, image: Image, prompt: str) -> Features:
        """How similar every place of a picture is to a prompt: ``float32 (h, w)``."""
        places: Features = cast(DenseEncoder, self.encoder).encode_dense(image)
        interest: Features = places @ self._text_features(prompt)
        return interest

    def rank(self, proposals: Proposals, prompt: str, progress: Progress | None = None) -> Prediction:
        """The segments of ``proposals`` ranked against ``prompt``, best first.

        The crops are encoded at the first prompt and reused at later ones, for as long as
        ``proposals`` lives; so is the text of a prompt that was asked before, of any picture. The
        timings are those of the proposals and of this call.

        Raises UsageError for an empty prompt.
        """
        check_prompt(prompt)
        timings = dict(proposals.timings)
        segments = proposals.segments
        if segments:
            image_features = self._image_features(proposals, timings, progress)
            with _timed(timings, "encode"):
                text_features = self._text_features(prompt)
            with _timed(timings, "rank"):
                segments = rank_segments(segments, image_features, text_features)
        height, width = proposals.image.shape[:2]
        return Prediction(prompt, segments, (height, width), timings)

    def _image_features(
        self, proposals: Proposals, timings: dict[str, float], progress: Progress | None
    ) -> Features:
        if proposals not in self._features:
            batches = self._encode_crops(proposals, timings, progress)
            self._features[proposals] = np.concatenate(list(batches))
        return self._features[proposals]

    def _encode_crops(
        self, proposals: Proposals, timings: dict[str, float], progress: Progress | None
    ) -> Iterator[Features]:
        segments = proposals.segments
        for start in range(0, len(segments), CROPS_PER_BATCH):
            batch = segments[start : start + CROPS_PER_BATCH]
            with _timed(timings, "crop"):
                crops = crop_views(proposals.image, batch, self.view, self.encoder.image_size)
            with _timed(timings, "encode"):
                features = self.encoder.encode_images(crops)
            if progress:
                progress("rank", start + len(batch), len(segments))
            yield features


def choose_models(
    preset: str, *, sam: str | None = None, clip: str | None = None, clip_weights: str | None = None
) -> Preset:
    """The models of a preset, with others in their place where given.

    Raises UsageError for an unknown preset, and for another CLIP architecture without weights:
    those of the preset would not fit it.
    """
    from slip.models import named_clip

    base = {str(name): models for name, models in PRESETS.items()}.get(preset)
    if base is None:
        raise UsageError(f"preset {preset!r} is not known; choose from {', '.join(PRESETS)}")
    clip = clip and named_clip(clip)
    if clip in (None, base.clip):
        return replace(base, sam=sam or base.sam, clip_weights=clip_weights or base.clip_weights)
    if clip_weights is None and not _brings_weights(clip):
        raise UsageError(f"CLIP {clip!r} needs weights; name a tag or a path with --clip-weights")
    return replace(base, sam=sam or base.sam, clip=clip, clip_weights=clip_weights)


def _brings_weights(clip: str) -> bool:
    """Whether ``clip`` is built in or a checkpoint, rather than an architecture."""
    return clip == "tiny" or Path(clip).suffix != "" or Path(clip).is_file()


def check_prompt(prompt: str) -> None:
    """Raise UsageError for a prompt that is empty, no text, or text that is no Unicode."""
    if not isinstance(prompt, str):
        raise UsageError(f"the prompt is {type(prompt).__name__}, not text; rank several prompts one by one")
    if not prompt.strip():
        raise UsageError('the prompt is empty; say what to look for, as in "a striped bird"')
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the prompt {prompt!r} is not Unicode text; write it in UTF-8") from None


def _is_guided(proposer: Proposer) -> bool:
    return isinstance(proposer, GuidedProposer) and proposer.guided


def _check_choices(overlap: Any, view: Any) -> None:
    for name, value, choices in (("overlap", overlap, get_args(Overlap)), ("view", view, get_args(View))):
        if value not in choices:
            raise UsageError(f"{name} {value!r} is not known; choose from {', '.join(choices)}")


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the seconds spent inside to those of ``stage``."""
    start = perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + perf_counter() - start

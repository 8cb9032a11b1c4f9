"""The method whole: propose segments, drop overlaps, crop views, rank against the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

import numpy as np

from slip.errors import UsageError
from slip.images import Source, load_image, resize
from slip.masks import as_searched
from slip.options import (
    OVERLAP,
    PRESET,
    PROPOSER,
    VIEW,
    Device,
    Overlap,
    Precision,
    PresetName,
    ProposeOptions,
    ProposerName,
    Scoring,
    View,
    propose_options,
)
from slip.pipeline.choices import check_choices, check_prompt, choose_models, how_scored
from slip.pipeline.crops import crop_views, members
from slip.pipeline.nested import settle_nested
from slip.pipeline.overlap import drop_overlaps
from slip.pipeline.propose import at_size_of, search
from slip.pipeline.rank import rank_segments
from slip.pipeline.score import LogOdds, log_odds, quality_prior
from slip.pipeline.texts import Texts, averaged
from slip.types import (
    DenseEncoder,
    Encoder,
    Features,
    Image,
    Prediction,
    Progress,
    Proposals,
    Proposer,
)

if TYPE_CHECKING:
    from slip.device import Compute
    from slip.pipeline.keep import Keeping

CROPS_PER_BATCH = 32
"""Crops made and encoded together; bounds the memory, and progress moves after each batch."""


PLAIN = Scoring()
"""Scores by the similarity to the bare prompt alone, and lets every one pass."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What is known of the segments of a picture before any text.

    crops: their features, ``float32 (N, D)``, the mean of all views. whole: those of the picture,
    ``(1, D)``, if they are wanted. prior: what SAM's trust says of them, ``float64 (N,)``.
    """

    crops: Features
    whole: Features | None
    prior: LogOdds


class Slip:
    """Text-prompted segmentation (arXiv 2405.07284): a proposer finds segments, an encoder chooses.

    >>> slip = Slip.load("tiny")
    >>> proposals = slip.propose("scene.png")
    >>> bird, fish = (slip.rank(proposals, prompt).best for prompt in ("a bird", "a fish"))

    Wherever a picture is asked for, a path, the bytes of a file, a PIL picture and an array do.
    ``progress`` is called with the stages ``propose`` and ``rank``.
    """

    def __init__(
        self,
        proposer: Proposer,
        encoder: Encoder,
        *,
        overlap: Overlap = OVERLAP,
        view: View = VIEW,
        scoring: Scoring = PLAIN,
        keeping: Keeping | None = None,
    ) -> None:
        check_choices(overlap, view)
        if _is_guided(proposer) and not hasattr(encoder, "encode_dense"):
            raise UsageError(f"{encoder.name} cannot guide the points; choose --points adaptive")
        self.proposer: Final = proposer
        self.encoder: Final = encoder
        self.overlap: Final = overlap
        self.view: Final = view
        self.scoring: Final = scoring
        self.compute: Compute | None = None
        """Device and precision of the encoder, where ``load`` chose them."""
        self.sam_compute: Compute | None = None
        """Those of the proposer."""
        self._keeping = keeping
        self._features: WeakKeyDictionary[Proposals, Shown] = WeakKeyDictionary()
        self._texts = Texts(self._encode_texts, scoring)

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
        templates: Sequence[str] | None = None,
        negatives: Sequence[str] = (),
        min_score: float | None = None,
        cache: bool = False,
        progress: Progress | None = None,
    ) -> Slip:
        """A preset's models, or others in their place.

        sam: ``vit_b``, ``vit_l``, ``vit_h``, ``tiny`` or the path of a checkpoint.
        clip: ``tiny``, an open_clip architecture or the path of a checkpoint.
        clip_weights: a tag of the catalogue or a path, for ``clip``.
        proposer: ``fast``, or ``reference``, segment_anything's own generator, which asks every point.
        options: how SAM is asked; by default as suits it.
        templates: sentences that the prompt is put into at ``{}``, in place of those stored with CLIP.
        negatives: what a segment may show instead, besides those stored with CLIP.
        min_score: segments with a lower score are no match, 0 to 1; by default what is stored with CLIP.
        cache: keep on disk what is computed, and compute nothing twice (``slip.cache``); a model is then
        loaded when it is first needed, if ever. No result changes.

        Raises UsageError for values that cannot be used, WeightsError for weights that cannot
        be had; with ``cache`` perhaps only when they are needed.
        """
        chosen = choose_models(preset, sam=sam, clip=clip, clip_weights=clip_weights)
        options = options or propose_options(chosen.sam, proposer)
        check_choices(overlap, view)
        from slip.device import resolve, resolve_for_sam
        from slip.models import check_encoder, check_proposer, load_encoder, load_proposer

        check_proposer(chosen.sam, options, proposer)
        check_encoder(chosen.clip, chosen.clip_weights)
        scoring = how_scored(chosen.clip, templates, negatives, min_score)
        compute, sam_compute = resolve(device, precision), resolve_for_sam(chosen.sam, device, precision)
        sam_with = (chosen.sam, options, sam_compute, progress, proposer)
        clip_with = (chosen.clip, chosen.clip_weights, compute, progress)
        if cache:
            models, keeping = _late_models(sam_with, clip_with)
        else:
            models, keeping = (load_proposer(*sam_with), load_encoder(*clip_with)), None
        slip = cls(*models, overlap=overlap, view=view, scoring=scoring, keeping=keeping)
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
        guided = prompt is not None and _is_guided(self.proposer)
        interest = None
        if prompt is not None and guided:
            with _timed(timings, "guide"):
                interest = self._interest(pixels, prompt)
        with _timed(timings, "propose"):
            if self._keeping is None or guided:
                found = search(self.proposer, pixels, progress, interest)
            else:
                found = self._keeping.segments(pixels, lambda: search(self.proposer, pixels, progress))
        with _timed(timings, "overlap"):
            kept = drop_overlaps(found, self.overlap)
        return Proposals(pixels, at_size_of(pixels, kept), len(found), timings)

    def _interest(self, image: Image, prompt: str) -> Features:
        """How similar every place of a picture is to a prompt: ``float32 (h, w)``."""
        places: Features = cast(DenseEncoder, self.encoder).encode_dense(image)
        interest: Features = places @ self._texts.prompt(prompt)
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
        height, width = proposals.image.shape[:2]
        odds = self._odds(proposals, prompt, timings, progress)
        with _timed(timings, "rank"):
            ranking = rank_segments(proposals.segments, odds)
        return Prediction(
            prompt,
            ranking.segments,
            (height, width),
            timings,
            self.scoring.min_score,
            ranking.scores,
            ranking.order,
            ranking.odds,
        )

    def odds(self, proposals: Proposals, prompt: str) -> LogOdds:
        """The log-odds behind the scores of ``rank``, of each segment in the order of ``proposals``.

        ``float64 (N,)``. Raises UsageError for an empty prompt.
        """
        check_prompt(prompt)
        return self._odds(proposals, prompt, {}, None)

    def _odds(
        self, proposals: Proposals, prompt: str, timings: dict[str, float], progress: Progress | None
    ) -> LogOdds:
        """How much more each segment, and with it the whole picture, resembles the prompt than the rest."""
        if not len(proposals.segments):
            return np.zeros(0)
        shown = self._shown(proposals, timings, progress)
        with _timed(timings, "encode"):
            asked, others = self._texts.prompt(prompt), self._texts.negatives(prompt)
        scoring, scale = self.scoring, self.encoder.logit_scale
        odds = log_odds(shown.crops, asked, others, scale, scoring.floor)
        if shown.whole is not None:
            whole = log_odds(shown.whole, asked, others, scale, scoring.floor)
            odds = (1 - scoring.presence) * odds + scoring.presence * whole
        return settle_nested(odds + scoring.prior * shown.prior, as_searched(proposals.segments))

    def _shown(self, proposals: Proposals, timings: dict[str, float], progress: Progress | None) -> Shown:
        """What the encoder sees of proposals, in every view; looked at once."""
        if proposals not in self._features:
            segments = as_searched(proposals.segments)
            subject = self._keeping.subject(proposals.image, segments) if self._keeping else None
            views = [
                self._kept(subject, view, partial(self._encode_crops, proposals, view, timings, progress))
                for view in members(self.view)
            ]
            whole = None
            if self.scoring.presence:
                whole = self._kept(subject, "whole", partial(self._encode_whole, proposals.image))
            self._features[proposals] = Shown(averaged(views), whole, quality_prior(segments))
        return self._features[proposals]

    def _kept(self, subject: str | None, view: str, encode: Callable[[], Features]) -> Features:
        if self._keeping is None or subject is None:
            return encode()
        return self._keeping.crops(subject, view, encode)

    def _encode_texts(self, texts: Sequence[str]) -> Features:
        if self._keeping is None:
            return self.encoder.encode_text(texts)
        return self._keeping.texts(texts, lambda: self.encoder.encode_text(texts))

    def _encode_whole(self, image: Image) -> Features:
        side = self.encoder.image_size
        return self.encoder.encode_images(resize(image, side, side)[None])

    def _encode_crops(
        self, proposals: Proposals, view: View, timings: dict[str, float], progress: Progress | None
    ) -> Features:
        segments, features = proposals.segments, []
        for start in range(0, len(segments), CROPS_PER_BATCH):
            batch = segments[start : start + CROPS_PER_BATCH]
            with _timed(timings, "crop"):
                crops = crop_views(proposals.image, batch, view, self.encoder.image_size)
            with _timed(timings, "encode"):
                features.append(self.encoder.encode_images(crops))
            if progress:
                progress("rank", start + len(batch), len(segments))
        return np.concatenate(features)


def _late_models(
    sam_with: tuple[Any, ...], clip_with: tuple[Any, ...]
) -> tuple[tuple[Proposer, Encoder], Keeping]:
    """Models that are loaded when they are needed, and what is known of their answers."""
    from slip.cache import Cache
    from slip.models import encoder_identity, late_encoder, late_proposer, proposer_identity
    from slip.pipeline.keep import Keeping

    sam, options, compute, progress, proposer = sam_with
    who = proposer_identity(sam, options, compute, proposer, progress), encoder_identity(*clip_with)
    models = late_proposer(*sam_with, identity=who[0]), late_encoder(*clip_with, identity=who[1])
    return models, Keeping(Cache.open(), *who)


def _is_guided(proposer: Proposer) -> bool:
    """Asked by name: a check of the whole protocol would load a model that waits to be needed."""
    return bool(getattr(proposer, "guided", False))


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the seconds spent inside to those of ``stage``."""
    start = perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + perf_counter() - start

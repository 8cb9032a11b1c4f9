"""How ``slip segment`` searches, as its options say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slip import __version__
from slip.batch.plan import Maker
from slip.cli import arguments as args
from slip.cli import console
from slip.cli.process import without_collector
from slip.errors import UsageError
from slip.options import CAPTION

if TYPE_CHECKING:
    from slip.options import (
        Device,
        Overlap,
        Points,
        Precision,
        Preset,
        PresetName,
        ProposeOptions,
        ProposerName,
        Scoring,
        View,
    )
    from slip.pipeline.slip import Slip
    from slip.types import Image, Prediction, Progress


class Asked(Protocol):
    """A Segmenter that tells of its progress with one picture."""

    def segment(self, image: Image, prompt: str, progress: Progress | None = None) -> Prediction:
        """As of every Segmenter."""
        ...

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        """As of every Segmenter."""
        ...


class Approach(Protocol):
    """One of the ways to find what a prompt names, with its options."""

    @property
    def device(self) -> Device:
        """Where it is to run."""
        ...

    @property
    def guided(self) -> bool:
        """Whether it searches a picture for each prompt alone."""
        ...

    @property
    def remedy(self) -> str:
        """What to try where it finds nothing."""
        ...

    def check(self) -> None:
        """Refuse what can be refused before anything is loaded. Raises UsageError, WeightsError."""
        ...

    def fetch(self, progress: Progress) -> None:
        """Have the published weights here. Raises WeightsError."""
        ...

    def start(self, progress: Progress = ...) -> tuple[Asked, Maker]:
        """What answers, and what reports say of it. Raises UsageError, WeightsError."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that decides the results, without loading anything. Raises UsageError, WeightsError."""
        ...

    def note(self, *prompts: str) -> None:
        """Say what the models know, where that may not be enough for the prompts."""
        ...


@dataclass(frozen=True)
class Search:
    """The options that ``Slip.load`` takes; None for what the preset decides."""

    preset: PresetName
    sam: str | None
    clip: str | None
    clip_weights: str | None
    device: Device
    precision: Precision
    proposer: ProposerName
    points: Points | None
    points_per_side: int | None
    pred_iou_thresh: float | None
    stability_thresh: float | None
    overlap: Overlap
    view: View
    templates: list[str] | None
    negatives: list[str] | None
    min_score: float | None
    always: bool
    cache: bool

    remedy = "try more --points-per-side or lower thresholds"

    @cached_property
    def models(self) -> Preset:
        """Which models. Raises UsageError."""
        from slip.pipeline.choices import choose_models

        return choose_models(self.preset, sam=self.sam, clip=self.clip, clip_weights=self.clip_weights)

    @cached_property
    def options(self) -> ProposeOptions:
        """How SAM is asked. Raises UsageError."""
        return args.how_asked(
            self.models.sam,
            self.proposer,
            self.points_per_side,
            self.pred_iou_thresh,
            self.stability_thresh,
            self.points,
        )

    @cached_property
    def scoring(self) -> Scoring:
        """How CLIP ranks. Raises UsageError, WeightsError for a checkpoint that is missing or damaged."""
        from slip.pipeline.choices import how_scored

        return how_scored(self.models.clip, **self._scored())

    @property
    def guided(self) -> bool:
        """Whether SAM is asked where the prompt is likely to be found. Raises UsageError."""
        return self.options.points == "guided"

    def check(self) -> None:
        """Refuse what can be refused before anything is loaded. Raises UsageError."""
        if self.always and self.min_score is not None:
            raise UsageError("--always is --min-score 0; leave one of them out")
        _ = self.models, self.options

    def fetch(self, progress: Progress) -> None:
        """Have the published weights here, before results that are there are given up for new ones.

        Raises WeightsError.
        """
        from slip.weights import catalogue, ensure

        models = self.models
        for name in (f"sam/{models.sam}", f"clip/{models.clip}/{models.clip_weights}"):
            if name in catalogue():
                ensure(name, progress)

    def load(self, progress: Progress) -> Slip:
        """The models. Raises UsageError, WeightsError."""
        from slip.pipeline.slip import Slip

        progress("load models", 0, 1)
        with without_collector():
            slip = Slip.load(
                self.preset,
                sam=self.sam,
                clip=self.clip,
                clip_weights=self.clip_weights,
                device=self.device,
                precision=self.precision,
                proposer=self.proposer,
                options=self.options,
                overlap=self.overlap,
                view=self.view,
                **self._scored(),
                cache=self.cache,
                progress=progress,
            )
        progress("load models", 1, 1)
        return slip

    def start(self, progress: Progress = lambda stage, done, total: None) -> tuple[Slip, Maker]:
        """The models, and what reports say of them. Raises UsageError, WeightsError."""
        slip = self.load(progress)
        return slip, self.maker(slip)

    def maker(self, slip: Slip) -> Maker:
        """For reports: all that was chosen."""
        options = {"preset": self.preset, **asdict(self.models), **slip.computing, **self._ways()}
        return Maker(__version__, slip.models, options)

    def settings(self) -> dict[str, Any]:
        """All that decides the results, without loading anything. Raises UsageError, WeightsError."""
        from slip.weights import digest_of

        models = asdict(self.models)
        files = {name: Path(named) for name, named in models.items() if named and Path(named).is_file()}
        weights = {name: digest_of(path, cached=self.cache) for name, path in files.items()}
        return {
            "slip": __version__,
            **models,
            "weights": weights,
            "device": self.device,
            "precision": self.precision,
            **self._ways(),
        }

    def note(self, *prompts: str) -> None:
        """Say what built-in models know, and how a fine-tuned CLIP was told of what is prompted otherwise."""
        from slip.models.checks import is_own_clip
        from slip.models.header import read_training

        console.note_tiny(self.models.sam, self.models.clip)
        clip = self.models.clip
        training = read_training(Path(clip)) if clip != "tiny" and is_own_clip(clip) else None
        template = str((training or {}).get("caption", CAPTION))
        start, _, end = template.casefold().partition("{}")
        asked = map(str.casefold, prompts)
        if training and not all(prompt.startswith(start) and prompt.endswith(end) for prompt in asked):
            example = template.replace("{}", next(iter(training.get("classes") or ["..."])))
            console.note(f'{clip} was taught captions like "{example}"; ask in these words')

    def _scored(self) -> dict[str, Any]:
        least = 0.0 if self.always else self.min_score
        return {"templates": self.templates, "negatives": self.negatives or (), "min_score": least}

    def _ways(self) -> dict[str, Any]:
        return {
            "overlap": self.overlap,
            "view": self.view,
            "proposer": self.proposer,
            **asdict(self.options),
            "scoring": asdict(self.scoring),
        }

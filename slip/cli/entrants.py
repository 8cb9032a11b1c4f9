"""The models of ``slip eval``: chosen, checked against the data, described and loaded.

Importing this imports torch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from slip.data.pictures import PictureSet
from slip.data.splits import Split, trained_digest
from slip.device import Compute, resolve, resolve_for_sam
from slip.errors import UsageError, WeightsError
from slip.evaluation.loop import Crop, Entrant, Judge
from slip.evaluation.protocols import RedBlueSwapped
from slip.models import (
    check_encoder,
    check_proposer,
    load_classifier,
    load_encoder,
    load_proposer,
    scoring_of,
)
from slip.models.checks import SUFFIX, clip_name, is_file, is_own_clip, named_clip, sam_name
from slip.models.header import built_in, kind_of, read_training
from slip.options import (
    CAPTION,
    PRESETS,
    Device,
    EvalOptions,
    Overlap,
    Precision,
    Preset,
    PresetName,
    ProposeOptions,
    ProposerName,
    Scoring,
    SplitOptions,
    View,
)
from slip.pipeline.choices import choose_models
from slip.pipeline.crops import crop_views, members
from slip.pipeline.propose import Remembering
from slip.pipeline.slip import Slip
from slip.types import Progress, Proposer
from slip.weights import catalogue

CLIPS, JUDGES = ("clip", "simple_clip"), ("resnet18",)
"""Kinds of checkpoints."""


@dataclass(frozen=True)
class Wanted:
    """What the user asked to be measured, and how segments are found and shown.

    models: a preset each, all with the same SAM.
    """

    models: Sequence[Preset]
    proposer: ProposerName
    propose: ProposeOptions
    overlap: Overlap
    view: View
    judge: Path | None
    judge_view: View
    device: Device
    precision: Precision

    @property
    def compute(self) -> Compute:
        """What CLIPs and judge compute on, and how precisely. Raises UsageError."""
        return resolve(self.device, self.precision)

    @property
    def sam_compute(self) -> Compute:
        """The same for the SAM. Raises UsageError."""
        return resolve_for_sam(self.models[0].sam, self.device, self.precision)

    @property
    def computing(self) -> dict[str, str]:
        """Both for ``run.json``."""
        return {**asdict(self.compute), "sam_precision": self.sam_compute.precision}

    def check(self) -> None:
        """Tell what can be told before anything is loaded. Raises UsageError, WeightsError."""
        check_proposer(self.models[0].sam, self.propose, self.proposer)
        for model in self.models:
            check_encoder(model.clip, model.clip_weights)
            if is_checkpoint(model):
                _check_kind(Path(model.clip), CLIPS, "--clip takes a CLIP")
        if self.judge:
            _check_kind(self.judge, JUDGES, "--judge takes a judge, as slip judge writes it")
        for model, count in Counter(self.models).items():
            if count > 1:
                raise UsageError(f"CLIP {model.clip!r} is named twice; leave one out")
        resolve(self.device, self.precision)

    def names(self) -> list[str]:
        """What results call each model; a checkpoint by its path where another has its file name."""
        names = [clip_name(model.clip, model.clip_weights) for model in self.models]
        return [
            name if names.count(name) == 1 else f"{model.clip} {model.clip_weights or ''}".strip()
            for name, model in zip(names, self.models, strict=True)
        ]

    def trained(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The checkpoints of CLIPs and judge that tell what they were trained on. Raises WeightsError."""
        clips = [Path(model.clip) for model in self.models if is_checkpoint(model)]
        for path in [*clips, *([self.judge] if self.judge else [])]:
            if training := read_training(path):
                yield str(path), training


def find_judge(name: str) -> Path:
    """The checkpoint of a judge; its suffix may be left out. Raises WeightsError where there is none."""
    path = name if is_file(name) else f"{name}{SUFFIX}"
    if not is_file(path):
        raise WeightsError(f"there is no judge at {name}; check the path, or train one with slip judge")
    return Path(path)


def _check_kind(path: Path, kinds: Sequence[str], remedy: str) -> None:
    """Raise WeightsError for a file that is missing, damaged, or holds another network."""
    kind = kind_of(path)
    if kind not in kinds:
        raise WeightsError(f"{path} is {f'a {kind}' if kind else 'no SLIP'} checkpoint; {remedy}")


def choose(preset: PresetName, sam: str | None, clips: Sequence[str]) -> list[Preset]:
    """The models for each ``--clip``; without any, those of the preset.

    A CLIP is ``tiny``, the preset's, one of the catalogue (``ViT-B-32/openai``), or a checkpoint, whose
    suffix may be left out. Raises UsageError.
    """
    return [_choose(preset, sam, clip) for clip in clips] or [choose_models(preset, sam=sam)]


def _choose(preset: PresetName, sam: str | None, clip: str) -> Preset:
    if clip in ("tiny", PRESETS[preset].clip) or is_file(named_clip(clip)):
        return choose_models(preset, sam=sam, clip=clip)
    published = [name.removeprefix("clip/") for name in catalogue() if name.startswith("clip/")]
    if clip in published:
        architecture, _, tag = clip.rpartition("/")
        return choose_models(preset, sam=sam, clip=architecture, clip_weights=tag)
    raise UsageError(
        f"CLIP {clip!r} is neither a checkpoint nor known; give the path of one, tiny, {', '.join(published)}"
    )


def check_split(
    trained: Iterable[tuple[str, Mapping[str, Any]]], data: PictureSet, options: SplitOptions, parts: Split
) -> None:
    """Refuse models that were trained on the pictures they would be measured with.

    trained: checkpoints, each with what it tells of its training; ``before`` in it is the training of
    the model it began with.
    parts: the data set as ``options`` split it, whose held-out side is measured.

    Raises UsageError for a checkpoint that it, or one before it, was trained on this data set with
    another split, or as the set was before it changed.
    """
    digest = trained_digest(parts.train)
    for name, training in ((name, one) for name, last in trained for one in lineage(last)):
        if not _is_about(training, data):
            continue
        held, taught = training.get("split"), f"{name} was trained on {training.get('data')} with"
        if isinstance(held, Mapping) and dict(held) != asdict(options):
            raise UsageError(
                f"{taught} another split; hold out the same pictures with --validation "
                f"{held.get('validation')} --split-seed {held.get('seed')}, or measure knowingly on all "
                "with --split all"
            )
        if training.get("trained", digest) != digest:
            raise UsageError(
                f"{taught} other pictures than this split would leave to train on: the set has changed "
                "since, or is another; measure on the set as it was, or knowingly on all of this one with "
                "--split all"
            )


def lineage(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A training, that of the model it began with, and so on."""
    last: Any = training
    while isinstance(last, Mapping):
        yield last
        last = last.get("before")


def _is_about(training: Mapping[str, Any], data: PictureSet) -> bool:
    """Whether a training may have been on these pictures: a set that has grown keeps name or classes."""
    told = training.get("digest"), training.get("data"), training.get("classes")
    here = data.digest, data.name, list(data.classes)
    return any(one == other for one, other in zip(told, here, strict=True))


def describe(wanted: Wanted, data: PictureSet, pictures: int, options: EvalOptions) -> dict[str, Any]:
    """What decides the results, but for split and device: the first part of ``run.json``."""
    return {
        **asdict(options),
        "data": data.name,
        "digest": data.digest,
        "pictures": pictures,
        "classes": len(data.classes),
        **describe_search(wanted),
        "models": [
            {"name": name, **_about(model, options)}
            for name, model in zip(wanted.names(), wanted.models, strict=True)
        ],
    }


def describe_search(wanted: Wanted) -> dict[str, Any]:
    """The SAM, and how segments are found and shown, for ``run.json``."""
    sam = wanted.models[0].sam
    weights = digest_of(f"sam/{sam}", built_in("sam") if sam == "tiny" else Path(sam))
    return {
        "sam": {"name": sam_name(sam), "built_in": sam == "tiny", "weights": weights},
        "proposer": wanted.proposer,
        "proposals": asdict(wanted.propose),
        "overlap": wanted.overlap,
        "view": wanted.view,
    }


def _about(model: Preset, options: EvalOptions) -> dict[str, Any]:
    """One model for ``run.json``: what its weights are, and what it is told of a prompt."""
    training = read_training(Path(model.clip)) if is_checkpoint(model) else None
    template = str((training or {}).get("caption", CAPTION))
    return {
        "built_in": model.clip == "tiny",
        "finetuned": training is not None,
        "template": template if options.asked == "label" else CAPTION,
        "scoring": asdict(scoring_in(model, options)),
        "weights": clip_digest(model),
    }


def clip_digest(model: Preset) -> str:
    """The SHA-256 of a CLIP's weights."""
    path = built_in("clip") if model.clip == "tiny" else Path(model.clip_weights or model.clip)
    return digest_of(f"clip/{model.clip}/{model.clip_weights}", path)


def is_checkpoint(model: Preset) -> bool:
    """Whether the CLIP is one of SLIP's own checkpoints, which tells what it was trained on."""
    return model.clip != "tiny" and is_own_clip(model.clip)


def digest_of(entry: str, path: Path) -> str:
    """The SHA-256 of weights: as the catalogue has it, else of the file."""
    known = catalogue().get(entry)
    if known:
        return known.sha256
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load(
    wanted: Wanted,
    abouts: Sequence[Mapping[str, Any]],
    options: EvalOptions,
    show: Progress,
) -> list[Entrant]:
    """All CLIPs behind one SAM. Raises WeightsError.

    Under the ``paper`` protocol a fine-tuned one takes part twice: also with red and blue swapped.
    """
    proposer, compute = load_search(wanted, show), wanted.compute
    entrants = []
    for model, about in zip(wanted.models, abouts, strict=True):
        encoder = load_encoder(model.clip, model.clip_weights, compute, show)
        told = {"template": about["template"], "finetuned": about["finetuned"]}
        how: dict[str, Any] = {
            "overlap": wanted.overlap,
            "view": wanted.view,
            "scoring": scoring_in(model, options),
        }
        slip = Slip(proposer, encoder, **how)
        entrants.append(Entrant(about["name"], slip, **told))
        if options.protocol == "paper" and about["finetuned"]:
            swapped = Slip(proposer, RedBlueSwapped(encoder), **how)
            entrants.append(Entrant(about["name"], swapped, **told, swapped=True))
    return entrants


def load_search(wanted: Wanted, show: Progress) -> Proposer:
    """The SAM, which searches a picture once for all CLIPs. Raises WeightsError.

    Guided by a prompt, it searches for every prompt and CLIP instead.
    """
    sam = wanted.models[0].sam
    proposer = load_proposer(sam, wanted.propose, wanted.sam_compute, show, wanted.proposer)
    return proposer if wanted.propose.points == "guided" else Remembering(proposer)


def scoring_in(model: Preset, options: EvalOptions) -> Scoring:
    """How a CLIP ranks: as in ``slip segment``, under the ``paper`` protocol by bare similarity.

    There is always an answer: what is asked for is always there.
    """
    return Scoring() if options.protocol == "paper" else replace(scoring_of(model.clip), min_score=0.0)


def load_judge(wanted: Wanted) -> tuple[Judge | None, dict[str, Any] | None]:
    """The judge and its part of ``run.json``; neither where none is named. Raises WeightsError."""
    if wanted.judge is None:
        return None, None
    classifier = load_classifier(wanted.judge, wanted.compute)
    told = {
        "name": classifier.name,
        "weights": digest_of("", wanted.judge),
        "view": wanted.judge_view,
        "classes": list(classifier.classes),
    }
    return Judge(classifier, crop_in(wanted.judge_view)), told


def crop_in(view: View) -> Crop:
    """Shows segments in a view; of an ensemble in its first."""
    return lambda image, segments, size: crop_views(image, segments, members(view)[0], size)

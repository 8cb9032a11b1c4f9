"""The methods of ``slip eval --method``: chosen, checked against the data, described and loaded.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from slip.cli.entrants import (
    Wanted,
    choose,
    clip_digest,
    describe_search,
    digest_of,
    is_checkpoint,
    lineage,
    load_search,
    scoring_in,
)
from slip.data.drawn import CRITTERS_NAME
from slip.data.parts import SIDES, PartSet
from slip.data.parts.critters import CRITTERS_PARTS
from slip.device import resolve
from slip.errors import UsageError
from slip.evaluation.referring.loop import Contender
from slip.models import load_encoder, load_segmenter
from slip.models.checks import SUFFIX, clip_name, named_result
from slip.models.header import read_training
from slip.options import EVAL, PartNetwork, Preset, PresetName
from slip.pipeline.slip import Slip
from slip.types import Progress, Segmenter

NETWORKS: dict[str, PartNetwork] = {
    **{name: name for name in get_args(PartNetwork)},
    "maskrcnn-best": "maskrcnn",
}
OF_SLIP = ("slip", "slip-best")
BEST = "-best"
DETECTIONS = 100
"""Of the detections of Mask R-CNN so many, the most certain, are looked at for its upper bound."""


@dataclass(frozen=True)
class Chosen:
    """One ``--method``. model: of SLIP, SAM and CLIP. path: of a network, its checkpoint."""

    kind: str
    model: Preset | None = None
    path: Path | None = None

    @property
    def oracle(self) -> bool:
        """Whether it is an upper bound."""
        return self.kind.endswith(BEST)

    @property
    def checkpoint(self) -> Path | None:
        """The file that tells what it was trained on; None for published weights."""
        if self.model:
            return Path(self.model.clip) if is_checkpoint(self.model) else None
        return self.path if self.path and self.path.suffix == SUFFIX else None

    @property
    def training(self) -> dict[str, Any] | None:
        """What its checkpoint tells of its training. Raises WeightsError for a damaged one."""
        return read_training(self.checkpoint) if self.checkpoint else None

    @property
    def digest(self) -> str:
        """The SHA-256 of its weights, of SLIP those of CLIP."""
        return clip_digest(self.model) if self.model else digest_of("", self._file)

    def name(self, *, whole: bool = False) -> str:
        """What results call it, as "cris birds". whole: with the path of its weights."""
        if self.model:
            short = clip_name(self.model.clip, self.model.clip_weights).removeprefix("clip/")
            weights = self.model.clip if whole and self.checkpoint else short
        else:
            weights = str(self._file) if whole else self._file.name
        return f"{self.kind} {weights.removesuffix(SUFFIX)}"

    def load(self, wanted: Wanted, show: Progress) -> Segmenter:
        """A network as a segmenter. Raises WeightsError."""
        detections = {"detections": True} if self.oracle else {}
        return load_segmenter(NETWORKS[self.kind], str(self._file), wanted.compute, show, **detections)

    @property
    def _file(self) -> Path:
        if self.path is None:
            raise ValueError(f"{self.kind} has no file of weights")
        return self.path


def choose_methods(methods: Sequence[str], preset: PresetName, sam: str | None) -> list[Chosen]:
    """The methods by what the user calls them, as ``cris=NAME`` or ``slip``.

    Raises UsageError for those that are not known, lack their weights or are named twice, WeightsError
    for weights that are not there, or of another network.
    """
    chosen = [_choose(method, preset, sam) for method in methods]
    for one in chosen:
        if chosen.count(one) > 1:
            raise UsageError(f"--method {one.name()} is named twice; leave one out")
    return chosen


def _choose(method: str, preset: PresetName, sam: str | None) -> Chosen:
    kind, _, weights = method.partition("=")
    if kind in OF_SLIP:
        [model] = choose(preset, sam, [weights] if weights else [])
        return Chosen(kind, model=model)
    if kind not in NETWORKS:
        raise UsageError(f"--method {kind!r} is not known; choose {', '.join((*NETWORKS, *OF_SLIP))}")
    network = NETWORKS[kind]
    if not weights:
        raise UsageError(
            f"--method {kind} needs weights; give {kind}=NAME, as slip finetune DATASET --method {network} "
            "-o NAME writes them"
        )
    return Chosen(kind, path=named_result(weights, network))


@dataclass(frozen=True)
class Contest:
    """All methods, and how those of SLIP search. wanted: its models are the CLIPs, each once."""

    chosen: Sequence[Chosen]
    wanted: Wanted

    def check(self) -> None:
        """Tell what can be told before anything is loaded. Raises UsageError, WeightsError."""
        resolve(self.wanted.device, self.wanted.precision)
        if self.wanted.models:
            self.wanted.check()

    def names(self) -> list[str]:
        """What results call each method; with the path of its weights where another has its name."""
        names = [one.name() for one in self.chosen]
        return [
            name if names.count(name) == 1 else one.name(whole=True)
            for name, one in zip(names, self.chosen, strict=True)
        ]

    def check_trained(self, data: PartSet) -> None:
        """Raise UsageError for a method that was trained on this set as it was before it changed."""
        for name, one in zip(self.names(), self.chosen, strict=True):
            for training in lineage(one.training or {}):
                known = training.get("digest") in (None, data.digest)
                if training.get("data") == data.name and not known:
                    raise UsageError(
                        f"{name} was trained on another state of {data.name}: the set has changed since, or "
                        "is another; measure on the set as it was, or knowingly on all of this one with "
                        "--split all"
                    )

    def describe(self, data: PartSet) -> dict[str, Any]:
        """What decides the results, but for the pictures: a part of ``run.json``."""
        searched = bool(self.wanted.models)
        return {
            **(describe_search(self.wanted) if searched else {"sam": None}),
            "methods": [
                self._about(name, one, data) for name, one in zip(self.names(), self.chosen, strict=True)
            ],
            **(self.wanted.computing if searched else asdict(self.wanted.compute)),
        }

    def _about(self, name: str, one: Chosen, data: PartSet) -> dict[str, Any]:
        """One method for ``run.json``. taught: the sides of this set that it was trained on."""
        training = one.training
        return {
            "name": name,
            "kind": one.kind,
            "oracle": one.oracle,
            "built_in": one.model is not None and one.model.clip == "tiny",
            "trained": None if training is None else training.get("data"),
            "taught": sorted(_taught(training or {}, data)),
            "scoring": asdict(scoring_in(one.model, EVAL)) if one.model else None,
            "weights": one.digest,
        }

    def load(self, show: Progress) -> list[Contender]:
        """All methods; those of SLIP share one SAM, and one CLIP where they name the same.

        Raises WeightsError.
        """
        slips = dict(self._slips(show))
        return [
            Contender(
                name,
                slips[one.model] if one.model else one.load(self.wanted, show),
                one.oracle,
                **({} if one.model else {"among": DETECTIONS}),
            )
            for name, one in zip(self.names(), self.chosen, strict=True)
        ]

    def _slips(self, show: Progress) -> Iterator[tuple[Preset, Slip]]:
        """A segmenter for every CLIP."""
        wanted = self.wanted
        if not wanted.models:
            return
        proposer = load_search(wanted, show)
        for model in wanted.models:
            encoder = load_encoder(model.clip, model.clip_weights, wanted.compute, show)
            how: dict[str, Any] = {"overlap": wanted.overlap, "view": wanted.view}
            yield model, Slip(proposer, encoder, scoring=scoring_in(model, EVAL), **how)


def _taught(training: Mapping[str, Any], data: PartSet) -> set[str]:
    """The sides of a set that a training, or one before it, was on.

    A set is known by its name and its digest. ``critters`` are portraits of every species.
    """
    sides: set[str] = set()
    for one in lineage(training):
        if data.digest == one.get("digest") or data.name == one.get("data"):
            sides.add("train")
        if data.name == CRITTERS_PARTS and one.get("data") == CRITTERS_NAME:
            sides.update(SIDES)
    return sides

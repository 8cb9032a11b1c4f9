"""The paper's recipe (arXiv 2405.07284, section 3): its dual encoder, its loss, its optimiser and schedule.

Pictures are squashed and not varied, features are not normalised, and the loss keeps the flaws that
``paper_loss`` tells of. The trunks start from published weights; where these cannot be had, from
random ones, and a warning says so. Unlike the paper's code, an epoch leaves out the pictures that
do not fill a batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import Subset

from slip.data.pictures import PictureSet
from slip.data.splits import Split, split
from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.models.checkpoint import save_checkpoint
from slip.models.simple_clip import (
    Published,
    Shape,
    SimpleClip,
    SimpleClipConfig,
    Tokenizer,
    build_simple_clip,
    check_library,
    fetch_published,
    logit_scale,
    take_published,
    vocabulary_of,
)
from slip.options import CAPTION, SPLIT, PaperOptions, SplitOptions
from slip.training.calibrate import calibrate, draw_pairs
from slip.training.distributed import Ranks, joined
from slip.training.finetune import captions_of
from slip.training.loop import Plan, Watch, fit, held_out_batches
from slip.training.losses import paper_loss
from slip.training.run import Record, Run, about
from slip.training.views import Shown, squash
from slip.types import Progress, Proposer

FULL = Shape()
"""ResNet-50 and DistilBERT, which there are published weights for."""
FACTOR, PATIENCE = 0.9, 5
"""Rates fall by the factor after so many epochs without a lower validation loss."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """What the trunks know before the training. published: None where they start from random weights."""

    shape: Shape
    vocabulary: tuple[str, ...]
    published: Published | None

    @property
    def weights(self) -> str:
        """``published`` or ``random``."""
        return "published" if self.published else "random"

    def build(self, embed_dim: int, seed: int) -> tuple[SimpleClipConfig, SimpleClip]:
        """The network, with heads and whatever is not published drawn from ``seed``. Raises WeightsError."""
        config = SimpleClipConfig(embed_dim, self.vocabulary, self.shape)
        torch.manual_seed(seed)
        network = build_simple_clip(config)
        if self.published:
            take_published(network, self.published)
        return config, network


def begin(captions: Iterable[str], shape: Shape = FULL, progress: Progress | None = None) -> Beginning:
    """Published weights where they can be had and fit; else none, and a vocabulary made of the captions.

    Warns (SlipWarning) where they cannot be had. Raises UsageError without ``transformers``.
    """
    check_library()
    if shape == FULL:
        try:
            published = fetch_published(progress)
            return Beginning(shape, published.vocabulary, published)
        except WeightsError as error:
            warnings.warn(
                f"ResNet-50 and DistilBERT start from random weights, not from published ones: "
                f"{str(error).partition(';')[0]}; words are those of the captions",
                SlipWarning,
                stacklevel=2,
            )
    return Beginning(shape, vocabulary_of(captions), None)


class PaperTask:
    """The dual encoder on pictures and their captions."""

    def __init__(
        self,
        network: SimpleClip,
        config: SimpleClipConfig,
        data: PictureSet,
        parts: Split,
        options: PaperOptions,
        compute: Compute,
        workers: int,
    ) -> None:
        self.network = network
        self.compute = compute
        captions = captions_of(data.pictures)
        number = {caption: index for index, caption in enumerate(captions)}
        self.tokens = Tokenizer(config.vocabulary, config.shape.context)(captions)
        self.captions = torch.tensor([number[picture.caption] for picture in parts.train])
        self.true = torch.tensor([number[picture.caption] for picture in parts.validation])
        self.size = len(parts.train)
        side = config.shape.image_size
        self.data = Shown(data, parts.train, side, squash)
        # In the order of their names, a batch would hold little but repeats of a few captions.
        random = torch.Generator().manual_seed(options.seed)
        order = torch.randperm(len(parts.validation), generator=random).tolist()
        shown = Subset(Shown(data, parts.validation, side, squash), order)
        self.held_out = held_out_batches(shown, workers, options.batch)
        self.optimiser = torch.optim.AdamW(_groups(network, options), weight_decay=0.0)
        self.scheduler = ReduceLROnPlateau(self.optimiser, factor=FACTOR, patience=PATIENCE)

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor], ranks: Ranks) -> Tensor:
        """The paper's loss of the joint batch."""
        pixels, indices = batch
        captions = self.captions.to(indices.device)[indices]
        images, texts = network(pixels, self.tokens.to(indices.device)[captions])
        images, texts = ranks.gather(images), ranks.gather(texts)
        with torch.autocast(images.device.type, enabled=False):
            return paper_loss(images, texts)

    def validate(self) -> dict[str, float]:
        """The paper's loss, a mean over the held-out pictures, and zero-shot accuracy by cosine."""
        texts, batches = self._features()
        losses = [len(true) * float(paper_loss(images, texts[true])) for images, true in batches]
        unit = normalize(texts, dim=-1)
        right = [
            int(((normalize(images, dim=-1) @ unit.T).argmax(1) == true).sum()) for images, true in batches
        ]
        count = len(self.true)
        return {"loss": sum(losses) / count, "accuracy": sum(right) / count}

    def presence(self) -> dict[str, Any]:
        """Where a caption is there and where not, told by the held-out pictures."""
        with torch.inference_mode():
            texts, batches = self._features()
            images = normalize(torch.cat([images for images, _ in batches]), dim=-1)
            logits = images @ normalize(texts, dim=-1).T * logit_scale(texts.shape[1])
            true = torch.cat([true for _, true in batches])
        return calibrate(*draw_pairs(logits.cpu().numpy(), true.cpu().numpy()))

    def _features(self) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Of all captions, and of the held-out pictures batch by batch, each with its caption's number."""
        device = self.network.mean.device
        with self.compute.autocast():
            texts = self.network.texts(self.tokens.to(device))
            batches = [
                (self.network.images(pixels.to(device)), self.true[indices].to(device))
                for pixels, indices in self.held_out
            ]
        return texts, batches

    def score(self, record: Record) -> tuple[float, ...]:
        """The best epoch has the lowest validation loss."""
        loss = float(record["validation_loss"])
        return (-math.inf if math.isnan(loss) else -loss,)


def train_paper(
    data: PictureSet,
    out: Path,
    options: PaperOptions,
    compute: Compute,
    *,
    caption: str = CAPTION,
    held_out: SplitOptions = SPLIT,
    proposer: Proposer | None = None,
    shape: Shape = FULL,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    watch: Watch | None = None,
) -> Record:
    """Train the paper's dual encoder on the captions of a data set and write it to ``out``.

    caption: the template that ``data`` was opened with, kept in the checkpoint.
    proposer: None; the recipe knows whole pictures only.
    shape: of a smaller network, which starts from random weights.
    resume: go on where the run of this name stands.

    Returns the record of the best epoch, with ``accuracy``, ``trials`` and the ``weights`` that the
    trunks started from. Raises UsageError where the run cannot begin, Diverged where the loss is
    lost, WeightsError, OutputError, Interrupted.
    """
    check_options(options)
    if proposer is not None:
        raise UsageError("the paper's recipe trains on whole pictures; leave out the segments")
    watch = watch or Watch()
    start = begin((picture.caption for picture in data.pictures), shape, watch.stage)
    with joined(compute) as ranks:
        course = Course(data, split(data.pictures, held_out), start, compute, caption, held_out, workers)
        return course.give(out, options, ranks, watch, resume=resume, overwrite=overwrite)


@dataclass(frozen=True, eq=False)
class Course:
    """What the trainings of one search have in common."""

    data: PictureSet
    parts: Split
    start: Beginning
    compute: Compute
    caption: str
    held_out: SplitOptions
    workers: int

    def note(self, options: PaperOptions) -> Record:
        """What decides the result."""
        told = {**asdict(options), "shape": asdict(self.start.shape)}
        note = about(self.data, self.parts, self.caption, self.held_out, told, None)
        return {**note, "recipe": "paper", "weights": self.start.weights}

    def give(
        self, out: Path, options: PaperOptions, ranks: Ranks, watch: Watch, *, resume: bool, overwrite: bool
    ) -> Record:
        """Train once; see ``train_paper``."""
        run, note = Run(out), self.note(options)
        ranks.told(lambda: run.begin(note, self.parts, resume=resume, overwrite=overwrite))
        config, network = self.start.build(options.embed_dim, options.seed)
        task = PaperTask(network, config, self.data, self.parts, options, self.compute, self.workers)
        plan = Plan(options.epochs, options.batch, options.seed, workers=self.workers)
        best = fit(task, plan, run, self.compute, ranks, watch)
        result = {
            **best,
            "accuracy": best["validation_accuracy"],
            "trials": len(self.parts.validation),
            "weights": self.start.weights,
        }
        network.eval()
        told = {**note, **task.presence(), "metrics": result}
        if ranks.leads:
            save_checkpoint(out, "simple_clip", config.to_json(), network.state_dict(), told)
        return result


def check_options(options: PaperOptions) -> None:
    """Raise UsageError for values out of range."""
    for name, least in (("epochs", 1), ("batch", 2), ("embed_dim", 1)):
        if getattr(options, name) < least:
            raise UsageError(f"{name} cannot be {getattr(options, name)}; choose {least} or more")
    for name in ("rate", "image_rate", "text_rate"):
        if not 0 < getattr(options, name) < math.inf:
            raise UsageError(f"{name} cannot be {getattr(options, name)}; choose a number above 0")


def _groups(network: SimpleClip, options: PaperOptions) -> list[dict[str, Any]]:
    heads = [*network.image_head.parameters(), *network.text_head.parameters()]
    return [
        {"params": list(network.image.parameters()), "lr": options.image_rate},
        {"params": list(network.text.parameters()), "lr": options.text_rate},
        {"params": heads, "lr": options.rate, "weight_decay": options.weight_decay},
    ]

"""Fine-tuning CLIP on labelled pictures: open_clip's model, the pipeline's views, a choice of losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from slip.data.parts import PartCrops
from slip.data.pictures import Picture, PictureSet
from slip.data.splits import Split, split
from slip.device import Compute
from slip.errors import UsageError
from slip.models import load_proposer
from slip.models.checkpoint import save_checkpoint, state_digest
from slip.models.checks import clip_name, is_own_clip, named_clip
from slip.models.clip import ClipEncoder, image_side, read_clip
from slip.models.header import read_training
from slip.options import CAPTION, SPLIT, FinetuneOptions, SplitOptions, propose_options
from slip.training.calibrate import SHOWN, calibrate, draw_pairs, search_pairs
from slip.training.distributed import Ranks, device_of, joined
from slip.training.loop import CHUNK, Plan, Watch, fit, held_out_batches, steps_per_epoch
from slip.training.losses import clip_loss, paper_loss, supervised_loss
from slip.training.run import Record, Run, about
from slip.training.segments import segments_for
from slip.training.views import Labelled, Shown, squash
from slip.types import Proposer, Segment

LARGEST_SCALE = math.log(100)
"""The learnable scale is held below 100, as by CLIP (arXiv 2103.00020, section 2.5)."""


@dataclass(frozen=True)
class Start:
    """The CLIP to begin with, as ``load_encoder`` takes it."""

    clip: str
    weights: str | None = None


class DualEncoder(nn.Module):
    """A CLIP whose forward gives raw features of pictures and of texts."""

    mean: Tensor
    std: Tensor

    def __init__(self, clip: open_clip.CLIP, lock: str) -> None:
        super().__init__()
        self.clip = clip
        self.lock = lock
        self.register_buffer("mean", torch.tensor(clip.visual.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(clip.visual.image_std).view(3, 1, 1), persistent=False)
        for name, parameter in clip.named_parameters():
            tower = "image" if name.startswith("visual.") else "scale" if name == "logit_scale" else "text"
            parameter.requires_grad_(tower != lock)

    def train(self, mode: bool = True) -> DualEncoder:
        """A locked image tower keeps the statistics it has."""
        super().train(mode)
        if self.lock == "image":
            self.clip.visual.eval()
        return self

    def forward(self, pixels: Tensor, tokens: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of ``uint8 (B, 3, S, S)`` and of the texts ``tokens[which]``, and the scale."""
        texts = self.clip.encode_text(tokens)[which]
        return self.images(pixels), texts.float(), self.clip.logit_scale.exp()

    def images(self, pixels: Tensor) -> Tensor:
        """``uint8 (B, 3, S, S)`` to ``float32 (B, D)``."""
        scaled = ((pixels.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.clip.encode_image(scaled).float()
        return features


class ClipTask:
    """A CLIP on pictures and their captions."""

    def __init__(
        self,
        clip: open_clip.CLIP,
        data: PictureSet,
        parts: Split,
        options: FinetuneOptions,
        compute: Compute,
        segments: Mapping[str, Sequence[Segment]],
        workers: int,
    ) -> None:
        self.options = options
        self.compute = compute
        self.network = DualEncoder(clip, options.lock).to(device_of(compute))
        clip.logit_scale.requires_grad_(options.loss != "paper")  # which knows no scale
        clip.visual.to(memory_format=torch.channels_last)
        size = image_side(clip.visual.image_size)
        captions = captions_of(data.pictures)
        number = {caption: index for index, caption in enumerate(captions)}
        self.tokens = open_clip.tokenize(captions, clip.context_length)
        self.captions = torch.tensor([number[picture.caption] for picture in parts.train])
        self.true = torch.tensor([number[picture.caption] for picture in parts.validation])
        self.size = len(parts.train)
        self.data: Any = (
            Labelled(data, parts.train, size, options.seed, segments, options.segment_share)
            if options.augment
            else Shown(data, parts.train, size, squash)
        )
        self.held_out = held_out_batches(Shown(data, parts.validation, size, squash), workers)
        self.optimiser = torch.optim.AdamW(
            _groups(self.network.named_parameters(), options.weight_decay), lr=options.rate, betas=(0.9, 0.98)
        )
        self.scheduler = _scheduler(self.optimiser, options, steps_per_epoch(self.size, options.batch))

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor], ranks: Ranks) -> Tensor:
        """The chosen loss of the joint batch."""
        with torch.no_grad():
            self.network.clip.logit_scale.clamp_(max=LARGEST_SCALE)
        pixels, indices = batch
        captions = self.captions.to(indices.device)[indices]
        unique: Callable[..., tuple[Tensor, Tensor]] = torch.unique
        distinct, which = unique(captions, return_inverse=True)
        images, texts, scale = network(pixels, self.tokens.to(indices.device)[distinct], which)
        images, texts = ranks.gather(images), ranks.gather(texts)
        with torch.autocast(images.device.type, enabled=False):
            if self.options.loss == "paper":
                return paper_loss(images, texts)
            if self.options.loss == "clip":
                return clip_loss(images, texts, scale)
            return supervised_loss(images, texts, ranks.gather(captions), scale)

    def validate(self) -> dict[str, float]:
        """Zero-shot on the held-out pictures: cross-entropy over all captions, and accuracy."""
        logits = self.logits()
        right = (logits.argmax(1) == self.true).float().mean()
        return {"loss": float(cross_entropy(logits, self.true)), "accuracy": float(right)}

    def logits(self) -> Tensor:
        """Scaled cosine similarities of the held-out pictures with all captions, ``(N, M)``."""
        clip, device = self.network.clip, self.network.mean.device
        with self.compute.autocast():
            chunks = self.tokens.to(device).split(CHUNK)
            texts = normalize(torch.cat([clip.encode_text(chunk).float() for chunk in chunks]), dim=-1)
            images = [self.network.images(pixels.to(device)) for pixels, _ in self.held_out]
        logits: Tensor = normalize(torch.cat(images), dim=-1) @ texts.T * clip.logit_scale.exp()
        return logits.cpu()

    def score(self, record: Record) -> tuple[float, ...]:
        """The best epoch has the highest zero-shot accuracy, of equals the lowest loss."""
        return float(record["validation_accuracy"]), -float(record["validation_loss"])


def finetune(
    data: PictureSet,
    start: Start,
    out: Path,
    options: FinetuneOptions,
    compute: Compute,
    *,
    caption: str = CAPTION,
    held_out: SplitOptions = SPLIT,
    proposer: Proposer | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    watch: Watch | None = None,
) -> Record:
    """Teach a CLIP the captions of a data set and write it to ``out``.

    caption: the template that ``data`` was opened with, kept in the checkpoint.
    proposer: finds segments of the training pictures, to be seen beside the whole pictures.
    resume: go on where the run of this name stands.

    Returns the record of the best epoch, with the figures of the weights, before they are rounded to
    half precision (``accuracy``, ``trials``), and of those it began with (``base_accuracy``).
    Raises UsageError where the run cannot begin or the loss is lost, WeightsError, OutputError,
    Interrupted.
    """
    check_options(options)
    run, watch, parts = Run(out), watch or Watch(), split(data.pictures, held_out)
    config, clip = read_clip(start.clip, start.weights, watch.stage)
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    with joined(compute) as ranks:
        note = about(data, parts, caption, held_out, asdict(options), proposer)
        note |= {"start": clip_name(start.clip, start.weights), "weights": state_digest(before)}
        if own := training_of(start.clip):
            note["before"] = own
        ranks.told(lambda: run.begin(note, parts, resume=resume, overwrite=overwrite))
        segments = segments_for(data, parts, proposer, run, ranks, watch)
        task = ClipTask(clip, data, parts, options, compute, segments, workers)
        base = _figures(task)
        plan = Plan(options.epochs, options.batch, options.seed, options.clip_norm, workers)
        best = fit(task, plan, run, compute, ranks, watch)
        clip.load_state_dict(mixed(before, clip.state_dict(), options.mix))
        last = _figures(task)
        result = {**best, **last, "base_accuracy": base["accuracy"], "trials": len(parts.validation)}
        if ranks.leads:
            told = {**note, **_presence(task, data, parts, proposer, start), "metrics": result}
            save_checkpoint(out, "clip", config, clip.state_dict(), told)
    return result


def check_options(options: FinetuneOptions) -> None:
    """Raise UsageError for values out of range."""
    for name in ("epochs", "batch"):
        if getattr(options, name) < 1:
            raise UsageError(f"{name} cannot be {getattr(options, name)}; choose 1 or more")
    for name in ("mix", "segment_share"):
        if not 0 <= getattr(options, name) <= 1:
            raise UsageError(f"{name} cannot be {getattr(options, name)}; choose 0 to 1")
    for name in ("rate", "clip_norm"):
        if not getattr(options, name) > 0:
            raise UsageError(f"{name} cannot be {getattr(options, name)}; choose a number above 0")
    if not 0 <= options.warmup <= options.epochs:
        raise UsageError(f"warmup cannot be {options.warmup}; choose 0 to {options.epochs} epochs")


def training_of(clip: str) -> dict[str, Any] | None:
    """What the CLIP to begin with was itself trained on; None if it is no checkpoint that tells."""
    clip = named_clip(clip)
    return read_training(Path(clip)) if clip != "tiny" and is_own_clip(clip) else None


def captions_of(pictures: Iterable[Picture]) -> list[str]:
    """The different captions, sorted."""
    return sorted({picture.caption for picture in pictures})


def mixed(before: Mapping[str, Tensor], after: Mapping[str, Tensor], mix: float) -> dict[str, Tensor]:
    """The weighted average of two sets of weights (arXiv 2109.01903): 0 all before, 1 all after."""
    return {
        name: torch.lerp(before[name].to(tensor), tensor, mix) if tensor.is_floating_point() else tensor
        for name, tensor in after.items()
    }


def _figures(task: ClipTask) -> dict[str, float]:
    task.network.eval()
    with torch.inference_mode():
        return task.validate()


def _presence(
    task: ClipTask, data: PictureSet, parts: Split, proposer: Proposer | None, start: Start
) -> dict[str, Any]:
    """Where a caption is there and where not, told by the held-out pictures.

    By their segments where a proposer is given; for the built-in CLIP its own SAM is at hand. Parts are
    taken whole: beside a part stand others of the same picture, which no composite shows.
    """
    task.network.eval()
    if isinstance(data, PartCrops):
        proposer = None
    elif proposer is None and start.clip == "tiny":
        proposer = load_proposer("tiny", propose_options("tiny"), Compute(task.compute.device, "fp32"))
    enough = len({picture.label for picture in parts.validation}) >= SHOWN < len(captions_of(data.pictures))
    if proposer and enough:
        encoder = ClipEncoder(task.network.clip, Compute(task.compute.device, "fp32"), "taught")
        return calibrate(*search_pairs(data, parts.validation, proposer, encoder))
    with torch.inference_mode():
        return calibrate(*draw_pairs(task.logits().numpy(), task.true.numpy()))


def _groups(parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    moving = [parameter for _, parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for p in moving if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in moving if p.ndim < 2], "weight_decay": 0.0},
    ]


def _scheduler(
    optimiser: torch.optim.Optimizer, options: FinetuneOptions, steps: int
) -> LRScheduler | ReduceLROnPlateau:
    if options.schedule == "plateau":
        return ReduceLROnPlateau(optimiser, factor=0.9, patience=5)
    return OneCycleLR(
        optimiser,
        options.rate,
        total_steps=options.epochs * steps + 1,
        pct_start=min(options.warmup / options.epochs, 0.5),
        cycle_momentum=False,
    )

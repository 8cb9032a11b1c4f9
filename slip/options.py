"""Every default, once. The command line and the Python API read them here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Overlap = Literal["nms", "paper", "none"]
View = Literal["black", "letterbox-black", "blur", "blur-dim", "context", "raw", "ensemble"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
PresetName = Literal["tiny", "base", "large"]
ProposerName = Literal["fast", "reference"]
Points = Literal["adaptive", "exhaustive", "guided"]
PointsWithoutText = Literal["adaptive", "exhaustive"]
Style = Literal["picture", "artwork"]
Layout = Literal["scenes", "folders"]
Loss = Literal["supervised", "clip", "paper"]
Recipe = Literal["clip", "paper"]
JudgeRecipe = Literal["paper", "own"]
Schedule = Literal["cosine", "plateau"]
Lock = Literal["none", "image", "text"]
Protocol = Literal["corrected", "paper"]
Asked = Literal["label", "caption"]
Method = Literal["slip", "cris", "clipseg", "maskrcnn"]
PartNetwork = Literal["cris", "clipseg", "maskrcnn"]
Decay = Literal["step", "cosine"]

OVERLAP: Overlap = "nms"
VIEW: View = "ensemble"
PAPER_VIEW: View = "black"
"""How the paper shows its segments, to CLIP and to the judge."""
PROPOSER: ProposerName = "fast"
PRESET: PresetName = "base"

MAX_MEGAPIXELS = 100.0
"""Larger pictures are refused unless the limit is raised."""

TOP_K = 5
"""How many of the best segments a report lists."""

NMS_IOU = 0.8
"""``nms``: of two segments with a mask IoU above this, the one of lower quality goes."""

PAPER_CONTAINMENT = 0.8
"""``paper``: a segment goes when more than this share of it lies inside a larger one."""


@dataclass(frozen=True)
class ProposeOptions:
    """How densely SAM is asked, and which of its masks are believed.

    points_per_side: the picture is asked at a grid of points_per_side ** 2 points.
    pred_iou_thresh: masks below this predicted IoU are dropped, 0 to 1.
    stability_thresh: masks below this stability score are dropped, 0 to 1.
    points: ``exhaustive`` asks all of them; ``adaptive`` leaves out those deep inside the smallest
    mask that another one gave, if SAM is sure of it; ``guided`` asks where a prompt is likely to be
    found, a third of them at most.
    points_per_batch: points decoded together; None for what suits the machine.
    """

    points_per_side: int = 16
    pred_iou_thresh: float = 0.88
    stability_thresh: float = 0.95
    points: Points = "adaptive"
    points_per_batch: int | None = None

    def but(
        self,
        points_per_side: int | None = None,
        pred_iou_thresh: float | None = None,
        stability_thresh: float | None = None,
        points: Points | None = None,
    ) -> ProposeOptions:
        """The same options with the values that are given; None leaves one as it is."""
        return replace(
            self,
            points_per_side=self.points_per_side if points_per_side is None else points_per_side,
            pred_iou_thresh=self.pred_iou_thresh if pred_iou_thresh is None else pred_iou_thresh,
            stability_thresh=self.stability_thresh if stability_thresh is None else stability_thresh,
            points=self.points if points is None else points,
        )


PROPOSE = ProposeOptions()
"""For the published SAMs: the thresholds of ``segment_anything``, the paper's points."""

OWN_PROPOSE = {"tiny": ProposeOptions(pred_iou_thresh=0.5, stability_thresh=0.3)}
"""For SAMs with thresholds of their own: a small one is less sure of good masks."""


def propose_options(sam: str, proposer: ProposerName = PROPOSER) -> ProposeOptions:
    """How a SAM, by the name or path it is loaded by, is asked where nothing else is said.

    The reference proposer knows no other way than to ask every point.
    """
    options = OWN_PROPOSE.get(sam, PROPOSE)
    return replace(options, points="exhaustive") if proposer == "reference" else options


GENERIC = ("object", "things", "stuff", "texture")
"""What any segment may show instead: the canonical phrases of LERF (arXiv 2303.09553, section 3.2)."""


@dataclass(frozen=True)
class Scoring:
    """How similarities to a text become scores. Chosen by evidence for a CLIP, and stored with it.

    templates: sentences that prompts and negatives are put into, at ``{}``; their features are averaged.
    negatives: what a segment may show instead; one that is the prompt itself is left out.
    floor: a logit that stands for everything else; the prompt's must be higher for a score above .5.
    presence: share of the whole picture's log-odds in those of its segments, 0 to 1.
    prior: weight of the logarithm of predicted IoU x stability.
    min_score: segments with a lower score are no match, 0 to 1.
    """

    templates: tuple[str, ...] = ("{}",)
    negatives: tuple[str, ...] = ()
    floor: float = 0.0
    presence: float = 0.0
    prior: float = 0.0
    min_score: float = 0.0


SCORING = Scoring(
    templates=("{}", "a photo of {}", "a cropped photo of {}", "a close-up photo of {}"), negatives=GENERIC
)
"""For published CLIPs. No threshold was calibrated for them: that needs their weights."""

OWN_SCORING = {
    "tiny": Scoring(negatives=("the background", "the ground", "a fragment"), floor=8.34, min_score=0.5)
}
"""For built-in CLIPs (``python -m recipes.calibrate``)."""


@dataclass(frozen=True)
class Preset:
    """Which models work together.

    sam: ``vit_b``, ``vit_l``, ``vit_h``, ``tiny``, or the path of a checkpoint.
    clip: ``tiny`` or an open_clip architecture.
    clip_weights: a tag of the catalogue or a path; None for built-in weights.
    """

    sam: str
    clip: str
    clip_weights: str | None


PRESETS: dict[PresetName, Preset] = {
    "tiny": Preset("tiny", "tiny", None),
    "base": Preset("vit_b", "ViT-B-32", "openai"),
    "large": Preset("vit_h", "ViT-L-14", "openai"),
}


@dataclass(frozen=True)
class CritterOptions:
    """What a set of drawn critters holds.

    layout: ``scenes`` of several critters with annotations, or class ``folders`` of portraits.
    count: scenes, or portraits of each species; None for the layout's own number.
    size: side of the square pictures in pixels.
    style: ``picture`` on a background, or ``artwork`` on white.
    critters, distractors: how many of each a scene holds; folders have none of it.
    """

    layout: Layout = "scenes"
    count: int | None = None
    size: int = 256
    seed: int = 0
    style: Style = "picture"
    critters: int = 4
    distractors: int = 2


CRITTERS = CritterOptions()
CRITTER_COUNTS: dict[Layout, int] = {"scenes": 100, "folders": 20}
PORTRAIT_SIZE = 128
PART_PORTRAITS, PART_PORTRAIT_SIZE = 12, 192
"""Of the set ``critters-parts``: portraits of each species, and their side in pixels."""


@dataclass(frozen=True)
class SplitOptions:
    """Which pictures are held out. validation: their share, above 0, below 1."""

    validation: float = 0.2
    seed: int = 42


SPLIT = SplitOptions()
CAPTION = "{}"
"""What CLIP is told of a class: ``{}`` is the class's name."""
PAPER_CAPTION = "This is an image of {}"


@dataclass(frozen=True)
class FinetuneOptions:
    """How CLIP is taught the classes of a data set.

    rate: peak learning rate. warmup: epochs of rising rate, with ``cosine``; at most half of all.
    plateau: with ``plateau``, the rate falls by .9 after 5 epochs without a lower validation loss.
    clip_norm: gradients longer than this are shortened. lock: a tower that is left as it is.
    mix: 1 keeps the fine-tuned weights, 0 the old ones, between them their weighted average.
    segment_share: how many of the training crops are segments, where segments are given, 0 to 1.
    """

    epochs: int = 30
    batch: int = 64
    rate: float = 3e-4
    weight_decay: float = 0.05
    warmup: float = 1.0
    schedule: Schedule = "cosine"
    clip_norm: float = 1.0
    loss: Loss = "supervised"
    lock: Lock = "none"
    mix: float = 1.0
    augment: bool = True
    segment_share: float = 0.5
    seed: int = 42


FINETUNE = FinetuneOptions()


@dataclass(frozen=True)
class PaperOptions:
    """How the paper's own dual encoder is trained; the defaults are its best in Table 1.

    rate: of the projection heads, which the paper searched for; weight_decay is theirs alone.
    embed_dim: width of the common space, searched for as well.
    """

    epochs: int = 100
    batch: int = 64
    rate: float = 1e-4
    image_rate: float = 1e-4
    text_rate: float = 1e-5
    weight_decay: float = 1e-3
    embed_dim: int = 128
    seed: int = 42


PAPER = PaperOptions()
PAPER_RATES = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5)
PAPER_EMBED_DIMS = (128, 512)
"""The grid of the paper's Table 1."""


@dataclass(frozen=True)
class JudgeOptions:
    """How the judge is trained. The defaults are the paper's; ``JUDGES`` has the other recipe's.

    recipe: ``paper``: from ImageNet weights, 224 px squashed, one-cycle SGD, no augmentation.
    ``own``: from random weights, letterboxed on white, random crops, flips, RandAugment, mixup,
    label smoothing, cosine SGD.
    """

    recipe: JudgeRecipe = "paper"
    epochs: int = 50
    batch: int = 32
    rate: float = 0.1
    weight_decay: float = 5e-4
    image_size: int = 224
    seed: int = 42


JUDGES: dict[str, JudgeOptions] = {
    "paper": JudgeOptions(),
    "own": JudgeOptions("own", epochs=100, batch=64, rate=0.1, image_size=96),
}


@dataclass(frozen=True)
class EvalOptions:
    """What is measured: composites of four tiles with one prompt a tile.

    count: composites. tile: side of a tile in pixels.
    protocol: ``corrected``, or ``paper`` as published (slip.evaluation.protocols).
    asked: a prompt is the class of its tile, or the caption of the picture in it.
    """

    count: int = 100
    tile: int = 448
    seed: int = 0
    protocol: Protocol = "corrected"
    asked: Asked = "label"


EVAL = EvalOptions()


@dataclass(frozen=True)
class PartOptions:
    """How a network is taught the parts of pictures.

    batch: items a step; an item is a picture with up to ``expressions`` of its parts, asked together, or
    for ``maskrcnn`` a picture. rate: highest learning rate.
    encoder_rate: share of it that encoders with earlier weights learn at, above 0, to 1.
    weight_decay: of Adam (CRIS's is 0), AdamW or SGD. clip_norm: gradients longer than this are shortened.
    decay: ``step``: the rate falls to a tenth after .7 of the steps, as published for CRIS (35 of 50
    epochs); ``cosine``: up in the first twentieth, then down to nothing.
    image_size: side of the pictures in pixels; None for what suits the network.
    """

    epochs: int = 10
    batch: int = 16
    expressions: int = 4
    rate: float = 1e-4
    encoder_rate: float = 0.1
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    decay: Decay = "step"
    image_size: int | None = None
    seed: int = 42


PART_OPTIONS: dict[PartNetwork, PartOptions] = {
    "cris": PartOptions(),
    "clipseg": PartOptions(rate=1e-3, weight_decay=1e-4),
    "maskrcnn": PartOptions(batch=4, rate=5e-3, encoder_rate=1.0, weight_decay=1e-4, clip_norm=10.0),
}

PART_THRESHOLD = 0.35
"""Pixels above this probability belong to the answer (published for CRIS)."""

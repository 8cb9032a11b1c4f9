"""The dual encoder that SLIP fine-tunes (arXiv 2405.07284, section 3; after the "Simple CLIP" tutorial).

torchvision's ResNet-50 and the DistilBERT (arXiv 1910.01108) of ``transformers``, each followed by a
projection head. ``transformers`` is an optional extra. A checkpoint holds its own vocabulary, so
nothing is looked up anywhere when one is loaded.
"""

from __future__ import annotations

import string
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize
from torchvision.models.resnet import Bottleneck, ResNet

from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.models.checkpoint import State, WithoutDraws, load_strictly, read_checkpoint, read_state
from slip.types import Features, Image, Progress
from slip.weights import ensure

IMAGE_FEATURES = 2048
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of pixels from 0 to 1."""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Pieces that every vocabulary has; [PAD] comes first."""


@dataclass(frozen=True)
class Shape:
    """How large the network is; the defaults are ResNet-50 and DistilBERT.

    image_size: pixels. layers: blocks of the ResNet's four stages. width: of their 3 x 3
    convolutions in the first stage. dim, hidden_dim, heads, depth: of the transformer.
    context: tokens that it can read.
    """

    image_size: int = 224
    layers: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    dim: int = 768
    hidden_dim: int = 3072
    heads: int = 12
    depth: int = 6
    context: int = 512


@dataclass(frozen=True)
class SimpleClipConfig:
    """All that is needed to build the network.

    embed_dim: width of the common space. vocabulary: the pieces of words, by their numbers.
    """

    embed_dim: int
    vocabulary: tuple[str, ...]
    shape: Shape = Shape()

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"embed_dim": self.embed_dim, "vocabulary": list(self.vocabulary), **asdict(self.shape)}


@dataclass(frozen=True, eq=False)
class Published:
    """Weights of both trunks, trained on ImageNet and on text, and the vocabulary of the second."""

    image: State
    text: State
    vocabulary: tuple[str, ...]


class ProjectionHead(nn.Module):
    """Features into the common space: Linear = p; GELU; Linear; add p; LayerNorm."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, embed_dim)
        self.inner = nn.Linear(embed_dim, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width)`` to ``(B, embed_dim)``."""
        projected = self.projection(features)
        normed: Tensor = self.norm(self.inner(gelu(projected)) + projected)
        return normed


class SimpleClip(nn.Module):
    """Both trunks and heads, with random weights. Features are as they come, of any length."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: SimpleClipConfig) -> None:
        super().__init__()
        from transformers import DistilBertConfig, DistilBertModel

        shape = config.shape
        self.image = ResNet(Bottleneck, list(shape.layers), width_per_group=shape.width)
        self.image.fc = nn.Identity()
        self.text = DistilBertModel(
            DistilBertConfig(
                vocab_size=len(config.vocabulary),
                max_position_embeddings=shape.context,
                n_layers=shape.depth,
                n_heads=shape.heads,
                dim=shape.dim,
                hidden_dim=shape.hidden_dim,
            )
        )
        self.image_head = ProjectionHead(IMAGE_FEATURES, config.embed_dim)
        self.text_head = ProjectionHead(shape.dim, config.embed_dim)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Features of ``uint8 (B, 3, S, S)`` and of the texts ``(B, 2, L)``."""
        return self.images(pixels), self.texts(tokens)

    def images(self, pixels: Tensor) -> Tensor:
        """``uint8 (B, 3, S, S)`` to ``float32 (B, D)``."""
        scaled = (pixels.float() / 255 - self.mean) / self.std
        features: Tensor = self.image_head(self.image(scaled))
        return features.float()

    def texts(self, tokens: Tensor) -> Tensor:
        """``int64 (M, 2, L)``, the pieces' numbers and which of them count, to ``float32 (M, D)``."""
        read = self.text(input_ids=tokens[:, 0], attention_mask=tokens[:, 1]).last_hidden_state
        features: Tensor = self.text_head(read[:, 0])
        return features.float()


class Tokenizer:
    """Text to numbers of pieces, in lower case, as DistilBERT reads it."""

    def __init__(self, vocabulary: Sequence[str], context: int) -> None:
        from tokenizers import BertWordPieceTokenizer

        self._pieces = BertWordPieceTokenizer({piece: number for number, piece in enumerate(vocabulary)})
        self._pieces.enable_truncation(context)
        self._pieces.enable_padding()
        self._context = context

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """``int64 (M, 2, L)``: numbers, and 1 where one counts; L is the longest text's length.

        Warns (SlipWarning) where a text is cut.
        """
        read = self._pieces.encode_batch(list(texts))
        for text, pieces in zip(texts, read, strict=True):
            if pieces.overflowing:
                warnings.warn(
                    f"the prompt {text[:40]!r}... is cut to its first {self._context - 2} tokens",
                    SlipWarning,
                    stacklevel=3,
                )
        return torch.tensor([[pieces.ids, pieces.attention_mask] for pieces in read])


def check_library() -> None:
    """Raise UsageError where the optional extra is not installed."""
    try:
        import tokenizers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise UsageError(
            "the paper's dual encoder needs transformers, which is not installed; "
            'run: pip install "slip-segment[paper]"'
        ) from None


def vocabulary_of(captions: Iterable[str]) -> tuple[str, ...]:
    """Each word of the captions, and each of their letters, so that other words can be spelled."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    plain, parts = BertNormalizer(lowercase=True), BertPreTokenizer()
    words = {
        word for text in captions for word, _ in parts.pre_tokenize_str(plain.normalize_str(text)) if word
    }
    letters = sorted(set("".join(words)) | set(string.ascii_lowercase + string.digits))
    longer = sorted(word for word in words if len(word) > 1)
    return (*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *longer)


def fetch_published(progress: Progress | None = None) -> Published:
    """The weights that the paper started from. Raises WeightsError where they cannot be had."""
    image = read_state(ensure("resnet50/imagenet", progress))
    text = read_state(ensure("distilbert/base-uncased", progress))
    path = ensure("distilbert/vocabulary", progress)
    return Published(
        {name: tensor for name, tensor in image.items() if not name.startswith("fc.")},
        {
            name.removeprefix("distilbert."): tensor
            for name, tensor in text.items()
            if not name.startswith("vocab_")
        },
        tuple(path.read_text(encoding="utf-8").splitlines()),
    )


def take_published(model: SimpleClip, published: Published) -> None:
    """Give both trunks their published weights. Raises WeightsError where these do not fit."""
    counters = {name: tensor for name, tensor in model.image.state_dict().items() if tensor.ndim == 0}
    load_strictly(model.image, {**counters, **published.image}, Path("resnet50/imagenet"), "ResNet-50")
    load_strictly(model.text, published.text, Path("distilbert/base-uncased"), "DistilBERT")


def build_simple_clip(config: SimpleClipConfig) -> SimpleClip:
    """The network with random weights, in evaluation mode.

    Raises WeightsError for values that do not go together, UsageError without ``transformers``.
    """
    check_library()
    try:
        return SimpleClip(config).eval()
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"not a configuration of the paper's dual encoder: {reason}") from None


def load_simple_clip(path: Path, compute: Compute) -> SimpleClipEncoder:
    """The encoder of a checkpoint.

    Raises WeightsError: missing, damaged, of another kind. UsageError without ``transformers``.
    """
    held, state = read_checkpoint(path, "simple_clip")
    try:
        config = _parse(**held)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} is damaged: not a configuration of the paper's dual encoder: {error}"
        ) from None
    with WithoutDraws():
        model = build_simple_clip(config)
    load_strictly(model, state, path, "the dual encoder of its configuration")
    return SimpleClipEncoder(model, config, compute, path.name)


def _parse(*, embed_dim: int, vocabulary: list[str], layers: list[int], **sizes: int) -> SimpleClipConfig:
    if not isinstance(vocabulary, list) or not all(isinstance(piece, str) for piece in vocabulary):
        raise ValueError("the vocabulary is a list of pieces")
    if len({*vocabulary}) < len(vocabulary):
        raise ValueError("the vocabulary has a piece twice")
    if vocabulary[:1] != ["[PAD]"] or not {*SPECIAL} <= {*vocabulary}:
        raise ValueError(f"the vocabulary lacks {', '.join(SPECIAL)}")
    for size in (embed_dim, *layers, *sizes.values()):
        if type(size) is not int or not 1 <= size <= 1 << 16:
            raise ValueError(f"a size is {size!r}; expected 1 to {1 << 16}")
    return SimpleClipConfig(embed_dim, tuple(vocabulary), Shape(layers=tuple(layers), **sizes))


def logit_scale(embed_dim: int) -> float:
    """What the paper's loss multiplies cosines by: rows that leave its LayerNorm are about sqrt(D) long."""
    return float(embed_dim)


class SimpleClipEncoder:
    """Pictures and text in the common space of the paper's dual encoder."""

    def __init__(self, model: SimpleClip, config: SimpleClipConfig, compute: Compute, name: str) -> None:
        self.name = name
        self.image_size = config.shape.image_size
        self._width = config.embed_dim
        self.logit_scale = logit_scale(config.embed_dim)
        self._compute = compute
        self._model = model.to(compute.device).eval()
        self._tokenize = Tokenizer(config.vocabulary, config.shape.context)

    def encode_images(self, crops: Image) -> Features:
        """``uint8 (N, S, S, 3)`` RGB to ``float32 (N, D)`` with unit rows, S being ``image_size``.

        All N at once. Raises UsageError for another layout.
        """
        side = self.image_size
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise UsageError(f"crops are {crops.dtype} {crops.shape}; expected uint8 (N, {side}, {side}, 3)")
        if not len(crops):
            return np.empty((0, self._width), np.float32)
        pixels = torch.tensor(crops).to(self._compute.device).permute(0, 3, 1, 2)
        with torch.inference_mode(), self._compute.autocast():
            features = self._model.images(pixels)
        return _unit_rows(features)

    def encode_text(self, texts: Sequence[str]) -> Features:
        """Texts to ``float32 (M, D)`` with unit rows. Warns (SlipWarning) where one is cut."""
        if not texts:
            return np.empty((0, self._width), np.float32)
        tokens = self._tokenize(texts).to(self._compute.device)
        with torch.inference_mode(), self._compute.autocast():
            features = self._model.texts(tokens)
        return _unit_rows(features)


def _unit_rows(features: Tensor) -> Features:
    rows: Features = normalize(features, dim=-1).cpu().numpy()
    return rows

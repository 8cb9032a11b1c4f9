"""CLIP (Radford et al. 2021, arXiv 2103.00020): open_clip's own classes, as an encoder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn.functional import normalize

from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.images import resize
from slip.models.checkpoint import (
    State,
    WithoutDraws,
    is_torchscript,
    load_strictly,
    read_checkpoint,
    read_state,
)
from slip.models.checks import check_encoder, is_own_clip, named_clip
from slip.models.dense import dense_features, dense_side
from slip.models.header import built_in
from slip.types import Features, Image, Progress
from slip.weights import catalogue, ensure, published

OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives keep among the weights."""


def build_clip(config: dict[str, Any]) -> open_clip.CLIP:
    """A CLIP with random weights, in evaluation mode.

    config: embed_dim, vision_cfg and text_cfg as open_clip has them, mean and std of the pixels
    (three numbers each, for pixels from 0 to 1), and perhaps quick_gelu. Raises WeightsError for
    other keys, for values that do not go together, and for towers or tokenizers from elsewhere.
    """
    try:
        return _assemble(**config)
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"not a configuration of CLIP: {reason}") from None


def _assemble(
    *,
    embed_dim: int,
    vision_cfg: dict[str, Any],
    text_cfg: dict[str, Any],
    mean: Sequence[float],
    std: Sequence[float],
    quick_gelu: bool = False,
) -> open_clip.CLIP:
    if foreign := _foreign_parts(vision_cfg, text_cfg):
        raise ValueError(f"{foreign} is not open_clip's own")
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError("mean and std are three numbers each, std above 0")
    model = open_clip.CLIP(embed_dim, vision_cfg, text_cfg, quick_gelu)
    if model.vocab_size < open_clip.CLIPTextCfg.vocab_size:
        raise ValueError(f"a vocabulary of {model.vocab_size} is smaller than the tokenizer's")
    return _ready(model, mean, std)


def _foreign_parts(vision_cfg: dict[str, Any], text_cfg: dict[str, Any]) -> str:
    """The parts that open_clip would take, perhaps download, from other libraries."""
    names = [key for key in ("timm_model_name",) if vision_cfg.get(key)]
    names += [key for key in ("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs") if text_cfg.get(key)]
    return ", ".join(names)


def _ready(model: open_clip.CLIP, mean: Sequence[float], std: Sequence[float]) -> open_clip.CLIP:
    model.visual.image_mean, model.visual.image_std = tuple(mean), tuple(std)
    return model.eval()


def load_clip(clip: str, weights: str | None = None, progress: Progress | None = None) -> open_clip.CLIP:
    """A CLIP with its weights, float32, on the CPU.

    clip: ``tiny``, the path of a SLIP checkpoint, or an open_clip architecture.
    weights: for an architecture, a tag of the catalogue, or the path of a state dict or of one of
    OpenAI's TorchScript archives; else None.

    Raises UsageError for unknown names, WeightsError for files that cannot be used.
    """
    return read_clip(clip, weights, progress)[1]


def read_clip(
    clip: str, weights: str | None = None, progress: Progress | None = None
) -> tuple[dict[str, Any], open_clip.CLIP]:
    """What ``load_clip`` loads, after the configuration from which ``build_clip`` builds it."""
    clip = named_clip(clip)
    check_encoder(clip, weights)
    if is_own_clip(clip):
        return _load_own(built_in("clip") if clip == "tiny" else Path(clip))
    config = architecture(clip)
    name = f"clip/{clip}/{weights}"
    path = ensure(name, progress) if name in catalogue() else Path(str(weights))
    if is_torchscript(path):
        state = _read_openai(path, progress)
        config["quick_gelu"] = True
    else:
        state = read_state(path)
    _check_fits(clip, state, path)
    with WithoutDraws():
        model = build_clip(config)
    load_strictly(model, state, path, f"CLIP {clip}")
    return config, model


def _load_own(path: Path) -> tuple[dict[str, Any], open_clip.CLIP]:
    config, state = read_checkpoint(path, "clip")
    with WithoutDraws():
        model = build_clip(config)
    load_strictly(model, state, path, "the CLIP of its configuration")
    return config, model


def architecture(name: str) -> dict[str, Any]:
    """The configuration of an open_clip architecture, for ``build_clip``.

    Raises UsageError for names that open_clip does not know, and parts that are not its own.
    """
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        known = ["tiny", *open_clip.list_models()]
        close = get_close_matches(name, known, cutoff=0.5) or ["tiny", "ViT-B-32", "ViT-L-14"]
        raise UsageError(
            f"CLIP {name!r} is neither an architecture of open_clip nor a SLIP checkpoint (.safetensors); "
            f"try {', '.join(close)}"
        )
    foreign = _foreign_parts(config["vision_cfg"], config["text_cfg"])
    foreign = foreign or ", ".join(config.keys() & {"custom_text", "multimodal_cfg"})
    if foreign:
        raise UsageError(
            f"CLIP {name} has parts that are not loaded here ({foreign}); try ViT-B-32 or ViT-L-14"
        )
    return {**config, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}


def _read_openai(path: Path, progress: Progress | None) -> State:
    """The weights of a TorchScript archive. Opening one can run code, so it must be a published file."""
    entry = published(path, progress)
    if entry is None or not entry.name.startswith("clip/"):
        raise WeightsError(
            f"{path} is a TorchScript archive but not a published file, so it is not opened; "
            "save its state dict instead"
        )
    load: Callable[..., torch.jit.ScriptModule] = torch.jit.load
    try:
        with warnings.catch_warnings():  # nothing else reads OpenAI's format
            warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", FutureWarning)
            archive = load(path, map_location="cpu")
    except RuntimeError:
        raise WeightsError(f"{path} is damaged: not a TorchScript archive that can be read") from None
    return {name: tensor for name, tensor in archive.state_dict().items() if name not in OPENAI_EXTRAS}


def _check_fits(architecture: str, state: State, path: Path) -> None:
    held = _shapes(state)
    if held != _shapes_of(architecture):
        other = _recognise(state) or "something else"
        raise WeightsError(f"{path} does not hold a CLIP {architecture} but {other}")


def _recognise(state: State) -> str | None:
    """The open_clip architecture whose names and shapes are those of ``state``."""
    held, projection = _shapes(state), state.get("text_projection")
    if projection is None or projection.ndim != 2:
        return None
    names: list[str] = open_clip.list_models()
    for name in names:
        config = open_clip.get_model_config(name)
        if config["embed_dim"] != projection.shape[-1] or config.keys() & {"custom_text", "multimodal_cfg"}:
            continue
        if not _foreign_parts(config["vision_cfg"], config["text_cfg"]) and held == _shapes_of(name):
            return name
    return None


def _shapes_of(architecture: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return _shapes(open_clip.CLIP(**open_clip.get_model_config(architecture)).state_dict())


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


class ClipEncoder:
    """Pictures and text in CLIP's common space."""

    def __init__(self, model: open_clip.CLIP, compute: Compute, name: str) -> None:
        self.name = name
        self.image_size = image_side(model.visual.image_size)
        self.logit_scale = float(model.logit_scale.detach().exp())
        self._compute = compute
        self._model = model.to(compute.device)
        self._mean = torch.tensor(model.visual.image_mean, device=compute.device).view(3, 1, 1)
        self._std = torch.tensor(model.visual.image_std, device=compute.device).view(3, 1, 1)

    def encode_images(self, crops: Image) -> Features:
        """``uint8 (N, S, S, 3)`` RGB to ``float32 (N, D)`` with unit rows, S being ``image_size``.

        All N at once. Raises UsageError for another layout.
        """
        side = self.image_size
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise UsageError(f"crops are {crops.dtype} {crops.shape}; expected uint8 (N, {side}, {side}, 3)")
        if not len(crops):
            return self._empty()
        pixels = torch.tensor(crops).to(self._compute.device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode(), self._compute.autocast():
            features = self._model.encode_image((pixels - self._mean) / self._std)
        return _unit_rows(features)

    def encode_dense(self, image: Image) -> Features:
        """A ``uint8 (H, W, 3)`` RGB picture to ``float32 (h, w, D)``, a unit vector for each of h x w places.

        The picture is squashed to a square. Raises UsageError for an image tower without such features.
        """
        side = dense_side(self._model.visual, self.image_size)
        square = torch.tensor(resize(image, side, side)).to(self._compute.device)
        pixels = square.permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode(), self._compute.autocast():
            features = dense_features(self._model.visual, (pixels - self._mean) / self._std)
        return _unit_rows(features[0])

    def encode_text(self, texts: Sequence[str]) -> Features:
        """Texts to ``float32 (M, D)`` with unit rows. Warns (SlipWarning) where one is cut."""
        if not texts:
            return self._empty()
        length = self._model.context_length
        longer = open_clip.tokenize(list(texts), length + 1)[:, -1] != 0
        for index in longer.nonzero().flatten().tolist():
            warnings.warn(
                f"the prompt {texts[index][:40]!r}... is cut to its first {length - 2} tokens", SlipWarning, 2
            )
        tokens = open_clip.tokenize(list(texts), length).to(self._compute.device)
        with torch.inference_mode(), self._compute.autocast():
            features = self._model.encode_text(tokens)
        return _unit_rows(features)

    def _empty(self) -> Features:
        return np.empty((0, self._model.text_projection.shape[-1]), np.float32)


def _unit_rows(features: Tensor) -> Features:
    rows: Features = normalize(features.float(), dim=-1).cpu().numpy()
    return rows


def image_side(size: int | tuple[int, int]) -> int:
    """The side of the square pictures that a CLIP of this ``image_size`` takes. Raises WeightsError."""
    height, width = size if isinstance(size, tuple) else (size, size)
    if height != width:
        raise WeightsError(f"CLIP takes pictures of {height} x {width}; only square ones are supported")
    return height

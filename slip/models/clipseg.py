"""CLIPSeg (Lüddecke and Ecker 2022, arXiv 2112.10003): the network of ``transformers``, as a segmenter.

``transformers`` is an optional extra. Nothing of it is looked up or downloaded: a checkpoint holds the
sizes, and the words are read by open_clip's tokenizer, whose numbers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import resize

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models.checkpoint import State, WithoutDraws, load_strictly, read_checkpoint, read_state
from slip.models.pixelwise import answer
from slip.types import Image, Prediction
from slip.wording import plain

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of pixels from 0 to 1."""
PATCH = 16
"""Side of the patches in pixels: what the decoder's finer kind of upsampling is for."""
RARE = -3.0
"""Log-odds of a pixel before anything is learnt."""
PUBLISHED = "clipseg/rd64-refined"
"""The catalogue's name of the weights that go with ``FULL``."""
COUNTERS = ".position_ids"
"""Ends of names that older files have, of what is no weight."""


@dataclass(frozen=True)
class Tower:
    """Sizes of a transformer."""

    width: int
    hidden: int
    layers: int
    heads: int


@dataclass(frozen=True)
class ClipSegConfig:
    """All that is needed to build the network.

    image_size: side of the squares that pictures are squashed to, in pixels, a multiple of ``PATCH``.
    places_size: the side that the picture's places were learnt for; at another they are interpolated.
    context: tokens that can be read. taps: layers of the picture's tower that the decoder sees, from 0.
    embed_dim: width of CLIP's common space. reduce, decoder_hidden: widths of the decoder.
    """

    image_size: int
    places_size: int
    context: int
    vision: Tower
    text: Tower
    taps: tuple[int, ...]
    embed_dim: int
    reduce: int
    decoder_hidden: int
    decoder_heads: int

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def to_transformers(self) -> Any:
        """The same for ``transformers``: a ``CLIPSegConfig``. Raises ValueError for sizes that do not fit."""
        from transformers import CLIPSegConfig

        return CLIPSegConfig(
            vision_config={"image_size": self.places_size, "patch_size": PATCH, **_tower(self.vision)},
            text_config={"max_position_embeddings": self.context, **_tower(self.text)},
            projection_dim=self.embed_dim,
            extract_layers=list(self.taps),
            reduce_dim=self.reduce,
            decoder_intermediate_size=self.decoder_hidden,
            decoder_num_attention_heads=self.decoder_heads,
            use_complex_transposed_convolution=True,
        )


FULL = ClipSegConfig(
    image_size=352,
    places_size=224,
    context=77,
    vision=Tower(768, 3072, 12, 12),
    text=Tower(512, 2048, 12, 8),
    taps=(3, 6, 9),
    embed_dim=512,
    reduce=64,
    decoder_hidden=2048,
    decoder_heads=4,
)
"""Of the published ``clipseg-rd64-refined``: CLIP ViT-B/16 and a decoder of width 64."""

SMALL = ClipSegConfig(
    image_size=192,
    places_size=192,
    context=32,
    vision=Tower(192, 768, 4, 3),
    text=Tower(96, 384, 3, 3),
    taps=(1, 2, 3),
    embed_dim=128,
    reduce=64,
    decoder_hidden=256,
    decoder_heads=4,
)
"""For random weights and a processor."""


class ClipSeg(nn.Module):
    """The towers and the decoder, with random weights; names and shapes are those of ``transformers``."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ClipSegConfig) -> None:
        super().__init__()
        from transformers import CLIPSegForImageSegmentation

        network = CLIPSegForImageSegmentation(config.to_transformers())
        self.config = config
        self.clip, self.decoder = network.clip, network.decoder
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """Logits ``(B, K, S, S)`` of ``uint8 (B, 3, S, S)`` and the tokens ``int64 (B, K, L)``."""
        count, asked = tokens.shape[:2]
        seen = [tap.repeat_interleave(asked, 0) for tap in self.see(pixels)]
        logits = self.ask(seen, self.read(tokens.flatten(0, 1)))
        return logits.reshape(count, asked, *logits.shape[-2:])

    def see(self, pixels: Tensor) -> list[Tensor]:
        """What the decoder needs of ``uint8 (B, 3, S, S)``: the ``taps``, each ``(B, 1 + places, width)``.

        Layers above the last tap are left out.
        """
        tower = self.clip.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings((pixels.float() / 255 - self.mean) / self.std))
        seen = {}
        for number, layer in enumerate(tower.encoder.layers[: max(self.config.taps) + 1]):
            hidden = layer(hidden, None)
            seen[number] = hidden
        return [seen[tap] for tap in self.config.taps]

    def read(self, tokens: Tensor) -> Tensor:
        """``int64 (N, L)``, as open_clip's tokenizer pads them, to ``(N, embed_dim)``.

        Columns that are empty for all are left out: what comes after a text's end changes nothing.
        """
        length = int((tokens != 0).any(0).sum())
        pooled = self.clip.text_model(input_ids=tokens[:, :length]).pooler_output
        features: Tensor = self.clip.text_projection(pooled)
        return features

    def ask(self, seen: list[Tensor], read: Tensor) -> Tensor:
        """Logits ``(N, S, S)`` of N pictures for N texts."""
        logits: Tensor = self.decoder(tuple(seen), read).logits
        return logits.reshape(len(read), *logits.shape[-2:])


def check_library() -> None:
    """Raise UsageError where the optional extra is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise UsageError(
            'CLIPSeg needs transformers, which is not installed; run: pip install "slip-segment[paper]"'
        ) from None


def build_clipseg(config: ClipSegConfig) -> ClipSeg:
    """The network with random weights, in evaluation mode.

    Raises WeightsError for values that do not go together, UsageError without ``transformers``.
    """
    check_library()
    try:
        _check(config)
        return ClipSeg(config).eval()
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"not a configuration of CLIPSeg: {reason}") from None


def draw_decoder(network: ClipSeg) -> None:
    """Draw the decoder's projections and convolutions as torch does.

    ``transformers`` draws them from the standard normal distribution, and the first logits are in the
    hundreds. The last bias is such that few pixels are probable, as few belong to a part.
    """
    decoder = network.decoder
    for part in (decoder.film_mul, decoder.film_add, *decoder.reduces, *decoder.transposed_convolution):
        if not isinstance(part, nn.ReLU):
            part.reset_parameters()
    nn.init.constant_(decoder.transposed_convolution[-1].bias, RARE)


def read_clipseg(path: Path) -> ClipSeg:
    """The network of a checkpoint, in evaluation mode, on the CPU.

    path: a SLIP checkpoint, or with another suffix than ``.safetensors`` the state dict that was published
    as CIDAS/clipseg-rd64-refined. Raises WeightsError: missing, damaged, of another kind; UsageError
    without ``transformers``.
    """
    if path.suffix != ".safetensors":
        config, state = FULL, _weights_only(read_state(path))
    else:
        held, state = read_checkpoint(path, "clipseg")
        config = _config_of(held, path)
    with WithoutDraws():
        network = build_clipseg(config)
    load_strictly(network, state, path, "the CLIPSeg of its configuration")
    return network


def load_clipseg(path: Path, compute: Compute) -> ClipSegSegmenter:
    """The segmenter of a checkpoint. Raises as ``read_clipseg``."""
    return ClipSegSegmenter(read_clipseg(path), compute, path.name)


def squash(image: Image, side: int) -> Tensor:
    """``uint8 (H, W, 3)`` RGB as ``uint8 (3, side, side)``, as the processor of ``transformers`` does it."""
    pixels = torch.tensor(image).permute(2, 0, 1)
    squashed: Tensor = resize(pixels, [side, side], antialias=True)
    return squashed


class ClipSegSegmenter:
    """Answers a picture and an expression with the pixels it means."""

    def __init__(self, network: ClipSeg, compute: Compute, name: str) -> None:
        self.name = name
        self._compute = compute
        self._network = network.to(compute.device).eval()

    def segment(self, image: Image, prompt: str) -> Prediction:
        """One segment, or none where no pixel is probable enough."""
        return self.segment_each(image, [prompt])[0]

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        """``segment`` for each of ``prompts``, in their order; the picture is encoded once."""
        if not prompts:
            return []
        network, device = self._network, self._compute.device
        with torch.inference_mode(), self._compute.autocast():
            seen = network.see(squash(image, network.config.image_size)[None].to(device))
            # one after the other: together, sums differ in their last digits
            return [answer(prompt, self._probabilities(seen, prompt, image)) for prompt in prompts]

    def _probabilities(self, seen: list[Tensor], prompt: str, image: Image) -> NDArray[np.float32]:
        """Of every pixel of the picture: ``float32 (H, W)``."""
        network = self._network
        tokens = open_clip.tokenize([plain(prompt)], network.config.context).to(self._compute.device)
        square = network.ask(seen, network.read(tokens)).float().sigmoid()
        height, width = image.shape[:2]
        full = interpolate(square[None], (height, width), mode="bilinear", align_corners=False)
        probabilities: NDArray[np.float32] = full[0, 0].cpu().numpy()
        return probabilities


def _tower(tower: Tower) -> dict[str, int]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": tower.hidden,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
    }


def _weights_only(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.endswith(COUNTERS)}


def _config_of(held: dict[str, Any], path: Path) -> ClipSegConfig:
    try:
        towers = {name: Tower(**held[name]) for name in ("vision", "text")}
        config = ClipSegConfig(**{**held, **towers, "taps": tuple(held["taps"])})
        _check(config)
    except (LookupError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged: not a configuration of CLIPSeg: {error}") from None
    return config


def _check(config: ClipSegConfig) -> None:
    """Raise ValueError for sizes that are none, or do not go together."""
    sizes = {name: size for name, size in vars(config).items() if name not in ("vision", "text", "taps")}
    for name, size in [*sizes.items(), *vars(config.vision).items(), *vars(config.text).items()]:
        if type(size) is not int or not 1 <= size <= 1 << 13:
            raise ValueError(f"{name} is {size!r}; expected 1 to {1 << 13}")
    towers = ((tower.heads, tower.width) for tower in (config.vision, config.text))
    for heads, width in (*towers, (config.decoder_heads, config.reduce)):
        if width % heads:
            raise ValueError(f"a width of {width} is not for {heads} heads")
    layers = range(config.vision.layers)
    if not config.taps or not all(type(tap) is int and tap in layers for tap in config.taps):
        raise ValueError(f"taps are {config.taps}; expected layers of the picture's tower")
    if config.image_size % PATCH or config.places_size % PATCH:
        raise ValueError(f"pictures of {config.image_size} pixels are not whole patches of {PATCH}")
    if not 3 <= config.context <= 77:
        raise ValueError(f"a context of {config.context}; expected 3 to 77")

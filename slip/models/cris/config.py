"""Which CRIS: the CLIP it is built on and how wide it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from slip.errors import UsageError, WeightsError

STRIDE = 32
"""The picture's side is a multiple of this: the stride of C5."""


@dataclass(frozen=True)
class CrisConfig:
    """Sizes of a CRIS. The defaults are the published ones.

    clip: configuration of a CLIP with a ModifiedResNet, as ``build_clip`` takes it.
    image_size: side of the square pictures. words: longest expression in tokens, ends included.
    width: channels of neck and decoder. layers, heads, hidden, dropout: of the decoder.
    """

    clip: dict[str, Any]
    image_size: int = 416
    words: int = 17
    width: int = 512
    layers: int = 3
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    @property
    def stages(self) -> tuple[int, int, int]:
        """Channels of C3, C4 and C5 after the attention pool."""
        base = int(self.clip["vision_cfg"]["width"])
        return 8 * base, 16 * base, int(self.clip["embed_dim"])

    @property
    def word_width(self) -> int:
        """Channels of a word."""
        return int(self.clip["text_cfg"]["width"])

    def at(self, image_size: int) -> CrisConfig:
        """The same for pictures of another size. Raises UsageError for one that is no multiple of 32."""
        if image_size < 2 * STRIDE or image_size % STRIDE:
            raise UsageError(
                f"image size {image_size} is not for CRIS; choose a multiple of {STRIDE}, from {2 * STRIDE}"
            )
        return replace(self, image_size=image_size)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> CrisConfig:
        """The configuration of such values. Raises WeightsError for others."""
        try:
            config = cls(**told)
            config.check()
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise WeightsError(f"not a configuration of CRIS: {' '.join(str(error).split())}") from None
        return config

    def check(self) -> None:
        """Raise ValueError, TypeError or KeyError for sizes that cannot be built."""
        whole = ("image_size", "words", "width", "layers", "heads", "hidden")
        for name in whole:
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ValueError(f"{name} is {value!r}")
        if self.image_size % STRIDE:
            raise ValueError(f"image_size {self.image_size} is no multiple of {STRIDE}")
        if self.width % 4 or self.width % self.heads or self.word_width % 2:
            raise ValueError(f"width {self.width} cannot be shared by {self.heads} heads in fours")
        if not isinstance(self.clip["vision_cfg"].get("layers"), (list, tuple)):
            raise ValueError("its CLIP has no ModifiedResNet (RN50, RN101)")
        if not 3 <= self.words <= self.clip["text_cfg"]["context_length"]:
            raise ValueError(f"{self.words} words are not read by its CLIP")
        if not 0 <= self.dropout < 1 or min(self.stages) < 1:
            raise ValueError("dropout and channels are out of range")

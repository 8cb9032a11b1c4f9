"""Networks that are loaded when they are first asked: where every answer is known, never."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar, cast

from slip.errors import WeightsError
from slip.types import DenseEncoder, Encoder, Features, GuidedProposer, Image, Progress, Proposer, Segment

T = TypeVar("T")


class Late(Generic[T]):
    """What is made when it is first needed, once for all threads; ``progress`` hears of it."""

    def __init__(self, load: Callable[[], T], progress: Progress | None = None) -> None:
        self._load: Callable[[], T] | None = load
        self._progress = progress or (lambda *_: None)
        self._loaded: list[T] = []
        self._lock = Lock()

    def __call__(self) -> T:
        """What ``load`` makes. Raises what it raises, and then tries again at the next call."""
        with self._lock:
            if self._load is not None:
                self._progress("load models", 0, 1)
                self._loaded.append(self._load())
                self._load = None
                self._progress("load models", 1, 1)
        return self._loaded[0]


def unchanged(load: Callable[[], T], name: str, identify: Callable[[], str], known: str) -> Callable[[], T]:
    """``load``, followed by a look whether what it loaded is still what was known.

    Raises WeightsError where ``identify`` no longer tells the identity ``known``: weights that were replaced
    meanwhile would answer in the name of others.
    """

    def loaded() -> T:
        thing = load()
        if identify() != known:
            raise WeightsError(f"{name} changed while it was in use; run again")
        return thing

    return loaded


class LateProposer:
    """A proposer by its name. All else of it is known only when it is loaded.

    guided: whether it wants to be told what is of interest.
    """

    def __init__(
        self, name: str, guided: bool, load: Callable[[], Proposer], progress: Progress | None = None
    ) -> None:
        self.name = name
        self.guided = guided
        self._proposer = Late(load, progress)

    @property
    def image_size(self) -> int:
        """As of the proposer."""
        return self._proposer().image_size

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        """As of the proposer. Raises also what loading it raises."""
        return self._proposer().propose(image, progress)

    def propose_guided(
        self, image: Image, interest: Features, progress: Progress | None = None
    ) -> list[Segment]:
        """As of the proposer, which must be a guided one. Raises also what loading it raises."""
        return cast(GuidedProposer, self._proposer()).propose_guided(image, interest, progress)


class LateEncoder:
    """An encoder by its name. All else of it is known only when it is loaded."""

    def __init__(self, name: str, load: Callable[[], Encoder], progress: Progress | None = None) -> None:
        self.name = name
        self._encoder = Late(load, progress)

    @property
    def image_size(self) -> int:
        """As of the encoder."""
        return self._encoder().image_size

    @property
    def logit_scale(self) -> float:
        """As of the encoder."""
        return self._encoder().logit_scale

    def encode_images(self, crops: Image) -> Features:
        """As of the encoder. Raises also what loading it raises."""
        return self._encoder().encode_images(crops)

    def encode_text(self, texts: Sequence[str]) -> Features:
        """As of the encoder. Raises also what loading it raises."""
        return self._encoder().encode_text(texts)


class LateDenseEncoder(LateEncoder):
    """One that also knows what is where in a picture."""

    def encode_dense(self, image: Image) -> Features:
        """As of the encoder. Raises also what loading it raises."""
        return cast(DenseEncoder, self._encoder()).encode_dense(image)

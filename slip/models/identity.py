"""Which networks exactly: digests of all that may change what they answer, without loading them.

Not of the processor: what the same code computes on another one of the same kind differs in rounding.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from slip.device import Compute
from slip.models.checks import check_encoder, check_proposer, is_named_sam, is_own_clip, named_clip
from slip.models.header import built_in, read_metadata
from slip.options import PROPOSER, ProposeOptions, ProposerName
from slip.types import Progress
from slip.weights import catalogue, digest_of

PACKAGE = Path(__file__).parent.parent

OWN_CODE = ("models", "pipeline", "device.py", "images.py", "masks.py", "options.py", "types.py")
"""Files and folders of the package whose change may change an answer."""

LIBRARIES = (
    "slip-segment",
    "torch",
    "torchvision",
    "open_clip_torch",
    "segment-anything",
    "transformers",
    "tokenizers",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
)


def proposer_identity(
    sam: str,
    options: ProposeOptions,
    compute: Compute,
    proposer: ProposerName = PROPOSER,
    progress: Progress | None = None,
) -> str:
    """Hex digest of a proposer as ``load_proposer`` loads it. ``progress`` counts bytes of its weights.

    The weights of the catalogue need not be here. Raises UsageError as ``check_proposer`` does,
    WeightsError for a file that cannot be read.
    """
    check_proposer(sam, options, proposer)
    if sam == "tiny":
        weights = _of_own(built_in("sam"), progress)
    elif is_named_sam(sam):
        weights = catalogue()[f"sam/{sam}"].sha256
    else:
        weights = digest_of(Path(sam), progress)
    return _digest(proposer=proposer, weights=weights, options=asdict(options), compute=asdict(compute))


def encoder_identity(
    clip: str, clip_weights: str | None, compute: Compute, progress: Progress | None = None
) -> str:
    """Hex digest of an encoder as ``load_encoder`` loads it. ``progress`` counts bytes of its weights.

    The weights of the catalogue need not be here. Raises UsageError as ``check_encoder`` does,
    WeightsError for a file that cannot be read.
    """
    clip = named_clip(clip)
    check_encoder(clip, clip_weights)
    if is_own_clip(clip):
        weights = _of_own(built_in("clip") if clip == "tiny" else Path(clip), progress)
        return _digest(weights=weights, compute=asdict(compute))
    entry = catalogue().get(f"clip/{clip}/{clip_weights}")
    weights = entry.sha256 if entry else digest_of(Path(str(clip_weights)), progress)
    return _digest(architecture=clip, weights=weights, compute=asdict(compute))


def _of_own(path: Path, progress: Progress | None) -> str:
    """The digest of a checkpoint of SLIP, told as loading tells it where it is missing or damaged."""
    read_metadata(path)
    return digest_of(path, progress)


def _digest(**parts: Any) -> str:
    told = {**parts, "code": own_code(PACKAGE), "libraries": libraries(), "machine": platform.machine()}
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def libraries() -> dict[str, str]:
    """The versions of what computes, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def own_code(package: Path) -> str:
    """Hex digest of the sources that compute."""
    digest = sha256()
    for path in sorted(_sources(package)):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode())
        digest.update(sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _sources(package: Path) -> Iterator[Path]:
    for name in OWN_CODE:
        path = package / name
        yield from path.rglob("*.py") if path.is_dir() else [path]

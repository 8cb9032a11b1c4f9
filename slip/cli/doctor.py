"""``slip doctor``: what is installed, what runs here, which presets are ready."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from slip import __version__
from slip.cli import console
from slip.cli.weights import entries_of
from slip.options import PRESETS, PresetName

LIBRARIES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "segment_anything",
    "opencv-python",
    "numpy",
    "pillow",
    "typer",
)


def doctor() -> None:
    """Show versions, devices, the cache and which presets are ready."""
    rows = [*_versions(), *_devices(), *_cache(), *_presets()]
    console.emit_table(("what", "state"), rows)


def _versions() -> Iterator[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    yield "slip", __version__
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for library in LIBRARIES:
        try:
            yield library, version(library)
        except PackageNotFoundError:
            yield library, "not installed"


def _devices() -> Iterator[tuple[str, str]]:
    from slip.device import available, resolve, resolve_for_sam

    chosen, for_sam = resolve(), resolve_for_sam("vit_b")
    for device in available():
        used = (
            f" (used: {chosen.precision}, published SAMs {for_sam.precision})"
            if device == chosen.device
            else ""
        )
        yield f"device {device}", f"{_device_name(device)}{used}"


def _device_name(device: str) -> str:
    import torch

    if device == "cuda":
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return f"{torch.get_num_threads()} threads" if device == "cpu" else "Apple GPU"


def _cache() -> Iterator[tuple[str, str]]:
    from slip.weights import cache_dir, offline

    folder = cache_dir()
    held = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    size = sum(file.lstat().st_size for file in held)
    yield (
        "cache",
        f"{folder}, {console.megabytes(size)}, {'writable' if _writable(folder) else 'not writable'}",
    )
    yield "SLIP_HOME", os.environ.get("SLIP_HOME", "not set")
    yield "downloads", "forbidden by SLIP_OFFLINE" if offline() else "allowed"


def _writable(folder: Path) -> bool:
    """Whether the folder, or the nearest that exists above it, may be written."""
    existing = next(place for place in (folder, *folder.absolute().parents) if os.access(place, os.F_OK))
    return os.access(existing, os.W_OK | os.X_OK)


def _presets() -> Iterator[tuple[str, str]]:
    for preset in PRESETS:
        lacking = list(_lacking(preset))
        yield f"preset {preset}", f"lacks {', '.join(lacking)}" if lacking else "ready"


def _lacking(preset: PresetName) -> Iterator[str]:
    from slip.weights import is_ready

    yield from (entry.name for entry in entries_of(preset) if not is_ready(entry))
    if not entries_of(preset):
        from slip.models.header import built_in

        yield from (str(built_in(kind)) for kind in ("sam", "clip") if not built_in(kind).is_file())

"""Peak memory of large pictures, by kind and stage, against the picture's own size.

    python -m benchmarks.memory [--megapixels N] [--kind NAME ...]

Each figure is that of a process of its own, above what it held when its libraries were imported. The
picture's own size is 3 bytes a pixel. The stages: decode the file; search it and rank, with the preset
``tiny``; make the pictures of the best segment, each from the picture and the segment alone; and the
whole command, from its start, with every output. One run each; Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL.Image

from benchmarks.timing import machine, markdown

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "RGB JPEG": ("RGB", "JPEG", {"quality": 90}),
    "RGBA PNG": ("RGBA", "PNG", {"compress_level": 1}),
    "16-bit grey PNG": ("I;16", "PNG", {"compress_level": 1}),
    "palette PNG": ("P", "PNG", {"compress_level": 1}),
    "progressive CMYK JPEG": ("CMYK", "JPEG", {"progressive": True, "subsampling": 0}),
    "TIFF of one strip": ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
    "RGBA WebP": ("RGBA", "WEBP", {"quality": 50, "method": 0}),
}
"""Pillow's mode and format, and how it is saved."""

PROMPT = "a circle"
STAGES = ("decode", "search", "mask", "overlay", "cutout", "command")


def draw(kind: str, megapixels: float, path: Path) -> None:
    """Write a picture of a large disc on a ground, both with some texture."""
    mode, format_, options = KINDS[kind]
    side = round((megapixels * 1e6) ** 0.5)
    across = np.linspace(-1, 1, side, dtype=np.float32)
    texture = np.resize(np.random.default_rng(0).integers(0, 12, 997, np.uint8), side)
    level = np.empty((side, side), np.uint8)
    for y in range(side):
        level[y] = np.where(across**2 + across[y] ** 2 < 0.5, 200, 60) + np.roll(texture, y)
    if mode == "I;16":
        picture = PIL.Image.fromarray(level.astype(np.uint16) * 257)
    else:
        picture = PIL.Image.fromarray(level).convert(mode)
    if format_ == "TIFF":
        options = {**options, "tiffinfo": {278: side}}
    picture.save(path, format_, **options)


def peak_memory() -> int:
    """Bytes this process has held at most; what is inherited from its parent does not count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def reporting() -> Iterator[None]:
    """Prints how much the peak grows inside."""
    before = peak_memory()
    yield
    print(json.dumps(peak_memory() - before))


def stage_in_this_process(stage: str, path: Path, megapixels: float) -> None:
    if stage == "decode":
        from slip.images import load_image

        PIL.Image.init()
        with reporting():
            load_image(path, max_megapixels=megapixels + 1)
    elif stage == "search":
        search(path, megapixels)
    elif stage == "command":
        command(path, megapixels)
    else:
        picture_of(stage, megapixels)


def search(path: Path, megapixels: float) -> None:
    """From the decoded picture on; what decoding took is given back before."""
    from slip import Slip
    from slip.images import load_image

    slip = Slip.load("tiny")
    slip.segment(np.zeros((64, 64, 3), np.uint8), PROMPT)
    image = load_image(path, max_megapixels=megapixels + 1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    with reporting():
        slip.segment(image, PROMPT)


def picture_of(stage: str, megapixels: float) -> None:
    """A picture of results, as PNG, of a segment that covers nearly everything."""
    from slip import drawing
    from slip.images import encode_png
    from slip.types import Box, Segment

    side = round((megapixels * 1e6) ** 0.5)
    image = np.zeros((side, side, 3), np.uint8)
    image[::7, ::5] = 200
    patch = np.ones((side - 40, side - 40), bool)
    patch[::97] = False
    segment = Segment(patch, Box(20, 20, side - 20, side - 20), (side, side))
    makers: dict[str, Callable[[], Any]] = {
        "mask": lambda: drawing.mask_picture(segment),
        "overlay": lambda: drawing.overlay(image, segment, PROMPT),
        "cutout": lambda: drawing.cutout(image, segment),
    }
    drawing.overlay(image[:64, :64].copy(), Segment(patch[:9, :9], Box(0, 0, 9, 9), (64, 64)), PROMPT)
    with reporting():
        encode_png(makers[stage]())


def command(path: Path, megapixels: float) -> None:
    """The whole of ``slip segment``, with what Python and its libraries take."""
    from slip.cli.app import run

    limit = ["--max-megapixels", str(megapixels + 1)]
    outputs = ["--always", "--overlay", "--cutout", "--json", "-o", str(path.parent), "--overwrite"]
    sys.argv = ["slip", "segment", str(path), PROMPT, "--preset", "tiny", "--no-cache", *limit, *outputs]
    sys.stdout, kept = sys.stderr, sys.stdout
    code = run()
    sys.stdout = kept
    if code not in (0, 1):
        raise SystemExit(f"slip segment ended with exit code {code}")
    print(json.dumps(peak_memory()))


def measure(stage: str, path: Path, megapixels: float) -> int:
    """Peak bytes of a stage, in a process of its own."""
    asked = ["--stage", stage, "--megapixels", str(megapixels), "--picture", str(path)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", *asked], capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return int(done.stdout.splitlines()[-1])


def show(stages: Sequence[str], title: str, path: Path, megapixels: float) -> None:
    """A table with a row a stage."""
    own = round((megapixels * 1e6) ** 0.5) ** 2 * 3
    peaks = {stage: measure(stage, path, megapixels) for stage in stages}
    rows = [(stage, f"{peak / 1e6:.0f} MB", f"{peak / own:.2f}") for stage, peak in peaks.items()]
    print(markdown((title, "peak", "of the picture's own size"), rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=float, default=100.0)
    parser.add_argument("--kind", action="append", choices=[*KINDS])
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--picture", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage_in_this_process(arguments.stage, arguments.picture, arguments.megapixels)
        return
    print(machine("slip-segment", "pillow", "numpy", "torch"))
    kinds = arguments.kind or [*KINDS]
    with TemporaryDirectory() as folder:
        path = Path(folder, "large.picture")
        for kind in kinds:
            draw(kind, arguments.megapixels, path)
            show(("decode", "command"), kind, path, arguments.megapixels)
        show(("search", "mask", "overlay", "cutout"), "once decoded", path, arguments.megapixels)


if __name__ == "__main__":
    main()

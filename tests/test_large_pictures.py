"""Pictures are converted tile by tile: pixel for pixel as whole, and within the memory that is promised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slip.images
from slip.images import load_with_alpha
from slip.types import Image, Mask

MOST, WEBP = 14, 20
"""Bytes a pixel that load_image promises, of all other formats and of WebP."""

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "La", "RGBa", "CMYK", "YCbCr", "HSV", "I", "I;16", "RGBX")

MEASURE = """
import sys
from slip.images import load_image
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
image = load_image(sys.argv[1])
print(peak() - before, image.size // 3)
"""


def plain(picture: PIL.Image.Image) -> tuple[Image, Mask | None]:
    """What load_with_alpha says, with every step over the whole picture."""
    picture = PIL.ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        grey = np.asarray(picture)
        return np.dstack([(grey >> 8).astype(np.uint8)] * 3), None
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    mask = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        mask = np.asarray(picture)[..., 3] > 127
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture)
    told = mask is not None and mask.any() and not mask.all()
    return np.array(picture.convert("RGB")), mask if told else None


def noise(mode: str, width: int, height: int, seed: int) -> PIL.Image.Image:
    """Every value anywhere."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    if mode == "I;16":
        return PIL.Image.fromarray(values[..., :2].copy().view(np.uint16)[..., 0])
    if mode == "I":
        return PIL.Image.fromarray(values[..., :2].copy().view(np.uint16)[..., 0].astype(np.int32))
    if mode in ("La", "RGBa"):
        return PIL.Image.fromarray(values).convert("LA" if mode == "La" else "RGBA").convert(mode)
    if mode == "P":
        picture = PIL.Image.fromarray(values[..., 0], "P")
        picture.putpalette(values.tobytes()[:768].ljust(768, b"\x55"))
        picture.info["transparency"] = bytes(range(256))
        return picture
    size = {"1": 0, "L": 1, "LA": 2, "PA": 2, "RGB": 3, "YCbCr": 3, "HSV": 3}.get(mode, 4)
    if mode in ("1", "PA"):
        return PIL.Image.fromarray(values).convert("LA" if mode == "PA" else "L").convert(mode)
    return PIL.Image.frombytes(mode, (width, height), values[..., :size].tobytes())


@pytest.mark.parametrize("mode", MODES)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.integers(1, 200))
def test_tiles_make_the_picture_that_the_whole_makes(
    mode: str, width: int, height: int, orientation: int, tile: int
) -> None:
    picture = noise(mode, width, height, seed=width * height)
    picture.getexif()[0x0112] = orientation
    expected, shown = plain(picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slip.images, "_TILE", tile)
        image, mask = load_with_alpha(picture)
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous and image.shape == expected.shape
    assert (mask is None) == (shown is None)
    if mask is not None:
        np.testing.assert_array_equal(mask, shown)


def drawn(mode: str, side: int) -> PIL.Image.Image:
    """Stripes."""
    rows = PIL.Image.linear_gradient("L").resize((1, side))
    return (rows.convert("I").convert("I;16") if mode == "I;16" else rows.convert(mode)).resize(
        (side, side), 0
    )


def turned() -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return exif


SIDE = 4000
FAST = {"compress_level": 1}
LARGE: dict[str, tuple[int, str, int, str, dict[str, object]]] = {
    "RGB JPEG": (8, "RGB", SIDE, "JPEG", {"exif": turned()}),
    "RGBA PNG": (9, "RGBA", SIDE, "PNG", FAST),
    "RGBA PNG of 100 megapixels": (9, "RGBA", 10_000, "PNG", FAST),
    "16-bit grey": (6, "I;16", SIDE, "PNG", FAST),
    "palette": (6, "P", SIDE, "PNG", {**FAST, "transparency": 0}),
    "progressive CMYK": (MOST, "CMYK", SIDE, "JPEG", {"progressive": True, "subsampling": 0}),
    "TIFF of one strip": (MOST, "RGBA", SIDE, "TIFF", {"compression": "tiff_lzw", "tiffinfo": {278: SIDE}}),
    "GIF": (6, "P", SIDE, "GIF", {}),
    "WebP": (WEBP, "RGBA", SIDE, "WEBP", {"quality": 50, "method": 0}),
}
"""Bytes a pixel, the mode, the side in pixels, the format, and how it is saved."""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak of a process by itself")
@pytest.mark.parametrize("kind", LARGE)
def test_decoding_stays_within_its_bytes_a_pixel(kind: str, tmp_path: Path) -> None:
    bound, mode, side, format_, options = LARGE[kind]
    drawn(mode, side).save(tmp_path / "large", format_, **options)
    size = (tmp_path / "large").stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "large")], capture_output=True, check=True
    )
    peak, pixels = map(int, done.stdout.split())
    assert pixels == side * side
    assert peak < pixels * bound + size + 32 * 2**20

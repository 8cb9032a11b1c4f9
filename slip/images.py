"""Pictures in, as ``uint8 (H, W, 3)`` RGB, and PNG and JPEG out."""

from __future__ import annotations

import ctypes
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import PIL._imaging
import PIL.ExifTags
import PIL.Image
import PIL.ImageFile
from numpy.typing import NDArray

from slip.errors import ImageError, SlipWarning, UsageError
from slip.options import MAX_MEGAPIXELS
from slip.types import Box, Image, Mask

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF")
"""What is opened: formats whose decoders notice a truncated file and start no other program."""

_UPRIGHT = {
    2: (1, -1, False),
    3: (-1, -1, False),
    4: (-1, 1, False),
    5: (1, 1, True),
    6: (1, -1, True),
    7: (-1, -1, True),
    8: (-1, 1, True),
}
"""For each EXIF orientation, how the file goes through the upright picture: down, right, axes swapped."""

MAX_SCANS = 100
"""Of a JPEG; programs that write them make a dozen."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Begins a segment that tells its length, or is the end; nothing in the data of a scan looks like it."""
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"

_TILE = 1 << 20
"""How many pixels are converted together."""

Source = str | os.PathLike[str] | bytes | NDArray[Any] | PIL.Image.Image
"""A path, the bytes of a picture file, an array or a Pillow image."""

_PILLOW_LIMIT = threading.RLock()


def load_image(source: Source, *, max_megapixels: float = MAX_MEGAPIXELS) -> Image:
    """Decode a picture to a contiguous ``uint8 (H, W, 3)`` RGB array, upright by its EXIF orientation.

    Arrays are ``uint8``: ``(H, W)`` grey, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA; an RGB array
    that is contiguous is returned as it is, not copied. 16-bit grey keeps its high byte. What is
    transparent is composited on white, so that colours hidden under alpha never show. Of an
    animation or a file of several pages the first frame is used, with a SlipWarning; of a Pillow
    image the frame it stands at.

    max_megapixels: refuse to decode larger pictures, judged by their header. What is in memory
    already, an array or a Pillow image that was not read from a file, has no limit.

    While it decodes, a picture takes no more memory than its file and 14 bytes a pixel, a WebP 20, the
    result included: 1.4 GB for 100 megapixels, and the usual RGB JPEG half of that. A pipe is read to
    its end; one that nobody writes to is empty, and never waited for.

    Raises ImageError for what cannot be read whole, UsageError for a limit that is not positive.
    """
    image, _, animated = _load_any(source, max_megapixels)
    if animated:
        warnings.warn(f"{_name(source)} has several frames; the first is used", SlipWarning, stacklevel=2)
    return image


def load_with_alpha(source: Source, *, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[Image, Mask | None]:
    """Decode a picture as load_image does, and tell what its alpha channel shows, ``bool (H, W)``.

    The mask is where alpha is above 127; None where the source has no transparency and where the
    mask would be full or empty, which says nothing about a subject. Of an animation the first frame
    is used, without a warning: this serves whole data sets. Raises as load_image does.
    """
    image, mask, _ = _load_any(source, max_megapixels)
    return image, None if mask is None or mask.all() or not mask.any() else mask


def _load_any(source: Source, max_megapixels: float) -> _Loaded:
    if not max_megapixels > 0:
        raise UsageError(f"max_megapixels is {max_megapixels}; give a number above 0")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, PIL.Image.Image):
        return _from_pillow(source, max_megapixels)
    if isinstance(source, bytes):
        return _decode(BytesIO(source), _name(source), max_megapixels, empty=not source)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(source, max_megapixels)
    raise ImageError(
        f"{type(source).__name__} is not a picture; give a path, bytes, uint8 array or PIL image"
    )


def _name(source: Source) -> str:
    return repr(str(Path(source))) if isinstance(source, (str, os.PathLike)) else "the picture"


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode ``uint8 (H, W)``, ``(H, W, 3)`` RGB, ``(H, W, 4)`` RGBA or ``uint16 (H, W)`` as PNG.

    Raises UsageError for other arrays.
    """
    eight_bit = pixels.dtype == np.uint8 and (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    )
    sixteen_bit = pixels.dtype == np.uint16 and pixels.ndim == 2
    if not (eight_bit or sixteen_bit) or pixels.size == 0:
        raise UsageError(
            f"cannot write a {pixels.dtype} array of shape {pixels.shape} as PNG; "
            "give uint8 (H, W), (H, W, 3) or (H, W, 4), or uint16 (H, W)"
        )
    out = BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
    return out.getvalue()


def encode_jpeg(pixels: Image, quality: int = 82) -> bytes:
    """Encode ``uint8 (H, W, 3)`` RGB as JPEG, for pictures that only people look at."""
    out = BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def resize(pixels: Image, width: int, height: int) -> Image:
    """Squashed to the size; each axis by area averaging where it shrinks, by bicubic where it grows.

    pixels: ``uint8 (H, W)`` or ``(H, W, 3)``; the result has the same layout.
    """
    import cv2

    shrunk = min(width, pixels.shape[1]), min(height, pixels.shape[0])
    pixels = cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA)
    grown: Image = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    return grown


class _Loaded(NamedTuple):
    """What was decoded. mask: where alpha is above 127, None without transparency."""

    image: Image
    mask: Mask | None
    animated: bool = False


def _from_array(array: NDArray[Any]) -> _Loaded:
    if array.dtype != np.uint8:
        raise ImageError(f"the picture is a {array.dtype} array; {_array_remedy(array.dtype)}")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            f"the picture is an array of shape {array.shape}; give (H, W), (H, W, 3) RGB or (H, W, 4) RGBA"
        )
    _check_size((array.shape[1], array.shape[0]), "the picture")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.shape[2] == 4:
        picture = PIL.Image.fromarray(np.ascontiguousarray(array))
        with _above_limit(picture):
            return _upright(picture, "the picture")
    return _Loaded(np.ascontiguousarray(array), None)


def _array_remedy(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return "convert values of 0 to 1 with (array * 255).round().astype(numpy.uint8)"
    if dtype == np.uint16:
        return "convert it with (array >> 8).astype(numpy.uint8)"
    if dtype == np.bool_:
        return "convert it with array.astype(numpy.uint8) * 255"
    return "scale it to 0 to 255 and convert it with .astype(numpy.uint8)"


def _from_pillow(picture: PIL.Image.Image, max_megapixels: float) -> _Loaded:
    from_file = isinstance(picture, PIL.ImageFile.ImageFile)
    _check_size(picture.size, "the picture", max_megapixels if from_file else math.inf)
    with _refusing("the picture"), _above_limit(picture):
        picture.load()
        return _upright(picture, "the picture")


def _from_path(source: str | os.PathLike[str], max_megapixels: float) -> _Loaded:
    path = Path(source)
    name = _name(source)
    try:
        with open(path, "rb", opener=_at_once) as stream:
            return _decode(stream, name, max_megapixels, empty=not stream.peek(1))
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist; check the path") from None
    except PermissionError:
        if path.is_dir():  # what Windows says of a folder
            raise ImageError(f"{name} is a folder; name a picture in it") from None
        raise ImageError(f"no permission to read {name}; change its permissions or copy it") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder; name a picture in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot read {name}: {reason}; check the path") from error


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe without waiting for who writes to it: where nobody does, it is empty."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(descriptor, True)
    return descriptor


def _decode(stream: IO[bytes], name: str, max_megapixels: float, *, empty: bool) -> _Loaded:
    if empty:
        raise ImageError(f"{name} is empty; save or download it again")
    with _refusing(name):
        picture = _open(stream)
        _check_size(picture.size, name, max_megapixels)
        _check_scans(picture, name)
        with _above_limit(picture):
            picture.load()
            animated = getattr(picture, "is_animated", False) and picture.format != "MPO"
            return _upright(picture, name)._replace(animated=animated)


def _open(stream: IO[bytes]) -> PIL.Image.Image:
    """Read the header only; Pillow's own size limit stands aside for ours."""
    PIL.Image.init()
    _quiet_libtiff()
    with _pillow_limit(None):
        return PIL.Image.open(stream, formats=[name for name in FORMATS if name in PIL.Image.OPEN])


@cache
def _quiet_libtiff() -> None:
    """What it would print on standard error comes as an exception, too."""
    with suppress(OSError, AttributeError):  # where it is linked in another way
        ctypes.CDLL(PIL._imaging.__file__).TIFFSetErrorHandler(None)


def _check_scans(picture: PIL.Image.Image, name: str) -> None:
    """Refuse a JPEG that is drawn over and over: each scan, a few bytes, takes the time of all pixels."""
    if picture.format not in ("JPEG", "MPO") or not isinstance(picture, PIL.ImageFile.ImageFile):
        return
    stream = cast(IO[bytes], picture.fp)
    before = stream.tell()
    if sum(marker == _JPEG_SCAN for marker in _jpeg_markers(stream)) > MAX_SCANS:
        raise ImageError(f"{name} is a JPEG of more than {MAX_SCANS} scans; save it as PNG")
    stream.seek(before)


def _jpeg_markers(stream: IO[bytes]) -> Iterator[bytes]:
    """Those that begin a segment, up to the end of the first picture."""
    place = 2
    while len(block := _read_at(stream, place, 4096)) > 1:
        found = _JPEG_MARKER.search(block)
        if found is None:
            place += len(block) - 1
        elif found.group() == _JPEG_END:
            return
        else:
            yield found.group()
            place += found.end()
            place += int.from_bytes(_read_at(stream, place, 2), "big")


def _read_at(stream: IO[bytes], place: int, size: int) -> bytes:
    stream.seek(place)
    return stream.read(size)


@contextmanager
def _above_limit(picture: PIL.Image.Image) -> Iterator[None]:
    """A picture above Pillow's limit has passed ours: it takes its turn to be decoded."""
    with _PILLOW_LIMIT:
        limit = PIL.Image.MAX_IMAGE_PIXELS
    above = limit is not None and picture.width * picture.height > limit
    with _pillow_limit(None) if above else nullcontext():
        yield


def _check_size(size: tuple[int, int], name: str, max_megapixels: float = math.inf) -> None:
    width, height = size
    if width * height == 0:
        raise ImageError(f"{name} is {width} x {height}: it has no pixels; give one that has")
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise ImageError(
            f"{name} is {width} x {height}, {megapixels:.4g} megapixels; the limit is {max_megapixels:g}; "
            "raise it with --max-megapixels (max_megapixels of load_image in Python) or shrink the picture"
        )


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one ImageError; decoders raise far more than OSError."""
    try:
        yield
    except ImageError:
        raise
    except PIL.UnidentifiedImageError:
        raise ImageError(f"{name} is not a picture that can be read; save it as JPEG or PNG") from None
    except MemoryError:
        raise ImageError(f"not enough memory to decode {name}; shrink the picture") from None
    except Exception as error:
        raise ImageError(f"{name} is damaged or incomplete; save or download it again") from error


@contextmanager
def _pillow_limit(pixels: int | None) -> Iterator[None]:
    """Pillow's limit is a global: one thread at a time changes it, and puts it back."""
    with _PILLOW_LIMIT:
        before = PIL.Image.MAX_IMAGE_PIXELS
        PIL.Image.MAX_IMAGE_PIXELS = pixels
        try:
            yield
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = before


def _upright(picture: PIL.Image.Image, name: str) -> _Loaded:
    """The pixels of a decoded picture. Tile by tile: converted whole, it would be held several times."""
    down, right, swapped = _orientation(picture)
    size = picture.size if swapped else picture.size[::-1]
    image, mask = np.empty((*size, 3), np.uint8), None
    for box in _tiles(*picture.size):
        colours, shown = _rgb(picture.crop((box.x1, box.y1, box.x2, box.y2)), name)
        _as_stored(image, down, right, swapped)[box.slices] = colours
        if shown is not None:
            mask = np.empty(size, bool) if mask is None else mask
            _as_stored(mask, down, right, swapped)[box.slices] = shown
    return _Loaded(image, mask)


def _orientation(picture: PIL.Image.Image) -> tuple[int, int, bool]:
    try:
        return _UPRIGHT[picture.getexif()[PIL.ExifTags.Base.Orientation]]
    except Exception:  # none, or a damaged EXIF block, which says nothing about the pixels
        return 1, 1, False


def _tiles(width: int, height: int) -> Iterator[Box]:
    columns = min(width, _TILE)
    rows = _TILE // columns
    for top, left in product(range(0, height, rows), range(0, width, columns)):
        yield Box(left, top, min(left + columns, width), min(top + rows, height))


def _as_stored(upright: NDArray[Any], down: int, right: int, swapped: bool) -> NDArray[Any]:
    """A view of an upright array with the rows and columns of the file."""
    turned = upright[::down, ::right]
    return turned.swapaxes(0, 1) if swapped else turned


def _rgb(picture: PIL.Image.Image, name: str) -> tuple[Image, Mask | None]:
    """Colours on white; the mask is None without transparency. Each pixel is converted by itself."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _deep_grey(picture, name)
    if picture.mode == "LAB":
        raise ImageError(f"{name} has LAB colours, which are not read; convert it to RGB")
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    mask = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        mask = np.asarray(picture.getchannel("A")) > 127
        white = PIL.Image.new("RGBA", picture.size, "white")
        picture = PIL.Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB")), mask


def _deep_grey(picture: PIL.Image.Image, name: str) -> tuple[Image, Mask | None]:
    """16-bit grey to 8 bit by its high byte, as Pillow does for 16-bit colour."""
    grey = np.asarray(picture)
    if picture.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise ImageError(f"{name} has grey values beyond 16 bit; convert it to 8 or 16 bit")
    transparent, mask = picture.info.get("transparency"), None
    if isinstance(transparent, int):
        mask = grey != transparent
        grey = np.where(mask, grey, 65535)
    return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2), mask

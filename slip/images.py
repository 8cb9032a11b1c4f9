"""Pictures in, as ``uint8 (H, W, 3)`` RGB, and PNG and JPEG out."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageFile
from numpy.typing import NDArray

from slip.errors import ImageError, SlipWarning, UsageError
from slip.options import MAX_MEGAPIXELS
from slip.types import Image, Mask

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF")
"""What is opened: formats whose decoders notice a truncated file and start no other program."""

_Turn = PIL.Image.Transpose
_UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
"""What undoes each EXIF orientation."""

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
        return _rgb(PIL.Image.fromarray(np.ascontiguousarray(array)), "the picture")
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
    with _refusing("the picture"):
        _load(picture)
        return _upright(picture, "the picture")


def _from_path(source: str | os.PathLike[str], max_megapixels: float) -> _Loaded:
    path = Path(source)
    name = _name(source)
    try:
        with path.open("rb") as stream:
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


def _decode(stream: IO[bytes], name: str, max_megapixels: float, *, empty: bool) -> _Loaded:
    if empty:
        raise ImageError(f"{name} is empty; save or download it again")
    with _refusing(name):
        picture = _open(stream)
        _check_size(picture.size, name, max_megapixels)
        _load(picture)
        animated = getattr(picture, "is_animated", False) and picture.format != "MPO"
        return _upright(picture, name)._replace(animated=animated)


def _open(stream: IO[bytes]) -> PIL.Image.Image:
    """Read the header only; Pillow's own size limit stands aside for ours."""
    PIL.Image.init()
    with _pillow_limit(None):
        return PIL.Image.open(stream, formats=[name for name in FORMATS if name in PIL.Image.OPEN])


def _load(picture: PIL.Image.Image) -> None:
    """Decode; a picture above Pillow's limit has passed ours, and takes its turn."""
    with _PILLOW_LIMIT:
        limit = PIL.Image.MAX_IMAGE_PIXELS
    above = limit is not None and picture.width * picture.height > limit
    with _pillow_limit(None) if above else nullcontext():
        picture.load()


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
    try:
        orientation = picture.getexif().get(PIL.ExifTags.Base.Orientation)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        orientation = None
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    return _rgb(picture, name)


def _rgb(picture: PIL.Image.Image, name: str) -> _Loaded:
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _deep_grey(picture, name)
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    mask = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        mask = np.asarray(picture.getchannel("A")) > 127
        white = PIL.Image.new("RGBA", picture.size, "white")
        picture = PIL.Image.alpha_composite(white, picture)
    return _Loaded(np.array(picture.convert("RGB")), mask)


def _deep_grey(picture: PIL.Image.Image, name: str) -> _Loaded:
    """16-bit grey to 8 bit by its high byte, as Pillow does for 16-bit colour."""
    grey = np.asarray(picture)
    if picture.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise ImageError(f"{name} has grey values beyond 16 bit; convert it to 8 or 16 bit")
    transparent, mask = picture.info.get("transparency"), None
    if isinstance(transparent, int):
        mask = grey != transparent
        grey = np.where(mask, grey, 65535)
    return _Loaded(np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2), mask)

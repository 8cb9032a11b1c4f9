"""Results as pictures, as a report, and as files that appear whole or not at all."""

from __future__ import annotations

import errno
import math
import os
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageEnhance
import PIL.ImageFont
from numpy.typing import NDArray

from slip.errors import OutputError, UsageError
from slip.masks import encode_rle
from slip.types import Box, Image, Prediction, Segment

ACCENT = (255, 176, 0)
"""Amber, from a palette that colour-blind readers can tell apart."""
PLATE = (24, 24, 28)
MIN_TEXT = 11
"""Pixels; a caption that would be smaller is left out."""


def mask_picture(segment: Segment) -> NDArray[np.uint8]:
    """The mask as ``uint8 (H, W)``: 255 in the segment, 0 outside."""
    picture = np.zeros(segment.image_size, np.uint8)
    picture[segment.box.slices][segment.patch] = 255
    return picture


def cutout(image: Image, segment: Segment) -> NDArray[np.uint8]:
    """The segment alone, ``uint8 (H, W, 4)`` RGBA at the picture's size; outside it all four are 0.

    Raises UsageError for a segment of a picture of another size.
    """
    _check_belongs(image, segment)
    out = np.zeros((*segment.image_size, 4), np.uint8)
    part = out[segment.box.slices]
    part[segment.patch, :3] = image[segment.box.slices][segment.patch]
    part[segment.patch, 3] = 255
    return out


def index_picture(
    segments: Sequence[Segment], image_size: tuple[int, int]
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """All segments in one ``(H, W)`` picture: 0 is background, i + 1 is ``segments[i]``.

    Smaller segments are drawn over larger ones, and of equals the earlier over the later.
    ``uint8`` for up to 255 segments, else ``uint16``. Raises UsageError for more than 65,535
    segments and for one of a picture of another size.
    """
    if len(segments) > 65535:
        raise UsageError(f"{len(segments)} segments do not fit an index picture; give at most 65535")
    out = np.zeros(image_size, np.uint8 if len(segments) <= 255 else np.uint16)
    for index in sorted(range(len(segments)), key=lambda i: (-segments[i].area, -i)):
        segment = segments[index]
        _check_belongs(out, segment)
        out[segment.box.slices][segment.patch] = index + 1
    return out


def overlay(image: Image, segment: Segment, caption: str = "") -> Image:
    """The picture with the segment tinted and outlined and everything else dimmed, ``uint8 (H, W, 3)``.

    caption: written beside the segment where it fits and the built-in font has all its letters.
    Raises UsageError for a segment of a picture of another size.
    """
    _check_belongs(image, segment)
    picture = PIL.Image.fromarray(image)
    line = max(2.0, math.sqrt(picture.width * picture.height) / 220)
    margin = math.ceil(3 * line)
    box = segment.box
    window = Box(
        max(0, box.x1 - margin),
        max(0, box.y1 - margin),
        min(picture.width, box.x2 + margin),
        min(picture.height, box.y2 + margin),
    )
    distance = _distance_to_edge(segment, window, line)
    out = PIL.ImageEnhance.Brightness(PIL.ImageEnhance.Color(picture).enhance(0.35)).enhance(0.5)
    near = picture.crop((window.x1, window.y1, window.x2, window.y2))
    tinted = PIL.Image.blend(near, PIL.Image.new("RGB", near.size, ACCENT), 0.18)
    corner = (window.x1, window.y1)
    out.paste(tinted, corner, _alpha(distance + 0.5))
    out.paste(PLATE, (*corner, window.x2, window.y2), _alpha((line + 1.5 - np.abs(distance)) * 0.55))
    out.paste(ACCENT, (*corner, window.x2, window.y2), _alpha(line / 2 + 0.5 - np.abs(distance)))
    _write_caption(out, caption, box, margin)
    return np.array(out)


def _distance_to_edge(segment: Segment, window: Box, line: float) -> NDArray[np.float32]:
    """Signed distance to the outline in pixels, positive inside, smoothed and cut off beyond the line."""
    import cv2

    inside = segment.mask[window.slices].view(np.uint8)
    to_outside = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    to_inside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = np.clip(to_outside - to_inside, -4 * line, 4 * line) + np.where(inside, -0.5, 0.5)
    smooth: NDArray[np.float32] = cv2.GaussianBlur(
        distance.astype(np.float32), (0, 0), max(0.7, line / 3), borderType=cv2.BORDER_REPLICATE
    )
    return smooth


def _alpha(opacity: NDArray[np.floating]) -> PIL.Image.Image:
    return PIL.Image.fromarray((np.clip(opacity, 0, 1) * 255).round().astype(np.uint8))


def _write_caption(picture: PIL.Image.Image, caption: str, box: Box, gap: int) -> None:
    """Above the box, else below it, else at the top of the picture; nowhere if it does not fit."""
    text = " ".join(caption.split())
    font = _font(text, picture.size)
    if font is None:
        return
    draw = PIL.ImageDraw.Draw(picture)
    pad = round(font.size * 0.4)
    width, height = math.ceil(font.getlength(text)) + 2 * pad, math.ceil(font.size * 1.2) + pad
    if height > picture.height:
        return
    left = max(0, min(box.x1, picture.width - width))
    above, below = box.y1 - gap - height, box.y2 + gap
    top = above if above >= 0 else below if below + height <= picture.height else 0
    draw.rounded_rectangle((left, top, left + width - 1, top + height - 1), radius=pad, fill=PLATE)
    draw.text((left + pad, top + height / 2), text, font=font, fill="white", anchor="lm")


def _font(text: str, size: tuple[int, int]) -> PIL.ImageFont.FreeTypeFont | None:
    """The built-in font at the size that suits the picture and lets the text fit its width."""
    wanted = max(14.0, min(size) * 0.035)
    font = PIL.ImageFont.load_default(wanted)
    if not text or not isinstance(font, PIL.ImageFont.FreeTypeFont):
        return None
    missing = bytes(font.getmask("\uffff"))
    if any(bytes(font.getmask(letter)) == missing for letter in set(text)):
        return None
    needed = font.getlength(text) + 0.8 * wanted + 2
    fitting = min(wanted, math.floor(wanted * size[0] / needed))
    return font.font_variant(size=fitting) if fitting >= MIN_TEXT else None


def report(
    prediction: Prediction,
    *,
    models: Mapping[str, str],
    options: Mapping[str, Any],
    all_segments: bool = False,
) -> dict[str, Any]:
    """A prediction as a dict for JSON: plain numbers, and null for what is not finite or not there.

    ``image_size`` is [h, w], ``box`` xyxy pixels with x2 and y2 exclusive, ``timings`` seconds.
    The best segment's fields stand at the top, the others' in ``runners_up``, best first.

    all_segments: add each mask as a COCO run-length code, ``rle``.
    """
    ranked = [
        {"score": segment.score, **describe(segment, with_rle=all_segments)}
        for segment in prediction.segments
    ]
    nothing = dict.fromkeys(("score", "box", "area", "predicted_iou", "stability"))
    if all_segments:
        nothing["rle"] = None
    told: dict[str, Any] = _plain(
        {
            "prompt": prediction.prompt,
            "image_size": prediction.image_size,
            "found": prediction.found,
            **(ranked[0] if ranked else nothing),
            "runners_up": ranked[1:],
            "timings": prediction.timings,
            "models": models,
            "options": options,
        }
    )
    return told


def describe(segment: Segment, *, with_rle: bool) -> dict[str, Any]:
    """A segment without its score, for JSON: ``box``, ``area``, ``predicted_iou``, ``stability``.

    with_rle: add the mask as a COCO run-length code, ``rle``.
    """
    box = segment.box
    fields = {
        "box": [box.x1, box.y1, box.x2, box.y2],
        "area": segment.area,
        "predicted_iou": _plain(segment.predicted_iou),
        "stability": _plain(segment.stability),
    }
    return {**fields, "rle": encode_rle(segment.mask)} if with_rle else fields


def _plain(value: Any) -> Any:
    """The value in JSON's own types."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return str(value)


def _check_belongs(image: NDArray[Any], segment: Segment) -> None:
    if image.shape[:2] != segment.image_size:
        raise UsageError(
            f"the segment is of a picture of size {segment.image_size}, this one is {image.shape[:2]}; "
            "use resize_segment or the picture it was found in"
        )


def check_outputs(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse outputs that could not be written, before any work is done for them.

    Raises UsageError for an output that exists (unless ``overwrite``) or is named twice, and
    OutputError for a folder that is missing or not writable, or a path that is not a plain file.
    """
    seen: set[str] = set()
    for path in paths:
        target = _target(path)
        if os.path.normcase(target) in seen:
            raise UsageError(f"{_name(path)} is named for two outputs; give each its own path")
        seen.add(os.path.normcase(target))
        try:
            if _is_there(path) and not overwrite:
                raise _exists(path)
            if not target.parent.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(target.parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise _unwritable(path, error) from error


def write_file(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write ``data`` so that ``path`` holds all of it or is untouched, even when interrupted.

    The bytes go to a temporary file in the same folder, which is then given its name. Through a
    symbolic link the file it leads to is written. Raises UsageError where ``path`` exists (unless
    ``overwrite``) and OutputError where it cannot be written.
    """
    target = _target(path)
    temporary = target.with_name(f".slip-{secrets.token_hex(8)}.part")
    try:
        _is_there(path)
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        _publish(temporary, target, overwrite)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_file(path: Path) -> None:
    """Remove a file; one that is not there is none to remove. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _publish(temporary: Path, target: Path, overwrite: bool) -> None:
    """Give the finished file its name; without ``overwrite`` only if nobody has it, in one step."""
    if overwrite:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: take the name, then fill it
        target.open("xb").close()
        try:
            temporary.replace(target)
        except BaseException:
            target.unlink()
            raise


def _unwritable(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(f"no space left to write {_name(path)}; make room or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"no permission to write {_name(path)}; choose another folder")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return OutputError(f"cannot write {_name(path)}: its folder does not exist; create it first")
    return OutputError(f"cannot write {_name(path)}: {error.strerror or error}; choose another path")


def _is_there(path: Path) -> bool:
    """Whether a plain file has this path. Raises OutputError for anything else there, OSError."""
    try:
        mode = _target(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISDIR(mode):
        raise OutputError(f"{_name(path)} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{_name(path)} is a device or a pipe; name a plain file")
    return True


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _exists(path: Path) -> UsageError:
    return UsageError(f"{_name(path)} exists; replace it with --overwrite or choose another path")


def _name(path: Path) -> str:
    return repr(str(path))

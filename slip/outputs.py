"""Results as a report, and as files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from slip.errors import OutputError, UsageError
from slip.masks import encode_rle
from slip.types import Prediction, Segment


def report(
    prediction: Prediction,
    *,
    models: Mapping[str, str],
    options: Mapping[str, Any],
    all_segments: bool = False,
) -> dict[str, Any]:
    """A prediction as a dict for JSON: plain numbers, and null for what is not finite or not there.

    ``image_size`` is [h, w], ``box`` xyxy pixels with x2 and y2 exclusive, ``timings`` seconds.
    The best segment's fields stand at the top, a match (``found``) or not, the others' in
    ``runners_up``, best first.

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
            "min_score": prediction.min_score,
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

    The last two are left out where nothing was estimated: a network of parts tells none of them.

    with_rle: add the mask as a COCO run-length code, ``rle``.
    """
    box = segment.box
    estimated = {"predicted_iou": segment.predicted_iou, "stability": segment.stability}
    fields = {
        "box": [box.x1, box.y1, box.x2, box.y2],
        "area": segment.area,
        **{name: _plain(value) for name, value in estimated.items() if value is not None},
    }
    return {**fields, "rle": encode_rle(segment.mask)} if with_rle else fields


def to_json(value: Mapping[str, Any]) -> bytes:
    """JSON for people and programs: indented, in UTF-8, ending in a line break."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


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


def write_file(path: Path, data: bytes | Iterable[bytes], *, overwrite: bool) -> None:
    """Write ``data``, whole or piece by piece, so that ``path`` holds all of it or is untouched.

    Also when interrupted: the bytes go to a temporary file in the same folder, which is then given
    its name. Through a symbolic link the file it leads to is written. Raises UsageError where
    ``path`` exists (unless ``overwrite``) and OutputError where it cannot be written.
    """
    target = _target(path)
    temporary = target.with_name(f".slip-{secrets.token_hex(8)}.part")
    try:
        _is_there(path)
        with temporary.open("xb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
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


def write_files(
    contents: Iterable[tuple[Path, bytes]],
    planned: Iterable[Path] = (),
    *,
    overwrite: bool,
    equal_is_ours: bool = False,
) -> list[Path]:
    """Write each file whole; returns their paths. Raises UsageError, OutputError.

    planned: with ``overwrite``, those of them that are not written are removed: an earlier result
    must not pass for this one.
    equal_is_ours: a file that is there with the same bytes counts as written.
    """
    written = []
    for path, data in contents:
        if not (equal_is_ours and _holds(path, data)):
            write_file(path, data, overwrite=overwrite)
        written.append(path)
    if overwrite:
        for path in planned:
            if path not in written:
                remove_file(path)
    return written


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def append_file(path: Path, data: bytes) -> None:
    """Add ``data`` to the end of a file, all of it or nothing. Raises OutputError."""
    try:
        with path.open("ab", buffering=0) as file:
            start = file.tell()
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, "no space left")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(start)
                raise
    except OSError as error:
        raise OutputError(
            f"cannot write {_name(path)}: {error.strerror or error}; make room, then run the same again"
        ) from None


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

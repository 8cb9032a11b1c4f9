"""What a name given by the user stands for."""

from __future__ import annotations

import glob
import os
from pathlib import Path

STANDARD = "-"
"""The name of standard input and output."""


def is_folder(name: str | Path) -> bool:
    """Whether there is a folder; False also for what cannot be a path."""
    try:
        return Path(name).is_dir()
    except OSError:  # a name too long, or a folder that may not be read
        return False


def is_file(name: str | Path) -> bool:
    """Whether there is a plain file; False also for what cannot be a path."""
    try:
        return Path(name).is_file()
    except OSError:
        return False


def is_pattern(name: str) -> bool:
    """Whether a name stands for files that the shell has not looked for.

    Brackets alone also stand in names of files: they make a pattern only where files match it.
    """
    if not glob.has_magic(name) or os.path.lexists(name):
        return False
    return bool(set("*?") & set(name)) or any(glob.iglob(name))  # noqa: PTH207, as it may be absolute


def absolute(path: Path) -> Path:
    """Without ``..``, and as it is named, through links or not."""
    return Path(os.path.abspath(path))  # noqa: PTH100

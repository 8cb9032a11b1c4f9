"""What the user names: a folder, a file, or nothing that is there."""

from __future__ import annotations

from pathlib import Path

from slip.errors import ImageError


def kind_of(source: str) -> int:
    """The mode of what has this path, 0 where there is nothing. Raises ImageError."""
    if not source:
        return 0
    try:
        return Path(source).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot read {source!r}: {reason}; check the path") from error

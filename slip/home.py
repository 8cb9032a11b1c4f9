"""Where what SLIP keeps has its place."""

from __future__ import annotations

import os
from pathlib import Path

from slip.errors import UsageError


def home() -> Path:
    """``SLIP_HOME``, else the platform's cache folder.

    Raises UsageError for a ``SLIP_HOME`` below the home of nobody.
    """
    if told := os.environ.get("SLIP_HOME"):
        try:
            return Path(told).expanduser()
        except RuntimeError:
            raise UsageError(f"SLIP_HOME {told!r} names no user's home; set it to a folder") from None
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("slip", appauthor=False))

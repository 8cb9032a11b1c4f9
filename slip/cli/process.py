"""How the process of a command begins and ends without waiting for what nobody needs.

Importing torch and its like makes 700,000 objects. Searching them for garbage while they are made, and
taking them apart one by one at the end, would be a good part of a short search.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep the garbage collector off while things are made that stay, and their like out of its sight."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


class QuickEnd:
    """Ends the process as ``sys.exit`` does, but leaves the memory to the system.

    Threads are waited for, exit handlers registered after this was made run, and the standard streams are
    flushed. Other files must have been closed.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._leave)

    def exit(self, code: int) -> NoReturn:
        """End with an exit code."""
        self._code = code
        sys.exit(code)

    def _leave(self) -> None:
        """Leave at once; where a stream cannot be flushed, the interpreter goes on to tell of it."""
        if self._code is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return
        os._exit(self._code)

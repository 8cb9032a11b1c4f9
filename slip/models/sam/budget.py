"""How much is computed together."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Budget(NamedTuple):
    """Bytes or numbers held together: on a CPU what stays in its cache, elsewhere a bound of memory.

    On a CPU the best of those tried (AMD EPYC, 32 MB of cache); no other device was measured.
    """

    on_cpu: int
    elsewhere: int

    def fitting(self, each: int, device: torch.device) -> int:
        """How many of size ``each`` are computed together, 1 or more."""
        return max(1, (self.on_cpu if device.type == "cpu" else self.elsewhere) // each)

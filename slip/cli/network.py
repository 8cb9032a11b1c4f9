"""``slip segment --method``: a network of parts in the place of SLIP's own search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slip import __version__
from slip.batch.plan import Maker
from slip.cli import console
from slip.cli.arguments import flag_given
from slip.cli.process import without_collector
from slip.cli.search import Approach, Search
from slip.errors import UsageError
from slip.options import PART_THRESHOLD
from slip.wording import plain

if TYPE_CHECKING:
    from slip.options import Device, Method, PartNetwork, Precision
    from slip.pipeline.part_finder import PartFinder
    from slip.types import Progress

OF_SLIP = (
    *("preset", "sam", "clip", "clip_weights", "no_cache"),
    *("proposer", "points", "points_per_side", "pred_iou_thresh", "stability_thresh", "overlap"),
    *("view", "templates", "negatives", "min_score", "always"),
)
"""The options of SLIP's own search."""
OF_MANY_SEGMENTS = ("top_k", "all_matches", "assign", "label_all")
"""The options for which a prompt needs several segments to choose from."""
NAMED = 5
"""How many of the parts that a network was taught are named."""


def choose_search(context: typer.Context, method: Method, weights: str | None, search: Search) -> Approach:
    """``search``, or that of a network with its device and precision.

    Raises UsageError where an option is given that the method does not have, or none that it needs.
    """
    if method == "slip":
        if weights is not None:
            raise UsageError(
                "--weights goes with --method cris, clipseg or maskrcnn; choose one or leave it out"
            )
        return search
    for name in (*OF_SLIP, *OF_MANY_SEGMENTS):
        if flag := flag_given(context, name):
            why = f", since {method} answers with one mask" if name in OF_MANY_SEGMENTS else ""
            raise UsageError(f"{flag} goes with --method slip{why}; choose that or leave it out")
    if weights is None:
        raise UsageError(
            f"--method {method} needs --weights NAME; make them with slip finetune DATASET --method {method} "
            "-o NAME"
        )
    return NetworkSearch(method, weights, search.device, search.precision)


@dataclass(frozen=True)
class NetworkSearch:
    """The options of a network of parts. weights: the path of a checkpoint, with or without its suffix."""

    method: PartNetwork
    weights: str
    device: Device
    precision: Precision

    guided = False
    remedy = "try other words, or weights that were taught this part"

    @cached_property
    def path(self) -> Path:
        """The checkpoint. Raises WeightsError where there is none, or one of another network."""
        from slip.models.checks import named_result

        return named_result(self.weights, self.method)

    def check(self) -> None:
        """Refuse what can be refused before anything is loaded. Raises WeightsError."""
        _ = self.path

    def fetch(self, progress: Progress) -> None:
        """There is nothing to fetch."""

    def start(self, progress: Progress = lambda stage, done, total: None) -> tuple[PartFinder, Maker]:
        """The network, and what reports say of it. Raises UsageError, WeightsError."""
        from slip.pipeline.part_finder import load_parts

        with without_collector():
            finder = load_parts(self.method, self.weights, self.device, self.precision, progress)
        options = {**self._ways(), **finder.computing}
        return finder, Maker(__version__, finder.models, options)

    def settings(self) -> dict[str, Any]:
        """All that decides the results, without loading anything. Raises WeightsError."""
        from slip.weights import digest_of

        chosen = {"device": self.device, "precision": self.precision}
        return {"slip": __version__, **self._ways(), "digest": digest_of(self.path), **chosen}

    def note(self, *prompts: str) -> None:
        """Say what the network was taught, where a prompt names something else."""
        if self.method == "maskrcnn":  # which says so itself
            return
        from slip.models.header import read_training

        training = read_training(self.path) or {}
        parts = [str(part) for part in training.get("parts") or ()]
        if not parts or all(_is_known(prompt, parts) for prompt in prompts):
            return
        more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
        named = ", ".join(parts[:NAMED])
        console.note(f"{self.path.name} was taught the parts of {training.get('data')}: {named}{more}")

    def _ways(self) -> dict[str, Any]:
        return {"method": self.method, "weights": str(self.path), "threshold": PART_THRESHOLD}


def _is_known(prompt: str, parts: Iterable[str]) -> bool:
    """Whether a prompt names a part, be it with more words before or with fewer: "wing", "red bird wing"."""
    asked = f" {plain(prompt)}"
    known = [f" {plain(part)}" for part in parts]
    return any(part.endswith(asked) or asked.endswith(part) for part in known)

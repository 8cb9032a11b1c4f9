"""``slip finetune --method``: networks that are taught the parts of pictures.

Importing this imports torch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from slip.cli import console
from slip.cli.training import emit_results, one_voice, percent
from slip.cli.training_arguments import worker_count
from slip.cli.training_display import display
from slip.data.parts import SIDES, PartSet, open_parts
from slip.device import resolve
from slip.options import Device, PartNetwork, PartOptions, Precision
from slip.training.methods import begin_with
from slip.training.parts import check_options, train_parts
from slip.training.report import UNREADABLE
from slip.training.run import Run

NAMED = 3
"""Kinds of faults that are named on the terminal."""


@dataclass(frozen=True)
class Faults:
    """What a set of parts could not use: name and reason, for the run's folder."""

    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PartLesson:
    """Which network learns from what, and where. The fields are the options of the command."""

    dataset: str
    method: PartNetwork
    start: str
    weights: str | None
    device: Device
    precision: Precision
    workers: int | None

    def give(self, out: Path, options: PartOptions, *, resume: bool, overwrite: bool) -> str:
        """Train, and tell how it ended. Raises what reading the data and ``train_parts`` raise."""
        check_options(options)
        run = Run(out)
        with one_voice(run.folder):
            if not resume:
                run.check_free(overwrite=overwrite)
            compute = resolve(self.device, self.precision)
            begin = begin_with(self.method, self.start, self.weights)
            data = self.read(run.folder)
            left_out = Faults(tuple((fault.where, fault.kind) for fault in data.faults))
            with display(run, left_out) as watch:
                best = train_parts(
                    data,
                    self.method,
                    begin,
                    out,
                    options,
                    compute,
                    resume=resume,
                    overwrite=overwrite,
                    workers=worker_count(self.workers),
                    watch=watch,
                )
        emit_results(out, run.folder)
        right = percent(best["validation_precision"], best["trials"])
        return (
            f"validation IoU at the network's size {best['validation_iou']:.3f}, above .5 in {right} "
            f"questions, best in epoch {best['epoch']} of {options.epochs}"
        )

    def read(self, folder: Path) -> PartSet:
        """The data set; says what it holds, and what of it is broken. folder: that of the run."""
        with console.progress() as progress:
            data = open_parts(self.dataset, progress)
        held = ", ".join(f"{len(data.pictures(side)):,} {side}" for side in SIDES if data.pictures(side))
        console.tell(f"{data.name}: {held} pictures, {len(data.parts):,} parts")
        if data.faults:
            kinds = Counter(fault.kind for fault in data.faults).most_common()
            named = ", ".join(f"{kind} {count:,}" for kind, count in kinds[:NAMED])
            console.note(f"{len(data.faults):,} left out: {named}; all in {str(folder / UNREADABLE)!r}")
        return data

"""What the commands that train share: their data, their other models, and how they end.

Importing this imports torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slip.cli import console
from slip.cli.training_arguments import NO_SEGMENTS, worker_count
from slip.cli.training_display import display
from slip.data.parts import PartCrops, is_parts
from slip.data.pictures import PictureSet
from slip.data.sets import open_set
from slip.device import resolve, resolve_for_sam
from slip.errors import UsageError
from slip.evaluation.intervals import wilson
from slip.models import check_proposer, load_proposer
from slip.options import SPLIT, Device, Precision, SplitOptions, propose_options
from slip.training.distributed import leads
from slip.training.report import UNREADABLE
from slip.training.run import Record, Run
from slip.types import Proposer

NAMED = 3
"""How many of the files left out are named on the terminal."""


@dataclass(frozen=True)
class Lesson:
    """What is taught and where, whatever learns it. The fields are the options of the commands."""

    dataset: str
    caption: str
    held_out: SplitOptions
    segments: str
    device: Device
    precision: Precision
    workers: int | None

    def give(
        self, run: Run, train: Callable[..., Record], *, resume: bool, overwrite: bool
    ) -> tuple[PictureSet, Record]:
        """Train; gives the data set and what ``train`` returns.

        train: ``finetune``, ``train_paper`` or ``train_judge``, with its options.
        Raises what reading the data, loading a SAM and ``train`` raise.
        """
        with one_voice(run.folder):
            self._check_parts()
            if not resume:
                run.check_free(overwrite=overwrite)
            compute = resolve(self.device, self.precision)
            proposer = load_segmenter(self.segments, self.device, self.precision)
            data = self.read(run.folder)
            with display(run, data) as watch:
                result = train(
                    data,
                    out=run.out,
                    compute=compute,
                    proposer=proposer,
                    resume=resume,
                    overwrite=overwrite,
                    watch=watch,
                    **self.common,
                )
        return data, result

    @property
    def common(self) -> dict[str, Any]:
        """What every training is told."""
        workers = worker_count(self.workers)
        return {"caption": self.caption, "held_out": self.held_out, "workers": workers}

    def read(self, folder: Path) -> PictureSet:
        """The data set; says what it holds, and what is left out of it.

        folder: that of the run. Raises UsageError, ImageError.
        """
        with console.progress() as progress:
            data = open_set(self.dataset, self.caption, progress)
        what = "crops of parts" if isinstance(data, PartCrops) else "pictures"
        console.tell(f"{data.name}: {len(data.pictures):,} {what} of {len(data.classes):,} classes")
        own = (picture.group for picture in data.pictures if picture.side is None)
        copies = [size for size in Counter(own).values() if size > 1]
        if copies:
            console.note(
                f"{sum(copies):,} pictures are copies of one another, or nearly: "
                f"{len(copies):,} groups, none of them on both sides of the split"
            )
        if data.unreadable:
            named = "; ".join(f"{name} {reason}" for name, reason in data.unreadable[:NAMED])
            more = f"; all in {str(folder / UNREADABLE)!r}" if len(data.unreadable) > NAMED else ""
            console.note(f"{len(data.unreadable):,} left out: {named}{more}")
        return data

    def _check_parts(self) -> None:
        """Refuse what a set with masks of parts has no use for. Raises UsageError."""
        if not is_parts(self.dataset):
            return
        if self.segments != NO_SEGMENTS:
            raise UsageError(
                f"--segments are for pictures of whole things, and {self.dataset!r} has masks of parts; "
                "leave it out"
            )
        if self.held_out.validation != SPLIT.validation:
            raise UsageError(f"{self.dataset!r} says itself what is held out; leave --validation out")


@contextmanager
def one_voice(folder: Path) -> Iterator[None]:
    """Under ``torchrun`` rank 0 speaks, and of the others what went wrong there alone.

    After Ctrl-C it says how to go on; ``folder`` is that of the run.
    """
    console.speak(leads())
    try:
        yield
    except KeyboardInterrupt:
        if folder.is_dir():
            console.tell(f"{str(folder)!r} keeps what was reached; go on with --resume")
        raise
    except UsageError:  # of options and data, which all ranks share
        raise
    except Exception:
        console.speak(True)
        raise


def load_segmenter(segments: str, device: Device, precision: Precision) -> Proposer | None:
    """The SAM that ``--segments`` names; None for none. Raises UsageError, WeightsError."""
    if segments == NO_SEGMENTS:
        return None
    options = propose_options(segments)
    check_proposer(segments, options)
    compute = resolve_for_sam(segments, device, precision)
    with console.progress() as progress:
        return load_proposer(segments, options, compute, progress)


def emit_results(*paths: Path) -> None:
    """Paths on standard output, once. Raises OutputError."""
    if leads():
        console.emit_paths(paths)


def percent(share: float, trials: int) -> str:
    """A share of ``trials`` with its 95 % interval, as "92.9 % (90.9 to 94.5) of 800"."""
    low, high = wilson(round(share * trials), trials)
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {trials:,}"

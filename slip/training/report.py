"""What a training leaves in its run's folder for people to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slip.charts import confusion_picture, confusions, line_chart
from slip.images import encode_png
from slip.outputs import write_file
from slip.training.run import Record, Run

UNREADABLE = "unreadable.txt"
CURVES = {
    "loss": {"train_loss": "training", "validation_loss": "validation"},
    "accuracy": {"validation_accuracy": "validation"},
    "IoU": {"validation_iou": "mean IoU", "validation_precision": "share above .5"},
}
"""The charts of a training: what each shows by its name in the metrics, and what that is called."""


class LeftOut(Protocol):
    """A data set, as far as what it could not use goes."""

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Name and reason."""
        ...


def leave_unreadable(folder: Path, data: LeftOut) -> None:
    """Write a name and a reason a line, where files were left out. Raises OutputError."""
    if data.unreadable:
        lines = "".join(f"{name}\t{' '.join(reason.split())}\n" for name, reason in data.unreadable)
        write_file(folder / UNREADABLE, lines.encode("utf-8", "surrogateescape"), overwrite=True)


def leave_curves(run: Run) -> None:
    """Draw the epochs that the metrics tell of to ``curves.png``. Raises OutputError."""
    epochs = [record for record in run.records() if "train_loss" in record]
    told = {name for record in epochs for name in record}
    charts = [
        line_chart(
            {called: _points(epochs, figure) for figure, called in figures.items() if figure in told},
            f"{run.out.stem}: {what}",
            "epoch",
            what,
        )
        for what, figures in CURVES.items()
        if told & figures.keys()
    ]
    write_file(run.folder / "curves.png", encode_png(np.concatenate(charts)), overwrite=True)


def leave_confusion(run: Run, matrix: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Write ``confusion.png`` and ``confusion.json``.

    matrix: ``int (C, C)``, true class x judged class. Raises OutputError.
    """
    told = {
        "trials": int(matrix.sum()),
        "right": int(np.trace(matrix)),
        "confused": [
            {"true": true, "judged": judged, "times": times, "trials": trials}
            for true, judged, times, trials in confusions(matrix, classes)
        ],
        "classes": list(classes),
        "matrix": matrix.tolist(),
    }
    picture = encode_png(confusion_picture(matrix, classes))
    write_file(run.folder / "confusion.json", (json.dumps(told) + "\n").encode(), overwrite=True)
    write_file(run.folder / "confusion.png", picture, overwrite=True)


def _points(epochs: Sequence[Record], figure: str) -> list[tuple[float, float]]:
    return [(record["epoch"], record[figure]) for record in epochs if figure in record]

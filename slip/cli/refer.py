"""``slip eval --method``: how well methods find the parts of pictures by text."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from slip import __version__
from slip.cli import console
from slip.cli.arguments import flag_given
from slip.errors import SlipWarning, UsageError
from slip.options import (
    PAPER_VIEW,
    PRESET,
    Device,
    Overlap,
    Precision,
    PresetName,
    ProposeOptions,
    ProposerName,
    View,
)

if TYPE_CHECKING:
    from slip.cli.contenders import Contest
    from slip.data.parts import PartPicture, PartSet
    from slip.evaluation.referring.answers import Answer
    from slip.evaluation.referring.journal import Journal
    from slip.evaluation.referring.summary import Summary

Side = Literal["test", "validation", "train", "all"]

OF_COMPOSITES = (
    "count",
    "seed",
    "validation",
    "split_seed",
    "asked",
    "protocol",
    "judge",
    "judge_view",
    "clip",
)
"""The options of composites, which are not made of pictures with parts."""
OF_SLIP = (
    "preset",
    "sam",
    "proposer",
    "points",
    "points_per_side",
    "pred_iou_thresh",
    "stability_thresh",
    "overlap",
    "view",
)
"""The options of SLIP's search, which networks do not have."""


@dataclass(frozen=True)
class Models:
    """How models are chosen and used. ask: how a SAM is asked, by what it is loaded by."""

    preset: PresetName | None
    sam: str | None
    ask: Callable[[str], ProposeOptions]
    proposer: ProposerName
    overlap: Overlap
    view: View
    device: Device
    precision: Precision


def check_given(context: typer.Context, dataset: str, methods: Sequence[str], side: Side | None) -> None:
    """Raise UsageError for options that do not go together, and for a set of parts without methods."""
    if methods:
        searched = any(method.partition("=")[0].startswith("slip") for method in methods)
        for name in OF_COMPOSITES:
            _refuse(context, name, "is for composites of labelled pictures and does not go with --method")
        for name in () if searched else OF_SLIP:
            _refuse(context, name, "goes with --method slip or slip-best")
        return
    if side in ("test", "train"):
        raise UsageError(f"--split {side} is for sets of parts; choose validation or all")
    from slip.data.parts import is_parts

    if is_parts(dataset):
        raise UsageError(
            f"{dataset!r} is a set of parts; name what is to be measured with --method, as in --method slip "
            "--method cris=NAME"
        )


def _refuse(context: typer.Context, name: str, why: str) -> None:
    if flag := flag_given(context, name):
        raise UsageError(f"{flag} {why}; leave it out")


def refer(dataset: str, methods: Sequence[str], side: Side | None, output: Path | None, how: Models) -> str:
    """Measure methods on a set of parts; returns what to tell at the end. Raises SlipError."""
    from slip.cli.contenders import Contest, choose_methods
    from slip.cli.entrants import Wanted
    from slip.data.parts.critters import CRITTERS_PARTS
    from slip.evaluation.folder import check_folder

    if output:
        check_folder(output)
    preset = how.preset or ("tiny" if dataset == CRITTERS_PARTS else PRESET)
    chosen = choose_methods(methods, preset, how.sam)
    models = list(dict.fromkeys(one.model for one in chosen if one.model))
    propose = how.ask(models[0].sam if models else "tiny")
    searched = how.proposer, propose, how.overlap, how.view
    contest = Contest(chosen, Wanted(models, *searched, None, PAPER_VIEW, how.device, how.precision))
    contest.check()
    data = _read(dataset)
    side = side or ("test" if data.pictures("test") else "validation")
    pictures = _pictures(data, side)
    if side != "all":
        contest.check_trained(data)
    folder = output or Path(f"eval-{data.name}")
    check_folder(folder)
    summary, written = _measure(contest, data, side, pictures, folder)
    _tell(summary)
    console.emit_paths(written)
    return f"{len(summary.methods) * summary.triples} answers"


def _read(dataset: str) -> PartSet:
    """The set; what of it is broken is told."""
    from slip.data.parts import open_parts

    with console.progress() as progress:
        data = open_parts(dataset, progress)
    if data.faults:
        kinds = Counter(fault.kind for fault in data.faults)
        told = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
        console.note(f"{len(data.faults)} faults in the set, left out: {told}; slip data shows them")
    return data


def _pictures(data: PartSet, side: Side) -> list[PartPicture]:
    """Those of a side, or of all. Raises UsageError where there is none."""
    from slip.data.parts import SIDES

    wanted = SIDES if side == "all" else (side,)
    pictures = [picture for one in wanted for picture in data.pictures(one)]
    if not pictures:
        there = [one for one in SIDES if data.pictures(one)]
        raise UsageError(
            f"{data.name} has no pictures for --split {side}; choose {', '.join(there) or 'another set'}"
        )
    return pictures


def _measure(
    contest: Contest, data: PartSet, side: Side, pictures: Sequence[PartPicture], folder: Path
) -> tuple[Summary, list[Path]]:
    """Load the models, ask what is not asked yet, write the results."""
    from slip.evaluation.referring.examples import Gallery
    from slip.evaluation.referring.journal import Journal
    from slip.evaluation.referring.loop import evaluate
    from slip.evaluation.referring.report import report
    from slip.evaluation.referring.summary import by_method, summarise
    from slip.evaluation.referring.summary import to_json as summary_to_json
    from slip.outputs import to_json, write_files

    run: dict[str, Any] = {
        "slip": __version__,
        "data": data.name,
        "digest": data.digest,
        "side": side,
        "pictures": len(pictures),
        "parts": [part.category for part in data.parts],
        **contest.describe(data),
    }
    with console.progress() as progress:
        contenders = contest.load(progress)
        journal = Journal.open(folder, run)
        answers = _go_on(lambda: evaluate(pictures, data, contenders, journal, progress), journal)
        summary = summarise(run, answers, journal.seconds)
        page = report(summary, Gallery(pictures, data).of(by_method(run, answers)))
    results = folder / "results.json", folder / "report.html"
    contents = zip(results, (to_json(summary_to_json(summary)), page), strict=True)
    return summary, [*journal.paths, *write_files(contents, overwrite=True)]


def _go_on(measure: Callable[[], list[Answer]], journal: Journal) -> list[Answer]:
    """The answers; broken off by Ctrl-C, what is kept is told. What is warned of, is told once."""
    kept = console.kept_if_broken_off("answers", journal.answers, journal.folder)
    with kept, warnings.catch_warnings():
        warnings.simplefilter("once", SlipWarning)
        return measure()


def _tell(summary: Summary) -> None:
    """The figures on stderr, after what a reader of them must know."""
    from slip.evaluation.referring.tables import main_tables, notes

    console.tell_figures(notes(summary), main_tables(summary))

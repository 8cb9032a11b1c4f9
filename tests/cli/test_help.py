from __future__ import annotations

from pathlib import Path

import pytest
from cli.runner import run, run_python

import slip
from slip import options

WIDE = {"COLUMNS": "200", "TERMINAL_WIDTH": "200", "NO_COLOR": "1"}
HEAVY = {"torch", "cv2", "numpy", "PIL", "open_clip", "rich"}


def test_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.code, done.lines, done.stderr) == (0, [f"slip {slip.__version__}"], "")


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    text = done.stdout.decode()
    assert done.code == 0
    assert all(
        f"\n  {command} " in text
        for command in ("segment", "masks", "finetune", "judge", "weights", "doctor")
    )


def test_alone_is_help_on_stderr(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    assert "Usage: slip" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in ("segment", "masks", "finetune", "judge", "weights")),
    ],
)
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["slip", *{arguments!r}]
from slip.cli.app import main
try:
    main()
finally:
    print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    done = run_python(code, cwd=tmp_path)
    drawn = {"rich"} if arguments[0] in ("segment", "masks", "finetune", "judge") else set()
    assert (done.code, set(done.stderr.split())) == (0, drawn)


def test_completion_imports_nothing_heavy(tmp_path: Path) -> None:
    done = run(
        cwd=tmp_path,
        env={"_SLIP_COMPLETE": "complete_bash", "COMP_WORDS": "slip seg", "COMP_CWORD": "1"},
    )
    assert (done.code, done.lines) == (0, ["segment"])
    code = """
import os, sys
os.environ |= {"_SLIP_COMPLETE": "complete_bash", "COMP_WORDS": "slip segment --", "COMP_CWORD": "2"}
sys.argv = ["slip"]
from slip.cli.app import main
try:
    main()
finally:
    print(*sorted({"torch", "cv2", "numpy"} & set(sys.modules)), file=sys.stderr)
"""
    done = run_python(code, cwd=tmp_path)
    assert "--overlay" in done.lines
    assert done.stderr.split() == []


def test_defaults_are_those_of_the_options(tmp_path: Path) -> None:
    text = " ".join(run("segment", "--help", cwd=tmp_path, env=WIDE).stdout.decode().split())
    panels = ("Output", "Models", "Proposals", "Ranking")
    assert all(f"─ {panel} ─" in text for panel in panels)
    usual, tiny = options.PROPOSE, options.OWN_PROPOSE["tiny"]
    shown = [
        f"({usual.points_per_side})",
        f"({usual.pred_iou_thresh}, tiny {tiny.pred_iou_thresh})",
        f"({usual.stability_thresh}, tiny {tiny.stability_thresh})",
        f"({usual.points}, exhaustive with --proposer reference)",
        *(options.PRESET, options.PROPOSER, options.OVERLAP, options.VIEW, options.MAX_MEGAPIXELS),
    ]
    assert [value for value in shown if f"[default: {value}]" not in text] == []
    assert f"{options.TOP_K} in the JSON" in text


def test_defaults_of_trainings_are_those_of_the_options(tmp_path: Path) -> None:
    finetune, judge = (
        " ".join(run(command, "--help", cwd=tmp_path, env=WIDE).stdout.decode().split())
        for command in ("finetune", "judge")
    )
    own, paper = options.FINETUNE, options.PAPER
    ways = {"clip": own, "paper": paper, **options.PART_OPTIONS}
    shown = [
        *(
            f"({', '.join(f'{way} {getattr(given, name):g}' for way, given in ways.items())})"
            for name in ("epochs", "batch", "rate")
        ),
        *(
            own.loss,
            own.schedule,
            own.warmup,
            own.lock,
            own.mix,
            options.SPLIT.validation,
            options.SPLIT.seed,
        ),
        *(options.PRESET, options.CAPTION, f"({paper.embed_dim})"),
    ]
    assert [value for value in shown if f"[default: {value}]" not in finetune] == []
    for name in ("epochs", "batch", "rate", "image_size"):
        told = ", ".join(f"{recipe} {getattr(judge, name)}" for recipe, judge in options.JUDGES.items())
        assert f"[default: ({told})]" in judge

"""The paper's search: its table, and that it goes on where it was interrupted."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training.shapes import Shapes
from training.small_paper import SHAPE
from training.test_paper import StopAt

from slip.device import Compute
from slip.errors import UsageError
from slip.models import load_encoder
from slip.options import PAPER, PAPER_EMBED_DIMS, PAPER_RATES, SplitOptions
from slip.training.grid import PUBLISHED, Grid, Outcome, leave_table, run_grid, table, title
from slip.training.loop import Interrupted, Watch
from slip.training.run import Run

CPU = Compute("cpu", "fp32")
ONE_EPOCH = replace(PAPER, epochs=1, batch=9)


def search(out: Path, rates: tuple[float, ...] = (1e-3, 1e-4), **more: Any) -> Grid:
    given: dict[str, Any] = {"options": ONE_EPOCH, "rates": rates, "embed_dims": (8,), "shape": SHAPE, **more}
    return run_grid(Shapes(), out, CPU, held_out=SplitOptions(0.25, 1), **given)


class Shown:
    """Which cells were trained, and a Watch that stops one of them."""

    def __init__(self, stop: str = "") -> None:
        self.trained: list[str] = []
        self.stop = stop

    @contextmanager
    def __call__(self, run: Run) -> Iterator[Watch]:
        self.trained.append(run.out.stem)
        yield StopAt(1) if run.out.stem == self.stop else Watch()


def test_a_search_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    out, first, second, third = tmp_path / "birds.safetensors", Shown("0.0001-8"), Shown(), Shown()
    with pytest.raises(Interrupted):
        search(out, show=first)
    folder = tmp_path / "birds.grid"
    assert first.trained == ["0.001-8", "0.0001-8"]
    assert len(json.loads((folder / "grid.json").read_text())["outcomes"]) == 1
    assert (folder / "0.0001-8.run" / "checkpoint.pt").is_file()
    assert not (folder / "0.001-8.run" / "checkpoint.pt").exists()
    assert not out.exists()

    grid = search(out, resume=True, show=second)
    assert second.trained == ["0.0001-8"]
    unbroken = search(tmp_path / "unbroken.safetensors")
    assert grid.outcomes == unbroken.outcomes
    assert load_encoder(str(tmp_path / "birds"), None, CPU).encode_text(["red"]).shape == (1, 8)
    assert not list(folder.glob("*.safetensors")) and not list(folder.glob("*/checkpoint.pt"))

    assert search(out, resume=True, show=third).outcomes == grid.outcomes
    assert third.trained == []
    with pytest.raises(UsageError, match="started otherwise: cells"):
        search(out, rates=(1e-3,), resume=True)
    with pytest.raises(UsageError, match="exists; go on with --resume"):
        search(out)


def test_a_cell_whose_loss_is_lost_does_not_end_the_search(tmp_path: Path) -> None:
    grid = search(tmp_path / "birds.safetensors", rates=(1e30, 1e-4))
    lost, kept = grid.outcomes.values()
    assert lost.diverged and lost.validation_loss is None
    assert not kept.diverged and grid.best == kept
    assert [row[1] for row in table(grid)[1]] == ["diverged", f"{kept.validation_loss:.4f} best"]
    assert (tmp_path / "birds.safetensors").is_file()


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "birds.grid").mkdir()
    (tmp_path / "birds.grid" / "diary.txt").touch()
    with pytest.raises(UsageError, match="no folder of a search"):
        search(tmp_path / "birds.safetensors", overwrite=True)
    assert (tmp_path / "birds.grid" / "diary.txt").exists()


def test_a_wrong_rate_is_told_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rate cannot be -1"):
        search(tmp_path / "birds.safetensors", rates=(1e-3, -1.0))
    assert not (tmp_path / "birds.grid").exists()


@pytest.fixture
def whole(tmp_path: Path) -> Grid:
    """Table 1 as if our losses were the published ones, but for one cell that was lost and one not done."""
    cells = tuple((rate, embed_dim) for rate in PAPER_RATES for embed_dim in PAPER_EMBED_DIMS)
    note = {"data": "pokemon", "weights": "random", "options": {"epochs": 100}}
    grid = Grid(tmp_path / "paper.safetensors", cells, note, 2132)
    for rate, embed_dim in cells[:-1]:
        loss = PUBLISHED[rate, embed_dim]
        grid.outcomes[rate, embed_dim] = Outcome(rate, embed_dim, 100, 60, 0.4, loss, 0.7, rate == 0.1)
    grid.folder.mkdir()
    return grid


def test_the_table_is_the_papers(whole: Grid) -> None:
    columns, rows = table(whole)
    assert columns[:3] == ["rate", "P = 128, random weights", "P = 128, published"]
    assert [row[0] for row in rows] == ["1e-05", "0.0001", "0.001", "0.01", "0.1", "0.5"]
    assert rows[1] == ["0.0001", "0.7791 best", "0.7791", "0.7935", "0.7935"]
    assert rows[4][1] == "2.0740 diverged"
    assert rows[5] == ["0.5", "2.0740", "2.074", "-", "2.074"]
    assert "2,132 pictures of pokemon" in title(whole) and "ImageNet and DistilBERT" in title(whole)


def test_the_table_is_kept_to_read_and_to_compute_with(whole: Grid) -> None:
    leave_table(whole)
    text = (whole.folder / "table.txt").read_text().splitlines()
    assert text[0] == title(whole)
    assert text[4].split() == ["0.0001", "0.7791", "best", "0.7791", "0.7935", "0.7935"]
    with (whole.folder / "grid.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    assert {
        "rate": "0.0001",
        "embed_dim": "128",
        "validation_loss": "0.7791",
        "published": "0.7791",
    }.items() <= rows[2].items()
    assert {row["weights"] for row in rows} == {"random"}

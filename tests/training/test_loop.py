import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torch.utils.data import Dataset
from training.shapes import Shapes

from slip.data.splits import split
from slip.device import Compute
from slip.errors import OutputError, UsageError
from slip.training.distributed import Ranks
from slip.training.loop import Interrupted, Moment, Plan, Watch, fit
from slip.training.run import Record, Run

CPU = Compute("cpu", "fp32")
PLAN = Plan(epochs=3, batch=4, seed=1)
STEPS = 5


class Numbers(Dataset[Any]):
    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor]:
        generator = torch.Generator().manual_seed(100 * key[0] + key[1])
        return (torch.randn(3, generator=generator),)


class Line:
    """Learns the sum of three numbers, with dropout, so that the random state matters."""

    def __init__(self, plateau: bool = False, rate: float = 0.05) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.data = Numbers()
        self.size = 4 * STEPS + 2
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate)
        self.scheduler: Any = (
            ReduceLROnPlateau(self.optimiser, patience=0)
            if plateau
            else OneCycleLR(self.optimiser, rate, total_steps=3 * STEPS + 1)
        )
        self.losses = iter([0.5, 0.7, 0.6])

    def loss(self, network: nn.Module, batch: Any, _ranks: Ranks) -> Tensor:
        return (network(batch[0]) - batch[0].sum(1, keepdim=True)).pow(2).mean()

    def validate(self) -> dict[str, float]:
        return {"loss": next(self.losses)}

    def score(self, record: Record) -> tuple[float, ...]:
        return (-float(record["validation_loss"]),)


class StopAt(Watch):
    def __init__(self, step: int, error: type[BaseException] = RuntimeError) -> None:
        self.left = step
        self.error = error
        self.moments: list[Moment] = []

    def step(self, moment: Moment) -> None:
        self.moments.append(moment)
        self.left -= 1
        if not self.left:
            raise self.error


def begin(folder: Path, resume: bool = False, **config: Any) -> Run:
    run = Run(folder / "result.safetensors")
    run.begin(config, split(Shapes().pictures), resume=resume)
    return run


def step_losses(run: Run) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in run.records() if "loss" in record]


def test_a_broken_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    unbroken = begin(tmp_path / "unbroken")
    whole = Line()
    fit(whole, PLAN, unbroken, CPU, Ranks(), Watch())
    broken = begin(tmp_path / "broken")
    with pytest.raises(RuntimeError):
        fit(Line(), PLAN, broken, CPU, Ranks(), StopAt(STEPS + 3))
    again = Line()
    next(again.losses)
    fit(again, PLAN, begin(tmp_path / "broken", resume=True), CPU, Ranks(), Watch())
    assert step_losses(broken) == step_losses(unbroken)
    assert len(step_losses(unbroken)) == 3 * STEPS
    for one, other in zip(whole.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    run = begin(tmp_path)
    task = Line()
    best = fit(task, PLAN, run, CPU, Ranks(), Watch())
    assert (best["epoch"], best["validation_loss"]) == (1, 0.5)
    held = run.load()
    assert held is not None
    assert held["step"] == 3 * STEPS
    assert all(
        torch.equal(held["best_network"][name], value) for name, value in task.network.state_dict().items()
    )
    assert not all(
        torch.equal(held["network"][name], value) for name, value in task.network.state_dict().items()
    )


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run = begin(tmp_path)
    best = fit(Line(), PLAN, run, CPU, Ranks(), Watch())
    lines = run.metrics.read_bytes()
    assert fit(Line(), PLAN, run, CPU, Ranks(), StopAt(1)) == best
    assert run.metrics.read_bytes() == lines


def test_a_plateau_lowers_the_rate(tmp_path: Path) -> None:
    watch = StopAt(-1)
    fit(Line(plateau=True), PLAN, begin(tmp_path), CPU, Ranks(), watch)
    rates = [moment.rate for moment in watch.moments]
    assert rates[0] == rates[2 * STEPS - 1] == 0.05
    assert rates[2 * STEPS] == pytest.approx(0.005)


def test_moments_count_from_one(tmp_path: Path) -> None:
    watch = StopAt(-1)
    fit(Line(), PLAN, begin(tmp_path), CPU, Ranks(), watch)
    counted = [(moment.epoch, moment.step) for moment in watch.moments]
    assert counted == [(epoch, step) for epoch in (1, 2, 3) for step in range(1, STEPS + 1)]
    assert watch.moments[-1].images_per_second > 0


def test_fewer_items_than_a_batch_make_one(tmp_path: Path) -> None:
    run = begin(tmp_path)
    fit(Line(), Plan(epochs=2, batch=1000, seed=1), run, CPU, Ranks(), Watch())
    assert len(step_losses(run)) == 2


def test_workers_change_nothing(tmp_path: Path) -> None:
    alone, helped = begin(tmp_path / "alone"), begin(tmp_path / "helped")
    fit(Line(), PLAN, alone, CPU, Ranks(), Watch())
    fit(Line(), Plan(epochs=3, batch=4, seed=1, workers=2), helped, CPU, Ranks(), Watch())
    assert step_losses(alone) == step_losses(helped)


def test_ctrl_c_finishes_the_step_and_saves(tmp_path: Path) -> None:
    class PressAt(Watch):
        def step(self, moment: Moment) -> None:
            if (moment.epoch, moment.step) == (2, 2):
                import signal

                signal.raise_signal(signal.SIGINT)

    run = begin(tmp_path / "pressed")
    with pytest.raises(Interrupted):
        fit(Line(), PLAN, run, CPU, Ranks(), PressAt())
    held = run.load()
    assert held is not None
    assert held["step"] == STEPS + 3
    again = Line()
    next(again.losses)
    fit(again, PLAN, run, CPU, Ranks(), Watch())
    unbroken = begin(tmp_path / "unbroken")
    fit(Line(), PLAN, unbroken, CPU, Ranks(), Watch())
    assert run.records() == unbroken.records()


def test_a_loss_that_is_lost_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lower rate"):
        fit(Line(rate=1e30), PLAN, begin(tmp_path), CPU, Ranks(), Watch())


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path)
    run.save({"step": 1})

    def full(_state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="make room"):
        run.save({"step": 2})
    assert run.load() == {"step": 1}
    assert [path.name for path in run.folder.iterdir() if path.suffix == ".part"] == []


def test_a_run_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    begin(tmp_path, digest="one", rate=1)
    begin(tmp_path, resume=True, digest="one", rate=1)
    with pytest.raises(UsageError, match="the data set has changed since the run in '.*result.run'"):
        begin(tmp_path, resume=True, digest="two", rate=1)
    with pytest.raises(UsageError, match="started otherwise: rate was 1, is 2;"):
        begin(tmp_path, resume=True, digest="one", rate=2)


def test_a_run_is_not_replaced_unasked(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.save({"step": 1})
    with pytest.raises(UsageError, match="--resume"):
        begin(tmp_path)
    run.begin({}, split(Shapes().pictures), resume=False, overwrite=True)
    assert run.load() is None


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match="damaged"):
        run.load()


def test_rewinding_forgets_later_and_broken_lines(tmp_path: Path) -> None:
    run = begin(tmp_path)
    for step in (1, 2, 3):
        run.log({"step": step, "loss": 0.1})
    with run.metrics.open("a") as file:
        file.write('{"step": 2, "lo')
    run.rewind(2)
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [1, 2]


def test_ranks_share_a_batch_in_order() -> None:
    shares = [Ranks(rank, 2).share([1, 2, 3, 4]) for rank in (0, 1)]
    assert shares == [[1, 2], [3, 4]]
    with pytest.raises(UsageError, match="multiple of 2"):
        Ranks(0, 2).check_batch(5)

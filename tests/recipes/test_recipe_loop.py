from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from recipes.loop import Batch, Endless, Recipe, Schedule, train
from slip.training.run import Run

SCHEDULE = Schedule(steps=12, batch=2, rate=0.1, warmup=3, every=4)


class Numbers(Dataset[tuple[Tensor]]):
    def __getitem__(self, index: int) -> tuple[Tensor]:
        return (torch.randn(3, generator=torch.Generator().manual_seed(index)),)


def run(out: Path, stop_at: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def loss_of(step: int, batch: Batch) -> Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        return (model(batch[0]) - batch[0].sum(1, keepdim=True)).pow(2).mean()

    train(model, loss_of, Numbers(), SCHEDULE, out, seed=1)
    return model


def steps_of(out: Path) -> list[int]:
    return [record["step"] for record in Run(out.with_suffix(".safetensors")).records() if "loss" in record]


def test_a_broken_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    unbroken = run(tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=6)
    resumed = run(tmp_path / "broken")
    for one, other in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert steps_of(tmp_path / "broken") == list(range(1, 13))


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    again = run(tmp_path / "run", stop_at=0)
    assert torch.equal(first.weight, again.weight)


def test_no_item_comes_twice() -> None:
    endless = Endless(Numbers(), 8)
    seen = {tuple(endless[epoch, index][0].tolist()) for epoch in range(3) for index in range(8)}
    assert len(seen) == 24


def test_the_rate_rises_then_falls() -> None:
    recipe = Recipe(nn.Linear(3, 1), lambda _step, batch: batch[0].sum(), Numbers(), SCHEDULE)
    rates = []
    for _ in range(SCHEDULE.steps):
        rates.append(recipe.optimiser.param_groups[0]["lr"])
        recipe.optimiser.step()
        recipe.scheduler.step()
    assert rates[0] < rates[1] < rates[2] == pytest.approx(SCHEDULE.rate)
    assert all(later < earlier for earlier, later in zip(rates[3:], rates[4:], strict=False))
    assert rates[-1] < SCHEDULE.rate / 10

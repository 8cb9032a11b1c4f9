import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from recipes.loop import Batch, Losses, Schedule, rate_at, train

SCHEDULE = Schedule(steps=12, batch=2, rate=0.1, warmup=3, every=4)


class Numbers(Dataset[tuple[Tensor]]):
    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> tuple[Tensor]:
        return (torch.randn(3, generator=torch.Generator().manual_seed(index)),)


def run(out: Path, stop_at: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def losses_of(step: int, batch: Batch) -> Losses:
        if step == stop_at:
            raise KeyboardInterrupt
        return {"loss": (model(batch[0]) - batch[0].sum(1, keepdim=True)).pow(2).mean()}

    train(model, losses_of, Numbers(), SCHEDULE, out)
    return model


def test_a_broken_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    unbroken = run(tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=6)
    resumed = run(tmp_path / "broken")
    for one, other in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, stop_at=0)
    assert torch.equal(first.weight, again.weight)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0]


def test_the_rate_rises_then_falls() -> None:
    rates = [rate_at(step, SCHEDULE) for step in range(SCHEDULE.steps)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(SCHEDULE.rate)
    assert all(later < earlier for earlier, later in zip(rates[3:], rates[4:], strict=False))
    assert rates[-1] < SCHEDULE.rate / 10

"""CRIS learns: its loss by the formula, and two pictures by heart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeParts
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models.cris.load import begin_cris, load_cris
from slip.models.cris.network import Cris
from slip.options import PartOptions
from slip.training.cris import CrisTask, begin
from slip.training.distributed import Ranks
from slip.training.loop import Watch
from slip.training.methods import begin_with
from slip.training.parts import agreement, pixel_loss, targets_of, train_parts

CPU = Compute("cpu", "fp32")
OPTIONS = PartOptions(epochs=1, batch=2, expressions=2, rate=1e-3, image_size=64)


def test_the_loss_by_the_formula() -> None:
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(0, 3, (2, 2, 4, 5)), rng.random((2, 2, 4, 5)) > 0.6
    weights = np.array([[1, 1], [1, 0]])
    each = []
    for picture, place in ((0, 0), (0, 1), (1, 0)):
        for z, inside in zip(logits[picture, place].flat, masks[picture, place].flat, strict=True):
            probability = 1 / (1 + math.exp(-z))
            each.append(-math.log(probability) if inside else -math.log(1 - probability))
    found = pixel_loss(*(torch.tensor(array, dtype=torch.float32) for array in (logits, masks, weights)))
    assert float(found) == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_what_was_not_asked_teaches_nothing() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    pixel_loss(logits, torch.ones(1, 2, 4, 4), torch.tensor([[1.0, 0.0]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].abs().min() > 0 and not logits.grad[0, 1].any()
    assert pixel_loss(logits, torch.ones(1, 2, 4, 4), torch.zeros(1, 2)).item() == 0


def test_two_pictures_by_heart_in_twenty_steps() -> None:
    """After that the batch norms' statistics, which follow slowly, are taken from the two pictures."""
    torch.manual_seed(0)
    network = begin_cris("tiny", None, 64)
    options = PartOptions(batch=2, expressions=3, rate=7e-4)
    task = CrisTask(network, FakeParts(count=3, size=(32, 32)), options, CPU, 0)
    items = zip(task.data[(0, 1)], task.data[(0, 2)], strict=True)
    batch: list[Tensor] = [torch.stack(both) for both in items]
    highest = [float(group["lr"]) for group in task.optimiser.param_groups]
    plan = OneCycleLR(task.optimiser, highest, total_steps=21, pct_start=0.1, cycle_momentum=False)
    network.train()
    for _ in range(20):
        loss = task.loss(network, batch, Ranks())
        task.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
        task.optimiser.step()
        plan.step()
    pixels, masks, tokens, weights = batch
    norms = [part for part in network.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.momentum = 1.0
    with torch.inference_mode():
        network(pixels, tokens)
        logits = network.eval()(pixels, tokens)
    assert agreement(logits, targets_of(masks, logits.shape[-2:]), weights).mean() > 0.9


def test_it_goes_on_from_an_earlier_result_also_at_another_size(tmp_path: Path) -> None:
    data, out = FakeParts(), tmp_path / "parts.safetensors"
    train_parts(data, "cris", begin_with("cris", "tiny", None), out, OPTIONS, CPU)
    options = PartOptions(image_size=96)
    learner = begin(str(tmp_path / "parts"), None)(data, options, CPU, 0, Watch())
    assert isinstance(learner.network, Cris) and learner.network.config.image_size == 96
    assert learner.before is not None and learner.before["data"] == "toys"
    earlier = load_cris(out).state_dict()
    assert all(torch.equal(earlier[name], tensor) for name, tensor in learner.network.state_dict().items())
    with pytest.raises(UsageError, match="choose a multiple of 32"):
        begin(str(out), None)(data, PartOptions(image_size=100), CPU, 0, Watch())


def test_a_new_convolution_learns_at_the_whole_rate() -> None:
    network = begin_cris("tiny", None, 64)
    task = CrisTask(network, FakeParts(), OPTIONS, CPU, 0)
    slow, fast = task.optimiser.param_groups
    assert (slow["lr"], fast["lr"]) == pytest.approx((1e-4, 1e-3))
    known = {id(parameter) for parameter in network.encoders.clip.parameters() if parameter.requires_grad}
    assert {id(parameter) for parameter in slow["params"]} == known
    assert id(network.encoders.connect[0].weight) in {id(parameter) for parameter in fast["params"]}


def test_one_expression_is_too_few_for_batch_norms() -> None:
    options = PartOptions(batch=4, expressions=1, image_size=64)
    with pytest.raises(UsageError, match="one expression a step is too few"):
        CrisTask(begin_cris("tiny", None, 64), FakeParts(count=1), options, CPU, 0)


def test_what_the_clip_was_taught_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slip.models.checkpoint import save_checkpoint
    from slip.models.clip import read_clip

    config, clip = read_clip("tiny")
    told = {"data": "toys", "digest": "9"}
    save_checkpoint(tmp_path / "mine.safetensors", "clip", config, clip.state_dict(), told)
    options = PartOptions(image_size=64)
    learner = begin(str(tmp_path / "mine"), None)(FakeParts(), options, CPU, 0, Watch())
    assert learner.before == told
    assert learner.config["width"] == begin_cris("tiny", None, 64).config.width


def test_base_is_the_published_one_whatever_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.small_cris import save_cris

    save_cris(tmp_path / "base.safetensors", {"data": "toys"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    monkeypatch.setenv("SLIP_HOME", str(tmp_path / "empty"))
    with pytest.raises(WeightsError):
        begin("base", None)(FakeParts(), OPTIONS, CPU, 0, Watch())


def test_validation_asks_every_part_once() -> None:
    data = FakeParts(count=3)
    network = begin_cris("tiny", None, 64)
    task = CrisTask(network, data, OPTIONS, CPU, 0)
    network.eval()
    with torch.inference_mode():
        figures, again = task.validate(), task.validate()
    assert figures == again and set(figures) == {"loss", "iou", "precision"}
    assert sum(int(batch[3].sum()) for batch in task.held_out) == 1 + 2 * 3

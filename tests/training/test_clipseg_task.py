"""Teaching CLIPSeg the parts of pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate
from training.few_parts import few_parts

from slip.data.parts import CritterParts, PartPicture
from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models import clipseg, load_segmenter
from slip.models.clipseg import ClipSeg, Tower, build_clipseg
from slip.options import PART_OPTIONS
from slip.training import clipseg as training
from slip.training.clipseg import Squashed, begin
from slip.training.distributed import Ranks
from slip.training.loop import Watch
from slip.training.parts import Learner, agreement, pixel_loss, train_parts

CPU = Compute("cpu", "fp32")
OPTIONS = replace(PART_OPTIONS["clipseg"], epochs=2, batch=2, image_size=64)
TOY = replace(
    clipseg.SMALL, vision=Tower(64, 128, 4, 2), text=Tower(32, 64, 2, 2), embed_dim=32, decoder_hidden=64
)
"""Small enough for many steps."""


class Wide(CritterParts):
    """The same pictures, cut to another aspect."""

    def load(self, picture: PartPicture) -> Any:
        image, masks = super().load(picture)
        return image[:32], {part: mask[:32] for part, mask in masks.items()}


@pytest.fixture(scope="module")
def data() -> CritterParts:
    return few_parts()


@pytest.fixture
def learner(data: CritterParts, monkeypatch: pytest.MonkeyPatch) -> Learner:
    monkeypatch.setattr(training, "SMALL", TOY)
    return begin("tiny", None)(data, OPTIONS, CPU, 0, Watch())


def test_pictures_are_squashed() -> None:
    wide = Wide(count=1, size=64, species=few_parts().species)
    pictures = wide.pictures("train")
    image, masks = wide.load(pictures[0])
    shown = Squashed(wide, pictures, size=64, pad=(0, 0, 0), length=32, expressions=9)
    pixels, drawn, tokens, weights = shown[0, 0]
    assert pixels.shape == (3, 64, 64) and drawn.shape == (9, 64, 64) and tokens.shape == (9, 32)
    count = len(pictures[0].parts)
    assert weights.tolist() == [1.0] * count + [0.0] * (9 - count)
    for place, part in enumerate(pictures[0].parts):
        tall = masks[part].repeat(2, axis=0)
        assert np.mean((drawn[place].numpy() > 127) != tall) < 0.05
    every_other = pixels.permute(1, 2, 0)[::2].numpy().astype(float)
    assert np.abs(every_other - image).mean() < 16


def test_the_loss_is_the_mean_of_what_was_asked() -> None:
    logits = torch.randn(2, 3, 4, 4)
    masks = (torch.rand(2, 3, 4, 4) > 0.5).to(torch.uint8) * 255
    weights = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    inside = masks > 127
    each = torch.where(inside, -logits.sigmoid().log(), -(1 - logits.sigmoid()).log()).mean((-2, -1))
    expected = (each[0, 0] + each[0, 1] + each[1, 0]) / 3
    assert torch.allclose(pixel_loss(logits, masks / 255, weights), expected, atol=1e-6)
    assert pixel_loss(logits, masks / 255, torch.zeros(2, 3)) == 0


def test_it_learns_two_pictures(learner: Learner) -> None:
    task, network = learner.task, learner.network.train()
    batch = default_collate([task.data[0, index] for index in range(2)])
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(50):
        loss = task.loss(network, batch, Ranks())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1)
        optimiser.step()
        losses.append(loss.item())
    pixels, masks, tokens, weights = batch
    with torch.inference_mode():
        ious = agreement(network(pixels, tokens), masks / 255, weights)
    assert losses[-1] < 0.3 * losses[0]
    assert ious.max() > 0.6


def test_what_random_towers_and_published_ones_learn(
    data: CritterParts, learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {round(group["initial_lr"], 12) for group in learner.task.optimiser.param_groups}
    assert rates == {OPTIONS.rate} or len(rates) == 1
    learner.task.loss(learner.network.train(), default_collate([learner.task.data[0, 0]]), Ranks()).backward()
    unmoved = [
        name
        for name, parameter in learner.network.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert unmoved == []
    torch.save(learner.network.state_dict(), tmp_path / "published.bin")
    monkeypatch.setattr(clipseg, "FULL", replace(TOY, image_size=64, places_size=64))
    monkeypatch.setattr(training, "FULL", clipseg.FULL)
    base = begin("base", str(tmp_path / "published.bin"))(data, OPTIONS, CPU, 0, Watch())
    moving = {name.partition(".")[0] for name, one in base.network.named_parameters() if one.requires_grad}
    assert moving == {"decoder"}


def test_layers_that_no_answer_needs_do_not_move(data: CritterParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SMALL", replace(TOY, taps=(0, 1)))
    network = begin("tiny", None)(data, OPTIONS, CPU, 0, Watch()).network
    layers = network.clip.vision_model.encoder.layers
    assert [any(one.requires_grad for one in layer.parameters()) for layer in layers] == [
        True,
        True,
        False,
        False,
    ]


def test_a_validation_asks_for_every_part(data: CritterParts, learner: Learner) -> None:
    with torch.inference_mode():
        figures = learner.task.validate()
    assert figures.keys() == {"loss", "iou", "precision"} and 0 <= figures["iou"] <= 1
    asked = sum(int(batch[3].sum()) for batch in learner.task.held_out)
    assert asked == sum(len(picture.parts) for picture in data.pictures("validation"))


def test_a_training_from_its_beginning_to_its_answers(
    data: CritterParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SMALL", TOY)
    best = train_parts(data, "clipseg", begin("tiny", None), tmp_path / "a.safetensors", OPTIONS, CPU)
    assert best["epoch"] in (1, 2) and "validation_iou" in best
    image, _ = data.load(data.pictures("test")[0])
    answer = load_segmenter("clipseg", str(tmp_path / "a"), CPU).segment(image, "the fish's body")
    assert answer.image_size == (64, 64)
    again = begin(str(tmp_path / "a"), None)(data, replace(OPTIONS, image_size=96), CPU, 0, Watch())
    assert again.before is not None and again.before["method"] == "clipseg"
    assert again.config["image_size"] == 96 and again.config["places_size"] == 64
    with torch.inference_mode():
        assert again.task.validate()["loss"] > 0


@pytest.mark.parametrize("side", [0, 8, 100])
def test_sizes_that_cannot_be(data: CritterParts, side: int) -> None:
    with pytest.raises(UsageError, match=f"image size {side} is not for CLIPSeg; choose a multiple of 16"):
        begin("tiny", None)(data, replace(OPTIONS, image_size=side), CPU, 0, Watch())


def test_what_cannot_be_had(data: CritterParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIP_HOME", str(tmp_path))
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    with pytest.raises(WeightsError, match="clipseg/rd64-refined"):
        begin("base", None)(data, OPTIONS, CPU, 0, Watch())
    with pytest.raises(WeightsError, match="no weights at"):
        begin("nowhere", None)(data, OPTIONS, CPU, 0, Watch())


def test_first_logits_are_small() -> None:
    torch.manual_seed(0)
    network = build_clipseg(TOY)
    clipseg.draw_decoder(network)
    assert isinstance(network, ClipSeg)
    with torch.inference_mode():
        logits = network(
            torch.randint(0, 256, (1, 3, 192, 192), dtype=torch.uint8), torch.ones(1, 1, 4).long()
        )
    assert logits.std() < 1 and abs(float(logits.mean()) + 3) < 1


def test_weights_that_go_with_nothing() -> None:
    with pytest.raises(UsageError, match="weights are for a start from base, not from tiny"):
        begin("tiny", "some.pth")

"""Teaching Mask R-CNN the parts of pictures."""

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
from slip.masks import mask_box, segment_of
from slip.models import load_segmenter
from slip.models.checkpoint import save_checkpoint
from slip.models.detections import Detection
from slip.models.maskrcnn import MaskRcnnConfig, build_maskrcnn
from slip.options import PART_OPTIONS
from slip.training.distributed import Ranks
from slip.training.loop import Watch
from slip.training.maskrcnn import Instances, MaskRcnnTask, _seen, begin
from slip.training.parts import Learner, train_parts

CPU = Compute("cpu", "fp32")
OPTIONS = replace(PART_OPTIONS["maskrcnn"], epochs=2, batch=2, rate=1e-2, image_size=64)


class Wide(CritterParts):
    """The same pictures, cut to another aspect, with a part that is gone at the network's size."""

    def load(self, picture: PartPicture) -> Any:
        image, masks = super().load(picture)
        masks = {part: mask[:32] for part, mask in masks.items()}
        first = min(masks)
        masks[first] = np.zeros_like(masks[first])
        masks[first][0, 0] = True
        return image[:32], masks


@pytest.fixture(scope="module")
def data() -> CritterParts:
    return few_parts()


@pytest.fixture(scope="module")
def learner(data: CritterParts) -> Learner:
    return begin("tiny", None)(data, OPTIONS, CPU, 0, Watch())


def config_of(data: CritterParts, side: int) -> MaskRcnnConfig:
    classes = tuple(part.category for part in data.parts)
    return MaskRcnnConfig("small", side, side, classes, tuple(part.name for part in data.parts))


def save(path: Path, config: MaskRcnnConfig) -> None:
    save_checkpoint(path, "maskrcnn", config.to_json(), build_maskrcnn(config).state_dict())


def test_a_picture_as_the_network_sees_it(data: CritterParts) -> None:
    pictures = data.pictures("train")
    shown = Instances(data, pictures, config_of(data, 64), most=9)
    for index, picture in enumerate(pictures):
        image, masks = data.load(picture)
        pixels, drawn, labels, size = shown[3, index]
        assert np.array_equal(pixels.permute(1, 2, 0), image) and size.tolist() == [64, 64]
        assert drawn.shape == (9, 64, 64) and drawn.dtype == torch.uint8
        for place, part in enumerate(picture.parts):
            assert data.parts[int(labels[place]) - 1] == part
            assert np.array_equal(drawn[place].bool(), masks[part])
        assert not labels[len(picture.parts) :].any()


def test_another_aspect_lies_in_the_corner() -> None:
    wide = Wide(count=1, size=64, species=few_parts().species)
    pictures = wide.pictures("train")
    pixels, masks, labels, size = Instances(wide, pictures, config_of(wide, 32), most=9)[0]
    assert size.tolist() == [16, 32]
    assert not pixels[:, 16:].any() and not masks[:, 16:].any()
    first = wide.parts.index(min(pictures[0].parts)) + 1
    assert first not in labels.tolist()
    seen, target = _seen(pixels, masks, labels, size)
    assert seen.shape == (3, 16, 32) and len(target["labels"]) == int((labels > 0).sum())
    for mask, box in zip(target["masks"], target["boxes"].tolist(), strict=True):
        tight = mask_box(mask.bool().numpy())
        assert tight and box == [tight.x1, tight.y1, tight.x2, tight.y2]


def test_a_picture_may_have_nothing_left(learner: Learner, data: CritterParts) -> None:
    pixels, masks, labels, size = learner.task.data[0, 0]
    nothing = default_collate([(pixels, masks * 0, labels * 0, size)] * 2)
    loss = learner.task.loss(learner.network.train(), nothing, Ranks())
    assert loss.ndim == 0 and loss.isfinite()


def test_it_learns_two_pictures(learner: Learner) -> None:
    task = learner.task
    batch = default_collate([task.data[0, index] for index in range(2)])
    network = learner.network.train()
    optimiser = torch.optim.SGD(network.parameters(), 1e-2, 0.9)
    losses = []
    for _ in range(24):
        loss = task.loss(network, batch, Ranks())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])


def test_a_validation_asks_for_every_part(data: CritterParts, learner: Learner) -> None:
    learner.network.eval()
    with torch.inference_mode():
        figures = learner.task.validate()
    assert figures.keys() == {"iou", "precision"}
    assert 0 <= figures["precision"] <= 1 and 0 <= figures["iou"] <= 1
    asked = sum(len(batch[2][batch[2] > 0]) for batch in learner.task.held_out)
    assert asked == sum(len(picture.parts) for picture in data.pictures("validation"))


def test_perfect_detections_are_perfect(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = iter([_seen(*item)[1] for batch in learner.task.held_out for item in zip(*batch, strict=True)])

    def detect(*_: object) -> list[Detection]:
        target = next(truth)
        pairs = zip(target["labels"].tolist(), target["masks"].bool().numpy(), strict=True)
        return [
            Detection(label, segment.scored(0.9)) for label, mask in pairs if (segment := segment_of(mask))
        ]

    monkeypatch.setattr("slip.training.maskrcnn.detect", detect)
    assert learner.task.validate() == {"iou": 1.0, "precision": 1.0}


def test_a_training_from_its_beginning_to_its_answers(data: CritterParts, tmp_path: Path) -> None:
    best = train_parts(data, "maskrcnn", begin("tiny", None), tmp_path / "a.safetensors", OPTIONS, CPU)
    assert best["epoch"] in (1, 2) and "validation_iou" in best
    segmenter = load_segmenter("maskrcnn", str(tmp_path / "a"), CPU)
    picture = data.pictures("test")[0]
    image, _ = data.load(picture)
    assert segmenter.segment(image, "the fish's body").image_size == (64, 64)
    again = begin(str(tmp_path / "a"), None)(data, replace(OPTIONS, image_size=None), CPU, 0, Watch())
    assert again.before is not None and again.before["method"] == "maskrcnn"
    assert again.config["image_size"] == 64 and isinstance(again.task, MaskRcnnTask)


def test_earlier_results_must_be_of_the_same_parts(data: CritterParts, tmp_path: Path) -> None:
    config = replace(config_of(data, 64), classes=("leg",), names=("leg",))
    save_checkpoint(
        tmp_path / "a.safetensors", "maskrcnn", config.to_json(), build_maskrcnn(config).state_dict()
    )
    with pytest.raises(UsageError, match="knows other parts than critters-parts"):
        begin(str(tmp_path / "a"), None)(data, OPTIONS, CPU, 0, Watch())
    with pytest.raises(WeightsError, match="no weights at"):
        begin("nowhere", None)(data, OPTIONS, CPU, 0, Watch())


def test_earlier_results_keep_their_size(data: CritterParts, tmp_path: Path) -> None:
    config = config_of(data, 96)
    save_checkpoint(
        tmp_path / "a.safetensors", "maskrcnn", config.to_json(), build_maskrcnn(config).state_dict()
    )
    with pytest.raises(UsageError, match="sees pictures of 96 pixels; image_size cannot be 64"):
        begin(str(tmp_path / "a"), None)(data, OPTIONS, CPU, 0, Watch())


@pytest.mark.parametrize("side", [0, 8, 5000])
def test_sizes_that_cannot_be(data: CritterParts, side: int) -> None:
    with pytest.raises(UsageError, match=f"image size {side} is not for Mask R-CNN"):
        begin("tiny", None)(data, replace(OPTIONS, image_size=side), CPU, 0, Watch())


def test_a_full_network_needs_imagenets_weights(
    data: CritterParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIP_HOME", str(tmp_path))
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    with pytest.raises(WeightsError, match="resnet50/imagenet"):
        begin("base", None)(data, OPTIONS, CPU, 0, Watch())


def test_weights_that_go_with_nothing() -> None:
    with pytest.raises(UsageError, match="weights are for a start from base, not from tiny"):
        begin("tiny", "some.pth")

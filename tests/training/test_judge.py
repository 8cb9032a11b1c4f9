from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import resnet18
from training.shapes import Shapes

from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.models import load_classifier, load_encoder
from slip.models.header import read_training
from slip.options import JUDGES, JudgeOptions, SplitOptions
from slip.training.judge import train_judge
from slip.training.run import Run
from slip.training.views import letterbox

CPU = Compute("cpu", "fp32")
SMALL = {
    "own": replace(JUDGES["own"], epochs=10, batch=6, rate=0.02, image_size=32),
    "paper": replace(JUDGES["paper"], epochs=4, batch=6, rate=0.02, image_size=32),
}
HELD_OUT = SplitOptions(validation=0.25, seed=1)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    monkeypatch.setenv("SLIP_HOME", str(tmp_path / "no-cache"))


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_a_judge_learns_and_is_loaded(tmp_path: Path, recipe: str) -> None:
    data, out = Shapes(count=24), tmp_path / "judge.safetensors"
    with nullcontext() if recipe == "own" else pytest.warns(SlipWarning, match="starts from random weights"):
        result = train_judge(data, out, SMALL[recipe], CPU, held_out=HELD_OUT)
    assert result["trials"] == 18
    assert result["confusion"].sum() == 18
    right = np.trace(result["confusion"]) / 18
    assert right == pytest.approx(result["validation_accuracy"])
    assert right > 0.6
    judge = load_classifier(out, CPU)
    assert (judge.classes, judge.image_size) == (data.classes, 32)
    image, _ = data.load(data.pictures[0])
    probabilities = judge.classify(np.stack([letterbox(image, 32)] * 2))
    assert probabilities.shape == (2, 3)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)


def test_the_checkpoint_tells_its_training(tmp_path: Path) -> None:
    data, out = Shapes(), tmp_path / "judge.safetensors"
    options = replace(SMALL["own"], epochs=1)
    train_judge(data, out, options, CPU, held_out=HELD_OUT)
    training = read_training(out)
    assert training is not None
    assert (training["data"], training["digest"]) == (data.name, data.digest)
    assert training["split"] == {"validation": 0.25, "seed": 1}
    assert training["classes"] == list(data.classes)
    assert "validation_accuracy" in training["metrics"]
    assert (Run(out).folder / "split.csv").read_text().count("validation") == 6


def test_a_mirrored_crop_is_judged_the_same(tmp_path: Path) -> None:
    out = tmp_path / "judge.safetensors"
    train_judge(Shapes(), out, replace(SMALL["own"], epochs=1), CPU, held_out=HELD_OUT)
    judge = load_classifier(out, CPU)
    crop = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    mirrored = np.ascontiguousarray(crop[:, :, ::-1])
    assert np.allclose(judge.classify(crop), judge.classify(mirrored), atol=1e-6)
    assert judge.classify(crop[:0]).shape == (0, 3)
    with pytest.raises(UsageError, match="expected uint8"):
        judge.classify(crop[:, :16])


def test_checkpoints_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    out = tmp_path / "judge.safetensors"
    train_judge(Shapes(), out, JudgeOptions("own", 1, 8, 0.1, image_size=32), CPU, held_out=HELD_OUT)
    with pytest.raises(WeightsError, match="resnet18"):
        load_encoder(str(out), None, CPU)
    from slip.models.header import built_in

    with pytest.raises(WeightsError, match="clip"):
        load_classifier(built_in("clip"), CPU)


def test_the_papers_judge_starts_from_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = resnet18()
    state = {name: tensor for name, tensor in published.state_dict().items() if not name.startswith("fc.")}
    monkeypatch.setattr("slip.training.judge.imagenet_trunk", lambda _progress: state)
    out = tmp_path / "judge.safetensors"
    options = replace(SMALL["paper"], epochs=1, rate=1e-9)
    train_judge(Shapes(), out, options, CPU, held_out=HELD_OUT)
    kept = load_file(out)["conv1.weight"].float()
    assert torch.allclose(kept, state["conv1.weight"], atol=1e-3)
    training = read_training(out)
    assert training is not None
    assert training["weights"] == "resnet18/imagenet"


def test_classes_of_one_picture_cannot_be_judged(tmp_path: Path) -> None:
    data = Shapes()
    data.pictures = tuple(replace(picture, label=picture.name) for picture in data.pictures)
    data.classes = tuple(picture.label for picture in data.pictures)
    with pytest.raises(UsageError, match="several pictures of each class"):
        train_judge(data, tmp_path / "judge.safetensors", SMALL["own"], CPU, held_out=HELD_OUT)
    assert not (tmp_path / "judge.run").exists()

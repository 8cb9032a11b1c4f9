"""The paper's recipe end to end on a handful of pictures, with the smallest network."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeProposer
from safetensors.torch import load_file
from torch.nn.functional import normalize
from torch.optim.lr_scheduler import ReduceLROnPlateau
from training.shapes import Shapes
from training.small_paper import SHAPE

from slip.data.splits import split
from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.models import load_encoder
from slip.models.checkpoint import read_checkpoint
from slip.models.header import read_training
from slip.models.simple_clip import Published
from slip.options import PAPER, PaperOptions, SplitOptions
from slip.pipeline.slip import Slip
from slip.training import paper
from slip.training.distributed import Ranks
from slip.training.loop import Diverged, Interrupted, Moment, Watch
from slip.training.losses import paper_loss
from slip.training.paper import FULL, PaperTask, begin, train_paper
from slip.training.run import Record, Run

CPU = Compute("cpu", "fp32")
HELD_OUT = SplitOptions(validation=0.25, seed=1)
SMALL = replace(PAPER, epochs=2, batch=6, embed_dim=8)


def train(out: Path, options: PaperOptions = SMALL, **more: Any) -> Record:
    return train_paper(Shapes(), out, options, CPU, held_out=HELD_OUT, shape=SHAPE, **more)


def task_of(options: PaperOptions = SMALL, **shape: Any) -> PaperTask:
    data = Shapes()
    start = begin((picture.caption for picture in data.pictures), replace(SHAPE, **shape))
    config, network = start.build(options.embed_dim, options.seed)
    return PaperTask(network, config, data, split(data.pictures, HELD_OUT), options, CPU, 0)


class StopAt(Watch):
    """Says Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, moment: Moment) -> None:
        self.left -= 1
        if not self.left:
            import signal

            signal.raise_signal(signal.SIGINT)


def test_the_optimiser_and_the_schedule_are_the_papers() -> None:
    task = task_of(replace(SMALL, rate=0.5))
    image, text, heads = task.optimiser.param_groups
    assert isinstance(task.optimiser, torch.optim.AdamW)
    assert (image["lr"], image["weight_decay"]) == (1e-4, 0)
    assert (text["lr"], text["weight_decay"]) == (1e-5, 0)
    assert (heads["lr"], heads["weight_decay"]) == (0.5, 1e-3)
    network = task.network
    assert set(heads["params"]) == {*network.image_head.parameters(), *network.text_head.parameters()}
    assert sum(len(group["params"]) for group in task.optimiser.param_groups) == len([*network.parameters()])
    assert isinstance(task.scheduler, ReduceLROnPlateau)
    for _ in range(7):
        task.scheduler.step(1.0)
    assert heads["lr"] == pytest.approx(0.45)
    assert (PAPER.batch, PAPER.epochs, PAPER.seed) == (64, 100, 42)


def test_pictures_are_squashed_and_not_varied() -> None:
    task = task_of()
    assert torch.equal(task.data[0, 3][0], task.data[7, 3][0])
    assert task.data[0, 3][0].shape == (3, 32, 32)


def test_the_loss_is_the_papers_on_raw_features() -> None:
    task = task_of()
    task.network.eval()
    pixels = torch.stack([task.data[0, index][0] for index in (0, 1, 7, 13)])
    indices = torch.tensor([0, 1, 7, 13])
    with torch.inference_mode():
        images = task.network.images(pixels)
        texts = task.network.texts(task.tokens[task.captions[indices]])
        measured = task.loss(task.network, (pixels, indices), Ranks())
    assert float(measured) == pytest.approx(float(paper_loss(images, texts)), rel=1e-5)
    assert float(measured) != pytest.approx(float(paper_loss(normalize(images), normalize(texts))), abs=5e-3)


def test_validation_is_the_mean_over_pictures_in_mixed_batches() -> None:
    task = task_of(replace(SMALL, batch=4))
    task.network.eval()
    with torch.inference_mode():
        measured = task.validate()
        losses, seen = [], []
        for pixels, indices in task.held_out:
            texts = task.network.texts(task.tokens[task.true[indices]])
            losses.append(len(indices) * float(paper_loss(task.network.images(pixels), texts)))
            seen += indices.tolist()
    assert sorted(seen) == list(range(6)) != seen
    assert [len(batch) for batch in torch.tensor(seen).split(4)] == [4, 2]
    assert measured["loss"] == pytest.approx(sum(losses) / 6, rel=1e-5)
    assert measured["accuracy"] * 6 == pytest.approx(round(measured["accuracy"] * 6))


def test_the_lowest_validation_loss_is_the_best_and_no_number_the_worst() -> None:
    task = task_of()
    losses = [2.0, math.nan, 0.5, math.inf]
    assert max(losses, key=lambda loss: task.score({"validation_loss": loss})) == 0.5
    assert task.score({"validation_loss": math.nan}) < task.score({"validation_loss": 1e9})


def test_trained_interrupted_resumed_and_used(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken.safetensors", tmp_path / "broken.safetensors"
    expected = train(unbroken)
    with pytest.raises(Interrupted):
        train(broken, watch=StopAt(2))
    assert not broken.exists()
    result = train(broken, resume=True)
    assert result == expected
    assert Run(broken).records() == Run(unbroken).records()
    for name, tensor in load_file(unbroken).items():
        assert torch.equal(load_file(broken)[name], tensor), name

    assert (result["trials"], result["weights"]) == (6, "random")
    training = read_training(broken)
    assert training is not None
    assert (training["recipe"], training["weights"]) == ("paper", "random")
    assert training["classes"] == ["blue", "green", "red"]
    assert training["metrics"] == result
    config, _ = read_checkpoint(broken, "simple_clip")
    assert {"blue", "green", "red", "[CLS]", "##z"} <= {*config["vocabulary"]}

    image = np.zeros((40, 60, 3), np.uint8)
    image[5:20, 5:25], image[22:38, 30:55] = (200, 0, 0), (0, 0, 250)
    found = Slip(FakeProposer(), load_encoder(str(tmp_path / "broken"), None, CPU)).segment(image, "red")
    assert len(found.segments) == 2 and found.best.score is not None


def test_the_weights_move_towards_a_lower_loss(tmp_path: Path) -> None:
    train(tmp_path / "shapes.safetensors", replace(SMALL, epochs=3))
    losses = [record["train_loss"] for record in Run(tmp_path / "shapes.safetensors").records()[3::4]]
    assert len(losses) == 3
    assert losses[-1] < losses[0]


def test_a_run_of_other_options_is_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "shapes.safetensors"
    with pytest.raises(Interrupted):
        train(out, watch=StopAt(1))
    with pytest.raises(UsageError, match="started otherwise: rate was 0.0001, is 0.1"):
        train(out, replace(SMALL, rate=0.1), resume=True)
    with pytest.raises(UsageError, match="exists; go on with --resume"):
        train(out)


def test_a_lost_loss_is_told(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="train with a lower rate"):
        train(tmp_path / "shapes.safetensors", replace(SMALL, rate=1e30))


def test_segments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out the segments"):
        train(tmp_path / "shapes.safetensors", proposer=FakeProposer())


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch": 1}, {"embed_dim": 0}, {"rate": math.nan}], ids=str
)
def test_values_out_of_range_are_refused(tmp_path: Path, change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        train(tmp_path / "shapes.safetensors", replace(SMALL, **change))
    assert not (tmp_path / "shapes.run").exists()


def failing(_progress: object) -> Published:
    raise WeightsError("cannot fetch resnet50/imagenet: SLIP_OFFLINE is set; download it")


def test_without_published_weights_it_starts_from_random_ones_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIP_HOME", str(tmp_path))
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    with pytest.warns(
        SlipWarning, match="random weights, not from published ones: .*SLIP_OFFLINE is set; words"
    ):
        start = begin(["mew", "muk"])
    assert (start.weights, start.shape) == ("random", FULL)
    assert "mew" in start.vocabulary


def test_published_weights_are_taken_where_they_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    source = task_of().network
    held = Published(
        source.image.state_dict(), source.text.state_dict(), begin(["blue", "green", "red"], SHAPE).vocabulary
    )
    monkeypatch.setattr(paper, "fetch_published", lambda _progress: held)
    monkeypatch.setattr(paper, "FULL", SHAPE)
    start = begin(["mew", "muk"], SHAPE)
    assert (start.weights, start.vocabulary) == ("published", held.vocabulary)
    _, network = start.build(8, seed=9)
    assert torch.equal(network.image.conv1.weight, source.image.conv1.weight)
    _, again = start.build(8, seed=9)
    assert torch.equal(network.image_head.projection.weight, again.image_head.projection.weight)


def test_the_seed_decides() -> None:
    start = begin(["mew"], SHAPE)
    one, again, other = (start.build(8, seed)[1].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
    assert not torch.equal(one["image.conv1.weight"], other["image.conv1.weight"])
    assert float(one["text.embeddings.word_embeddings.weight"].std()) == pytest.approx(0.02, rel=0.1)

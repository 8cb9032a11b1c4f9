import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from cli.tiny_models import save_models
from fakes import FakeProposer
from safetensors.torch import load_file
from training.shapes import Shapes

from slip.data.critters import SPECIES
from slip.data.parts import CritterParts, PartCrops
from slip.data.pictures import Picture
from slip.data.splits import trained_digest
from slip.device import Compute
from slip.errors import SlipWarning, UsageError
from slip.models import load_encoder, scoring_of
from slip.models.checkpoint import read_checkpoint
from slip.models.header import read_training
from slip.options import FINETUNE, FinetuneOptions, SplitOptions
from slip.training.finetune import Start, finetune, mixed
from slip.training.run import Record
from slip.training.views import squash

CPU = Compute("cpu", "fp32")
HELD_OUT = SplitOptions(validation=0.25, seed=1)
SMALL = replace(FINETUNE, epochs=4, batch=9, rate=3e-3)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    save_models(tmp_path)
    return Start(str(tmp_path / "clip.safetensors"))


def train(start: Start, out: Path, options: FinetuneOptions = SMALL, **more: object) -> Record:
    return finetune(Shapes(), start, out, options, CPU, held_out=HELD_OUT, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["supervised", "clip"])
def test_the_classes_are_learned(start: Start, tmp_path: Path, loss: str) -> None:
    out = tmp_path / "shapes.safetensors"
    result = train(start, out, replace(SMALL, loss=loss, epochs=8))
    assert result["accuracy"] == 1 > result["base_accuracy"]
    assert result["trials"] == 6
    encoder = load_encoder(str(out), None, CPU)
    data = Shapes()
    shown = [data.load(picture)[0] for picture in data.pictures[::8]]
    crops = np.stack([squash(image, encoder.image_size) for image in shown])
    cosines = encoder.encode_images(crops) @ encoder.encode_text(["blue", "green", "red"]).T
    assert cosines.argmax(1).tolist() == [0, 1, 2]


def test_open_clip_loads_the_plain_state(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "shapes.safetensors"
    train(start, out, replace(SMALL, epochs=1))
    config, _ = read_checkpoint(out, "clip")
    model = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    model.load_state_dict(load_file(out), strict=True)


def test_the_checkpoint_tells_its_training(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "shapes.safetensors"
    train(start, out, replace(SMALL, epochs=1), caption="a {}")
    training = read_training(out)
    assert training is not None
    assert training["caption"] == "a {}"
    assert training["start"] == "clip.safetensors"
    assert training["classes"] == ["blue", "green", "red"]
    assert training["options"]["loss"] == "supervised"
    assert training["metrics"]["trials"] == 6


def test_the_threshold_of_the_held_out_pictures_is_stored(start: Start, tmp_path: Path) -> None:
    """Learned colours are told from those that are not there."""
    out = tmp_path / "shapes.safetensors"
    train(start, out, replace(SMALL, epochs=8))
    told = (read_training(out) or {})["presence"]
    assert told["auroc"] > 0.9
    assert max(told["false_accepts"], told["false_rejects"]) < 0.2
    scoring = scoring_of(str(out))
    assert (scoring.floor, scoring.min_score) == (told["threshold"], 0.5)


def test_where_nothing_could_be_absent_no_threshold_is_stored(start: Start, tmp_path: Path) -> None:
    data, out = Shapes(), tmp_path / "shapes.safetensors"
    data.pictures = tuple(replace(picture, caption="a thing") for picture in data.pictures)
    finetune(data, start, out, replace(SMALL, epochs=1), CPU, held_out=HELD_OUT)
    assert not {"presence", "scoring"} & set(read_training(out) or {})
    assert scoring_of(str(out)).min_score == 0


def test_parts_are_taught_on_the_sides_of_their_set(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Composites are drawn for none of them: no SAM is loaded, not even that of the built-in CLIP."""
    birds = tuple(kin for kin in SPECIES if kin.plan == "bird")[:8]
    drawn = CritterParts(1, 48, species=birds)
    monkeypatch.setattr("slip.training.finetune.load_proposer", lambda *_: pytest.fail("a SAM is loaded"))
    monkeypatch.setattr("slip.training.finetune.training_of", lambda _: None)
    out = tmp_path / "parts.safetensors"
    data, options = PartCrops(drawn, "the {}"), replace(SMALL, epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlipWarning)
        result = finetune(data, start, out, options, CPU, caption="the {}")
    assert result["trials"] == sum(len(picture.parts) for picture in drawn.pictures("validation"))
    told = read_training(out) or {}
    assert (told["data"], told["digest"], told["caption"]) == (drawn.name, drawn.digest, "the {}")
    assert told["trained"] == trained_digest(split_of(data, "train"))
    assert told["presence"]["pairs"] == 8000


def split_of(data: PartCrops, side: str) -> list[Picture]:
    return [picture for picture in data.pictures if picture.side == side]


@pytest.mark.parametrize(("lock", "tower"), [("image", "visual."), ("text", "transformer.")])
def test_a_locked_tower_stays(start: Start, tmp_path: Path, lock: str, tower: str) -> None:
    out = tmp_path / "shapes.safetensors"
    train(start, out, replace(SMALL, epochs=1, lock=lock))
    before, after = load_file(start.clip), load_file(out)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed
    assert not any(name.startswith(tower) for name in changed)


def test_no_mix_is_the_old_model(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "shapes.safetensors"
    result = train(start, out, replace(SMALL, epochs=1, mix=0))
    before, after = load_file(start.clip), load_file(out)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert result["accuracy"] == result["base_accuracy"]


def test_a_mix_lies_between() -> None:
    before, after = (
        {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)},
        {"w": torch.ones(2), "n": torch.tensor(5)},
    )
    assert mixed(before, after, 0.25)["w"].tolist() == [0.25, 1.75]
    assert mixed(before, after, 0.25)["n"] == 5


def test_segments_are_found_once(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "shapes.safetensors"
    proposer = FakeProposer()
    proposer.image_size = 80
    train(start, out, replace(SMALL, epochs=1), proposer=proposer)
    assert len(proposer.seen) == 5
    train(start, out, replace(SMALL, epochs=1), proposer=proposer, resume=True)
    assert len(proposer.seen) == 5


def test_plateau_and_no_augmentation(start: Start, tmp_path: Path) -> None:
    options = replace(SMALL, epochs=2, schedule="plateau", augment=False, loss="paper")
    result = train(start, tmp_path / "shapes.safetensors", options)
    assert np.isfinite(result["train_loss"])


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch": 0}, {"mix": 2}, {"rate": 0}, {"warmup": 9}, {"rate": float("nan")}]
)
def test_values_out_of_range_are_refused(start: Start, tmp_path: Path, change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        train(start, tmp_path / "shapes.safetensors", replace(SMALL, **change))
    assert not (tmp_path / "shapes.run").exists()

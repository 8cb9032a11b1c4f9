"""What networks of parts are shown, and the training that all of them share."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from fakes import FakeParts
from torch import nn
from torch.optim import SGD

from slip.data.parts import CritterParts, wordings
from slip.device import Compute
from slip.errors import UsageError
from slip.options import PartOptions
from slip.training.methods import begin_with
from slip.training.parts import (
    KEPT_BYTES,
    Asked,
    agreement,
    as_split,
    check_options,
    rate_groups,
    schedule,
    targets_of,
    train_parts,
    training_pictures,
    validation_pictures,
)

CPU = Compute("cpu", "fp32")
GREY = (9, 8, 7)


def asked(data: Any, pictures: Any = None, *, expressions: int = 2, seed: int | None = 0) -> Asked:
    return Asked(
        data, data.pictures("train") if pictures is None else pictures, 32, GREY, 12, expressions, seed
    )


class TestAsked:
    def test_layout(self) -> None:
        pixels, masks, tokens, weights = asked(FakeParts())[(0, 1)]
        assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (3, 32, 32))
        assert (masks.dtype, tuple(masks.shape)) == (torch.uint8, (2, 32, 32))
        assert (tokens.dtype, tuple(tokens.shape)) == (torch.int64, (2, 12))
        assert weights.tolist() == [1, 1]
        assert pixels[:, 0, 0].tolist() == list(GREY), "a picture of 24 x 32 has a margin above it"

    def test_masks_belong_to_their_expressions(self) -> None:
        data = FakeParts()
        hues = {"red": 0, "green": 1, "blue": 2}
        texts = {
            tuple(open_clip.tokenize([f"{way}{name}"], 12)[0].tolist()): name
            for name in hues
            for way in ("", "toy ")
        }
        for epoch in range(6):
            pixels, masks, tokens, _ = asked(data)[(epoch, 2)]
            for mask, told in zip(masks, tokens, strict=True):
                name = texts[tuple(told.tolist())]
                inside = pixels[:, mask > 200].float().mean(1)
                assert inside.argmax() == hues[name]

    def test_what_is_asked_varies_with_the_epoch_and_is_else_the_same(self) -> None:
        data = FakeParts()
        first = [asked(data)[(epoch, 1)][2] for epoch in range(8)]
        again = [asked(data)[(epoch, 1)][2] for epoch in range(8)]
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
        assert any(not torch.equal(first[0], other) for other in first[1:])

    def test_a_picture_with_fewer_parts_fills_the_batch_and_counts_once(self) -> None:
        _, masks, tokens, weights = asked(FakeParts(), expressions=3)[(0, 0)]
        assert weights.tolist() == [1, 0, 0]
        assert torch.equal(masks[0], masks[1]) and torch.equal(tokens[0], tokens[2])

    def test_without_a_seed_it_asks_as_an_evaluation_does(self) -> None:
        data = CritterParts(count=1, size=64)
        picture = data.pictures("test")[0]
        found = asked(data, [picture], expressions=9, seed=None)[0]
        count = len(picture.parts)
        wanted = [wordings(part, picture.subject)[0] for part in picture.parts]
        assert torch.equal(found[2][:count], open_clip.tokenize(wanted, 12))
        assert found[3].sum() == count
        assert torch.equal(found[2], asked(data, [picture], expressions=9, seed=None)[(7, 0)][2])

    def test_every_part_and_wording_comes_up(self) -> None:
        data = CritterParts(count=1, size=64)
        picture = data.pictures("test")[0]
        heard = {tuple(row.tolist()) for epoch in range(60) for row in asked(data, [picture])[(epoch, 0)][2]}
        wanted = [way for part in picture.parts for way in wordings(part, picture.subject)]
        assert heard == {tuple(row.tolist()) for row in open_clip.tokenize(wanted, 12)}

    def test_prepared_pictures_are_kept_within_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = FakeParts()
        shown = asked(data)
        first = shown[(0, 1)]
        first[0].zero_()
        assert shown[(0, 1)][0].any() and data.loaded.count("train/01.png") == 1
        assert KEPT_BYTES > 10**8
        monkeypatch.setattr("slip.training.parts.KEPT_BYTES", 0)
        shown = asked(other := FakeParts())
        for _ in range(2):
            _ = shown[(0, 1)]
        assert other.loaded.count("train/01.png") == 2


class TestTargets:
    def test_nearest_is_not_shifted(self) -> None:
        """An edge goes to the nearest cell: corners would move all of it by one and a half of four pixels."""
        masks = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
        masks[..., 22:42, 14:50] = 255
        found = targets_of(masks, (16, 16))
        assert found.unique().tolist() == [0, 1]
        rows, columns = found[0, 0].any(1).nonzero().flatten(), found[0, 0].any(0).nonzero().flatten()
        for cells, (low, high) in ((rows, (22, 42)), (columns, (14, 50))):
            assert abs(4 * int(cells[0]) - low) <= 2 and abs(4 * int(cells[-1]) + 4 - high) <= 2
        assert found.sum() == 5 * 9

    def test_agreement_against_sets(self) -> None:
        rng = np.random.default_rng(0)
        logits, targets = rng.normal(size=(2, 3, 5, 5)), (rng.random((2, 3, 5, 5)) > 0.5).astype(np.float32)
        weights = torch.tensor([[1.0, 1, 0], [1, 0, 0]])
        found = agreement(torch.tensor(logits), torch.tensor(targets), weights).tolist()
        wanted = []
        for picture, place in ((0, 0), (0, 1), (1, 0)):
            ours = {
                at
                for at, value in enumerate(logits[picture, place].flat)
                if 1 / (1 + math.exp(-value)) > 0.35
            }
            true = {at for at, value in enumerate(targets[picture, place].flat) if value}
            wanted.append(len(ours & true) / (len(ours | true) + 1e-6))
        assert found == pytest.approx(wanted)


class TestRates:
    def test_step_falls_to_a_tenth_after_seven_tenths(self) -> None:
        optimiser = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        plan = schedule(optimiser, PartOptions(epochs=10, rate=1.0), 5)
        rates = []
        for _ in range(50):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            plan.step()
        assert rates == pytest.approx([1.0] * 35 + [0.1] * 15)

    def test_cosine_rises_and_falls(self) -> None:
        optimiser = SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        plan = schedule(optimiser, PartOptions(epochs=4, rate=0.5, decay="cosine"), 10)
        rates = []
        for _ in range(40):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            plan.step()
        top = rates.index(max(rates))
        assert max(rates) == pytest.approx(0.5, abs=0.02) and top <= 3
        assert rates[top:] == sorted(rates[top:], reverse=True) and rates[-1] < 0.01

    def test_encoders_learn_at_their_share(self) -> None:
        network = nn.ModuleDict({"encoders": nn.Linear(2, 2), "rest": nn.Linear(2, 3)})
        network["rest"].bias.requires_grad_(False)
        groups = rate_groups(network["encoders"], network, PartOptions(rate=0.2))
        assert [group["lr"] for group in groups] == pytest.approx([0.02, 0.2])
        assert [[tuple(one.shape) for one in group["params"]] for group in groups] == [
            [(2, 2), (2,)],
            [(3, 2)],
        ]


class TestSides:
    def test_validation_is_spread_and_never_too_much(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = FakeParts(count=10)
        monkeypatch.setattr("slip.training.parts.VALIDATED", 4)
        assert [picture.name[-6:-4] for picture in validation_pictures(data)] == ["00", "02", "05", "07"]

    @pytest.mark.parametrize(
        ("missing", "ask"), [("train", training_pictures), ("validation", validation_pictures)]
    )
    def test_a_missing_side(self, missing: str, ask: Any) -> None:
        data = FakeParts(sides=[side for side in ("train", "validation", "test") if side != missing])
        with pytest.raises(UsageError, match=rf"toys has no {'training' if missing == 'train' else missing}"):
            ask(data)

    def test_the_split_tells_all_but_the_test_pictures(self) -> None:
        parts = as_split(FakeParts(count=3))
        assert [one.name for one in (*parts.train, *parts.validation)] == [
            f"{side}/{index:02}.png" for side in ("train", "validation") for index in range(3)
        ]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"epochs": 0}, "epochs cannot be 0; choose 1 or more"),
        ({"batch": 0}, "batch cannot be 0; choose 1 or more"),
        ({"expressions": 0}, "expressions cannot be 0; choose 1 or more"),
        ({"rate": 0.0}, "rate cannot be 0.0; choose a number above 0"),
        ({"encoder_rate": 1.5}, "encoder_rate cannot be 1.5; choose above 0, to 1"),
        ({"encoder_rate": 0.0}, "encoder_rate cannot be 0.0; choose above 0, to 1"),
    ],
    ids=str,
)
def test_values_out_of_range(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_options(replace(PartOptions(), **wrong))


SMALL = PartOptions(epochs=2, batch=2, expressions=2, rate=1e-3, image_size=64)


def weights_of(path: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}


def taught(folder: Path, **changes: Any) -> dict[str, bytes]:
    workers = changes.pop("workers", 0)
    data, out = FakeParts(), folder / "parts.safetensors"
    options = replace(SMALL, **changes)
    train_parts(data, "cris", begin_with("cris", "tiny", None), out, options, CPU, workers=workers)
    return weights_of(out)


def test_the_result_does_not_depend_on_workers(tmp_path: Path) -> None:
    alone, helped = tmp_path / "alone", tmp_path / "helped"
    alone.mkdir(), helped.mkdir()
    assert taught(alone) == taught(helped, workers=2)


def test_another_seed_another_network(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    assert taught(one, epochs=1) != taught(other, epochs=1, seed=7)


def test_the_note_tells_what_decided(tmp_path: Path) -> None:
    from slip.models.header import read_training

    taught(tmp_path, epochs=1)
    note = read_training(tmp_path / "parts.safetensors")
    assert note is not None
    assert (note["data"], note["digest"], note["method"]) == ("toys", "1" * 64, "cris")
    assert note["parts"] == ["toy blue", "toy green", "toy red"]
    assert note["metrics"]["epoch"] == 1 and note["metrics"]["trials"] == 1 + 3 * 3
    assert note["options"]["rate"] == SMALL.rate and note["pictures"] == 4

"""Networks that wait: nothing is loaded before it is needed, then once, then it is the real thing."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from fakes import FakeEncoder, FakeProposer
from training.small_paper import save_simple_clip

from slip import models
from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models import (
    encoder_identity,
    late_encoder,
    late_proposer,
    load_encoder,
    load_proposer,
    proposer_identity,
)
from slip.models.late import Late, LateDenseEncoder, LateEncoder, LateProposer
from slip.options import ProposeOptions

CPU = Compute("cpu", "fp32")
OPTIONS = ProposeOptions(points_per_side=3, pred_iou_thresh=0, stability_thresh=0)
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


class Loader:
    """Loads ``thing``, and counts how often."""

    def __init__(self, thing: Any) -> None:
        self.thing, self.count = thing, 0

    def __call__(self) -> Any:
        self.count += 1
        return self.thing


def test_a_proposer_is_loaded_when_it_is_asked() -> None:
    load = Loader(FakeProposer())
    late = LateProposer("fake-sam", False, load)
    assert (late.name, late.guided, load.count) == ("fake-sam", False, 0)
    assert late.image_size == FakeProposer.image_size
    image = np.zeros((4, 4, 3), np.uint8)
    image[1:, 2:] = 255, 0, 0
    for _ in range(2):
        (segment,) = late.propose(image)
        assert segment.area == 6
    assert load.count == 1


@pytest.mark.parametrize("kind", [LateEncoder, LateDenseEncoder])
def test_an_encoder_is_loaded_when_it_is_asked(kind: type[LateEncoder]) -> None:
    for ask in (
        lambda late: late.image_size,
        lambda late: late.logit_scale,
        lambda late: late.encode_text(["red"]),
        lambda late: late.encode_images(IMAGE[None, :8, :8]),
    ):
        load = Loader(FakeEncoder())
        late = kind("fake-clip", load)
        assert (late.name, load.count) == ("fake-clip", 0)
        for _ in range(2):
            np.testing.assert_array_equal(ask(late), ask(FakeEncoder()))
        assert load.count == 1


def test_it_is_told_that_something_is_loaded() -> None:
    calls: list[tuple[str, int, int]] = []
    late = LateEncoder("fake-clip", FakeEncoder, lambda *call: calls.append(call))
    assert calls == []
    for _ in range(2):
        late.encode_text(["red"])
        assert calls == [("load models", 0, 1), ("load models", 1, 1)]


def test_threads_wait_for_the_one_that_loads() -> None:
    made = []

    def load() -> object:
        sleep(0.05)
        made.append(object())
        return made[-1]

    late, got = Late(load), []
    threads = [threading.Thread(target=lambda: got.append(late())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and got == made * 8


def test_what_failed_is_tried_again() -> None:
    outcomes: list[Any] = [WeightsError("no network"), "loaded"]

    def load() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    late = Late(load)
    with pytest.raises(WeightsError, match="no network"):
        late()
    assert late() == late() == "loaded"


def test_a_late_network_answers_as_the_network_does(tiny_models: list[str]) -> None:
    _, sam, _, clip = tiny_models
    late, loaded = late_proposer(sam, OPTIONS, CPU), load_proposer(sam, OPTIONS, CPU)
    assert (late.name, late.guided, late.image_size) == (loaded.name, False, loaded.image_size)
    ours, theirs = late.propose(IMAGE), loaded.propose(IMAGE)
    assert ours and len(ours) == len(theirs)
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(ours, theirs, strict=True))
    late_clip, loaded_clip = late_encoder(clip, None, CPU), load_encoder(clip, None, CPU)
    assert (late_clip.name, late_clip.image_size) == (loaded_clip.name, loaded_clip.image_size)
    assert late_clip.logit_scale == loaded_clip.logit_scale
    np.testing.assert_array_equal(late_clip.encode_text(["x"]), loaded_clip.encode_text(["x"]))


def test_guided_points_are_known_before_and_asked_after(tiny_models: list[str]) -> None:
    options = ProposeOptions(points_per_side=4, pred_iou_thresh=0, stability_thresh=0, points="guided")
    late, loaded = (make(tiny_models[1], options, CPU) for make in (late_proposer, load_proposer))
    assert late.guided
    interest = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    ours, theirs = (proposer.propose_guided(IMAGE, interest) for proposer in (late, loaded))
    assert ours and [segment.box for segment in ours] == [segment.box for segment in theirs]


def test_dense_features_are_told_from_none_before(
    tiny_models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = save_simple_clip(tmp_path / "paper.safetensors")

    def never(*arguments: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(models, "load_encoder", never)
    without = [late_encoder(str(path), None, CPU) for path in (paper, paper.with_suffix(""))]
    having = [late_encoder("tiny", None, CPU), late_encoder(tiny_models[3], None, CPU)]
    having.append(late_encoder("ViT-B-32", "openai", CPU))
    assert not any(hasattr(encoder, "encode_dense") for encoder in without)
    assert all(hasattr(encoder, "encode_dense") for encoder in having)
    assert [encoder.name for encoder in (*without, *having)] == [
        "paper.safetensors",
        "paper.safetensors",
        "clip/tiny",
        "clip.safetensors",
        "clip/ViT-B-32/openai",
    ]


def test_a_late_clip_has_dense_features(tmp_path: Path) -> None:
    late, loaded = (make("tiny", None, CPU) for make in (late_encoder, load_encoder))
    np.testing.assert_array_equal(late.encode_dense(IMAGE), loaded.encode_dense(IMAGE))


def test_what_can_be_told_before_is_told_before(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a model nor a file"):
        late_proposer("nonsense", OPTIONS, CPU)
    with pytest.raises(UsageError, match="points_per_side"):
        late_proposer("tiny", ProposeOptions(points_per_side=0), CPU)
    with pytest.raises(UsageError, match="has no weights"):
        late_encoder("ViT-B-32", "nonsense", CPU)
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        late_encoder(str(tmp_path / "damaged.safetensors"), None, CPU)


def test_weights_that_cannot_be_had_are_told_of_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    monkeypatch.setenv("SLIP_HOME", str(tmp_path))
    proposer, encoder = late_proposer("vit_b", OPTIONS, CPU), late_encoder("ViT-B-32", "openai", CPU)
    with pytest.raises(WeightsError, match="sam/vit_b"):
        proposer.propose(IMAGE)
    with pytest.raises(WeightsError, match="clip/ViT-B-32/openai"):
        encoder.encode_text(["x"])


def flip(path: Path) -> None:
    """One bit of the last weight."""
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def test_what_was_replaced_since_it_was_identified_is_not_used(
    tiny_models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIP_HOME", str(tmp_path / "home"))
    sam, clip = (Path(shutil.copy(tiny_models[at], tmp_path)) for at in (1, 3))
    known = proposer_identity(str(sam), OPTIONS, CPU), encoder_identity(str(clip), None, CPU)
    proposer = late_proposer(str(sam), OPTIONS, CPU, identity=known[0])
    encoder = late_encoder(str(clip), None, CPU, identity=known[1])
    flip(sam)
    flip(clip)
    for _ in range(2):
        with pytest.raises(WeightsError, match="^sam.safetensors changed while it was in use; run again$"):
            proposer.propose(IMAGE)
        with pytest.raises(WeightsError, match="^clip.safetensors changed while it was in use; run again$"):
            encoder.encode_text(["x"])
    flip(sam)
    flip(clip)
    assert proposer.propose(IMAGE) and encoder.encode_text(["x"]).shape[0] == 1

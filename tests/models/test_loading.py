"""Networks that are built without drawing the weights that are loaded anyway: nothing else may change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from cli.tiny_models import CLIP, SAM
from safetensors.torch import load_file, save_file
from segment_anything import sam_model_registry
from torch import nn
from training.small_paper import save_simple_clip

from slip.device import Compute
from slip.errors import WeightsError
from slip.models import checkpoint, clip, simple_clip
from slip.models.checkpoint import State, WithoutDraws, load_strictly, save_checkpoint
from slip.models.clip import build_clip, load_clip
from slip.models.sam import build_sam, load, load_sam
from slip.models.simple_clip import load_simple_clip

CPU = Compute("cpu", "fp32")
CONVOLUTIONAL = {**CLIP, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16}}


class AsBefore:
    """In place of WithoutDraws: the draws are made."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


Load = Callable[[], nn.Module]


def built(build: Callable[[dict[str, Any]], nn.Module], config: dict[str, Any], seed: int = 1) -> State:
    torch.manual_seed(seed)
    return build(config).state_dict()


def own_sam(folder: Path) -> Load:
    path = folder / "sam.safetensors"
    save_checkpoint(path, "sam", SAM, built(build_sam, SAM))
    return lambda: load_sam(str(path))


def own_clip(config: dict[str, Any]) -> Callable[[Path], Load]:
    def saved(folder: Path) -> Load:
        path = folder / "clip.safetensors"
        save_checkpoint(path, "clip", config, built(build_clip, config))
        return lambda: load_clip(str(path))

    return saved


def paper_clip(folder: Path) -> Load:
    path = save_simple_clip(folder / "paper.safetensors")
    return lambda: load_simple_clip(path, CPU)._model


def official_sam(folder: Path) -> Load:
    path = folder / "vit_b.pth"
    torch.manual_seed(1)
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    return lambda: load_sam(str(path))


def published_clip(folder: Path) -> Load:
    path = folder / "state.pt"
    torch.save(built(build_clip, clip.architecture("ViT-B-32")), path)
    return lambda: load_clip("ViT-B-32", str(path))


LOADERS: dict[str, Callable[[Path], Load]] = {
    "a SAM of a checkpoint": own_sam,
    "the built-in SAM": lambda _: lambda: load_sam("tiny"),
    "an official SAM": official_sam,
    "a CLIP of a checkpoint": own_clip(CLIP),
    "a convolutional CLIP": own_clip(CONVOLUTIONAL),
    "the built-in CLIP": lambda _: lambda: load_clip("tiny"),
    "a published CLIP": published_clip,
    "the paper's dual encoder": paper_clip,
}


@pytest.fixture(params=LOADERS)
def loader(request: pytest.FixtureRequest, tmp_path: Path) -> Load:
    return LOADERS[request.param](tmp_path)


def content(network: nn.Module) -> dict[str, Any]:
    """Every parameter and every buffer, also those that no checkpoint holds, and how each is kept."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {
        name: (
            tensor.dtype,
            tuple(tensor.shape),
            tensor.stride(),
            tensor.requires_grad,
            tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
        )
        for name, tensor in tensors
    }


def test_what_is_loaded_is_the_same_bit_for_bit(loader: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = loader()
    for module in (clip, load, simple_clip):
        monkeypatch.setattr(module, "WithoutDraws", AsBefore)
    torch.manual_seed(7)
    theirs = loader()
    mine, other = content(ours), content(theirs)
    assert mine.keys() == other.keys()
    assert [name for name in other if mine[name] != other[name]] == []
    assert str(ours) == str(theirs) and ours.training == theirs.training


def test_loading_draws_nothing(loader: Load) -> None:
    before = torch.random.get_rng_state()
    loader()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_tests_compare_buffers_that_no_checkpoint_holds() -> None:
    network = load_clip("tiny")
    held = network.state_dict().keys()
    assert [name for name, _ in network.named_buffers() if name not in held]
    assert [name for name, _ in load_sam("tiny").named_buffers() if name not in load_sam("tiny").state_dict()]


@pytest.mark.parametrize("end", ["first", "last"])
@pytest.mark.parametrize("loads", [own_sam, own_clip(CLIP)], ids=["sam", "clip"])
def test_a_missing_weight_is_still_missed(loads: Callable[[Path], Load], end: str, tmp_path: Path) -> None:
    loader = loads(tmp_path)
    (path,) = tmp_path.iterdir()
    state, metadata = load_file(path), checkpoint.read_metadata(path)
    name = sorted(state)[0 if end == "first" else -1]
    del state[name]
    save_file(state, path, metadata)
    with pytest.raises(WeightsError, match=f"{name} is missing, expected"):
        loader()


def test_outside_numbers_are_drawn() -> None:
    torch.manual_seed(0)
    before = nn.Linear(3, 4).weight.clone()
    with WithoutDraws():
        assert not nn.Linear(3, 4).weight.any()
        assert not torch.randn(3).any() and not torch.rand(2, 2).any()
    torch.manual_seed(0)
    assert torch.equal(nn.Linear(3, 4).weight, before) and before.any()


def test_what_is_no_draw_is_as_ever() -> None:
    with WithoutDraws():
        norm = nn.LayerNorm(3)
        filled = nn.init.constant_(torch.empty(2), 3.0)
        ramp = torch.linspace(0, 1, 3)
        network = open_clip.CLIP(CLIP["embed_dim"], CLIP["vision_cfg"], CLIP["text_cfg"])
    assert norm.weight.tolist() == [1, 1, 1] and filled.tolist() == [3, 3] and ramp.tolist() == [0, 0.5, 1]
    assert network.attn_mask[0].tolist() == [0, *[-float("inf")] * 31]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 5, 11])
def test_one_wrong_number_is_found(wrong: float, place: int) -> None:
    state = {"weight": torch.zeros(3, 4), "bias": torch.full((3,), 3e38)}
    load_strictly(nn.Linear(4, 3), state, Path("whole.pt"), "a layer")
    state["weight"].view(-1)[place] = wrong
    with pytest.raises(WeightsError, match="wrong.pt is damaged: the weights hold NaN or infinity"):
        load_strictly(nn.Linear(4, 3), state, Path("wrong.pt"), "a layer")

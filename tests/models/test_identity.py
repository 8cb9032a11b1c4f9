"""Whatever may change an answer changes the identity; where the weights lie does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models import encoder_identity, header, identity, proposer_identity
from slip.models.identity import own_code
from slip.options import ProposeOptions
from slip.weights import catalogue

CPU = Compute("cpu", "fp32")
OPTIONS = ProposeOptions()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def changed(path: str, folder: Path) -> str:
    """A copy in which one bit of the last weight differs."""
    copy = Path(shutil.copy(path, folder / f"changed-{Path(path).name}"))
    data = bytearray(copy.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    return str(copy)


def moved(path: str, folder: Path) -> str:
    (folder / "elsewhere").mkdir(exist_ok=True)
    return shutil.copy(path, folder / "elsewhere" / f"other-{Path(path).name}")


def test_proposers_differ_by_whatever_may_change_a_segment(tiny_models: list[str], tmp_path: Path) -> None:
    sam = tiny_models[1]
    known = [
        proposer_identity(sam, OPTIONS, CPU),
        proposer_identity(changed(sam, tmp_path), OPTIONS, CPU),
        proposer_identity("tiny", OPTIONS, CPU),
        proposer_identity("vit_b", OPTIONS, CPU),
        proposer_identity("vit_h", OPTIONS, CPU),
        proposer_identity(sam, OPTIONS, Compute("cpu", "bf16")),
        proposer_identity(sam, OPTIONS, Compute("cuda", "fp32")),
        proposer_identity(sam, replace(OPTIONS, points="exhaustive"), CPU),
        proposer_identity(sam, replace(OPTIONS, points="exhaustive"), CPU, "reference"),
        *(
            proposer_identity(sam, replace(OPTIONS, **{name: value}), CPU)
            for name, value in [
                ("points_per_side", 15),
                ("pred_iou_thresh", 0.5),
                ("stability_thresh", 0.5),
                ("points_per_batch", 3),
            ]
        ),
    ]
    assert len(set(known)) == len(known)
    assert all(len(digest) == 64 and int(digest, 16) for digest in known)
    assert proposer_identity(moved(sam, tmp_path), OPTIONS, CPU) == known[0]


def test_encoders_differ_by_whatever_may_change_a_feature(tiny_models: list[str], tmp_path: Path) -> None:
    clip, state = tiny_models[3], tmp_path / "state.pt"
    torch.save({"weight": torch.zeros(3)}, state)
    known = [
        encoder_identity(clip, None, CPU),
        encoder_identity(changed(clip, tmp_path), None, CPU),
        encoder_identity("tiny", None, CPU),
        encoder_identity("ViT-B-32", "openai", CPU),
        encoder_identity("ViT-L-14", "openai", CPU),
        encoder_identity("ViT-B-32", str(state), CPU),
        encoder_identity("ViT-B-32", changed(str(state), tmp_path), CPU),
        encoder_identity("ViT-L-14", str(state), CPU),
        encoder_identity(clip, None, Compute("cpu", "bf16")),
        encoder_identity(clip, None, Compute("mps", "fp32")),
    ]
    assert len(set(known)) == len(known)
    assert encoder_identity(moved(clip, tmp_path), None, CPU) == known[0]
    assert encoder_identity(clip.removesuffix(".safetensors"), None, CPU) == known[0]
    assert encoder_identity("ViT-B-32", moved(str(state), tmp_path), CPU) == known[5]


Identify = Callable[[], str]


@pytest.fixture(params=["proposer", "encoder"])
def identify(request: pytest.FixtureRequest) -> Identify:
    if request.param == "proposer":
        return lambda: proposer_identity("tiny", OPTIONS, CPU)
    return lambda: encoder_identity("tiny", None, CPU)


def test_built_in_weights_count_by_their_content(
    identify: Identify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identify()
    for kind in ("sam", "clip"):
        copy = changed(str(header.built_in(kind)), tmp_path)
        Path(copy).rename(tmp_path / header.built_in(kind).name)
    monkeypatch.setattr(header, "ASSETS", tmp_path)
    assert identify() != before


@pytest.mark.parametrize(
    "library", ["torch", "open_clip_torch", "segment-anything", "numpy", "opencv-python", "torchvision"]
)
def test_versions_count(identify: Identify, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify()
    assert library in identity.libraries()
    other = {**identity.libraries(), library: "0.0.1"}
    monkeypatch.setattr(identity, "libraries", lambda: other)
    assert identify() != before


@pytest.mark.parametrize(
    "place",
    [
        "models/sam/proposer.py",
        "models/clip.py",
        "pipeline/crops.py",
        "pipeline/keep.py",
        "device.py",
        "images.py",
        "masks.py",
        "options.py",
        "types.py",
    ],
)
def test_own_code_counts(
    identify: Identify, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identify()
    package = tmp_path / "slip"
    shutil.copytree(identity.PACKAGE, package, ignore=shutil.ignore_patterns("assets", "__pycache__"))
    monkeypatch.setattr(identity, "PACKAGE", package)
    assert identify() == before
    with (package / place).open("a") as file:
        file.write("\n")
    own_code.cache_clear()
    assert identify() != before


def test_code_that_computes_nothing_does_not_count(tmp_path: Path) -> None:
    package = tmp_path / "slip"
    shutil.copytree(identity.PACKAGE, package, ignore=shutil.ignore_patterns("assets", "__pycache__"))
    before = own_code(package)
    for place in ("cli/app.py", "training/loop.py", "outputs.py"):
        (package / place).unlink()
    own_code.cache_clear()
    assert own_code(package) == before


def test_code_that_moves_counts(tmp_path: Path) -> None:
    package = tmp_path / "slip"
    shutil.copytree(identity.PACKAGE, package, ignore=shutil.ignore_patterns("assets", "__pycache__"))
    before = own_code(package)
    (package / "models" / "dense.py").rename(package / "models" / "denser.py")
    own_code.cache_clear()
    assert own_code(package) != before


def test_published_weights_need_not_be_here(home: Path) -> None:
    assert "sam/vit_h" in catalogue() and not home.exists()
    proposer_identity("vit_h", OPTIONS, CPU)
    encoder_identity("ViT-L-14", "openai", CPU)
    assert not home.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: proposer_identity("nonsense", OPTIONS, CPU),
        lambda: proposer_identity("tiny", replace(OPTIONS, points_per_side=0), CPU),
        lambda: proposer_identity("tiny", OPTIONS, CPU, "reference"),
        lambda: encoder_identity("nonsense", None, CPU),
        lambda: encoder_identity("tiny", "openai", CPU),
        lambda: encoder_identity("ViT-B-32", "nonsense", CPU),
    ],
)
def test_what_cannot_be_loaded_has_none(wrong: Identify) -> None:
    with pytest.raises(UsageError):
        wrong()


def test_a_missing_file_of_the_package_is_told_of(
    identify: Identify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "ASSETS", tmp_path)
    with pytest.raises(WeightsError, match="no checkpoint at .*_tiny.safetensors; install slip again"):
        identify()


def test_torch_is_not_needed(tmp_path: Path) -> None:
    code = (
        "import sys; from slip.device import Compute; from slip.options import ProposeOptions;"
        "from slip.models import encoder_identity, late_encoder, late_proposer, proposer_identity;"
        "cpu = Compute('cpu', 'fp32'); tiny = 'tiny', ProposeOptions(), cpu;"
        "proposer_identity(*tiny); encoder_identity('tiny', None, cpu);"
        "encoder_identity('ViT-B-32', 'openai', cpu);"
        "late_proposer(*tiny); late_encoder('tiny', None, cpu);"
        "print(*{'torch', 'cv2', 'open_clip'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")

from __future__ import annotations

import os
import pickle
import re
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from slip.errors import WeightsError
from slip.models.checkpoint import is_torchscript, load_strictly, read_checkpoint, read_state, save_checkpoint

STATE = {"weight": torch.randn(3, 4), "steps": torch.tensor(7)}


def test_a_checkpoint_comes_back(tmp_path):
    path = tmp_path / "toy.safetensors"
    config = {"depth": 2, "mean": [0.48145466, 0.1, 0.2], "nested": {"width": 8}}
    save_checkpoint(path, "clip", config, STATE)
    read, state = read_checkpoint(path, "clip")
    assert read == config
    assert state["weight"].dtype == torch.float32
    assert torch.equal(state["weight"], STATE["weight"].half().float())
    assert torch.equal(state["steps"], STATE["steps"])
    assert [file.name for file in tmp_path.iterdir()] == ["toy.safetensors"]


def test_views_and_half_precision_can_be_saved(tmp_path):
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, "sam", {}, {"t": STATE["weight"].half().t()})
    assert torch.equal(read_checkpoint(path, "sam")[1]["t"], STATE["weight"].half().float().t())


def test_another_kind_is_refused(tmp_path):
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, "clip", {}, STATE)
    with pytest.raises(WeightsError, match=r"is a clip checkpoint; expected a sam checkpoint"):
        read_checkpoint(path, "sam")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_foreign_safetensors_are_no_checkpoint(tmp_path, metadata):
    path = tmp_path / "toy.safetensors"
    save_file(STATE, path, metadata)
    with pytest.raises(WeightsError, match=r"is no SLIP checkpoint; expected a sam checkpoint"):
        read_checkpoint(path, "sam")


@pytest.mark.parametrize("config", [None, "not JSON", "[1]"])
def test_a_damaged_configuration_is_refused(tmp_path, config):
    path = tmp_path / "toy.safetensors"
    save_file(STATE, path, {"slip": "sam"} | ({} if config is None else {"config": config}))
    with pytest.raises(WeightsError, match="its configuration cannot be read"):
        read_checkpoint(path, "sam")


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(WeightsError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "toy.safetensors", "sam")
    with pytest.raises(WeightsError, match="No such file"):
        read_state(tmp_path / "toy.pth")


class Run:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def bad_files(folder):
    """Files that are no state dict, by what they are; each would make ``folder/ran`` if its code ran."""
    run = Run(folder / "ran")
    bare, zipped, odd = folder / "bare.pth", folder / "zipped.pth", folder / "odd.pth"
    bare.write_bytes(pickle.dumps({"weight": run}))
    torch.save({"weight": run}, zipped)
    torch.save([1, 2], odd)
    torch.save({"weight": 3}, folder / "number.pth")
    (folder / "cut.pth").write_bytes(zipped.read_bytes()[:-100])
    (folder / "empty.pth").touch()
    (folder / "text.pth").write_text("<html>Not found</html>\n")
    (folder / "noise.pth").write_bytes(bytes(range(256)) * 9)
    (folder / "folder.pth").mkdir()
    with zipfile.ZipFile(folder / "zip.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for name in ("empty", "text", "noise"):
        (folder / f"{name}.safetensors").write_bytes((folder / f"{name}.pth").read_bytes())
    save_checkpoint(folder / "whole.safetensors", "sam", {}, STATE)
    (folder / "cut.safetensors").write_bytes((folder / "whole.safetensors").read_bytes()[:-5])
    (folder / "whole.safetensors").unlink()
    return [path for path in folder.iterdir() if path != run.path]


@pytest.mark.filterwarnings("error")
def test_bad_files_are_refused_in_one_line_and_no_code_runs(tmp_path):
    paths = bad_files(tmp_path)
    assert len(paths) == 14
    for path in paths:
        with pytest.raises(WeightsError) as error:
            read_state(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_the_pickle_of_these_tests_does_run_code(tmp_path):
    torch.save({"weight": Run(tmp_path / "ran")}, tmp_path / "zipped.pth")
    torch.load(tmp_path / "zipped.pth", weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrap", [dict, lambda state: {"epoch": 3, "state_dict": state}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_are_unwrapped(tmp_path, wrap, prefix):
    torch.save(wrap({prefix + name: tensor for name, tensor in STATE.items()}), tmp_path / "toy.pth")
    state = read_state(tmp_path / "toy.pth")
    assert state.keys() == STATE.keys() and torch.equal(state["weight"], STATE["weight"])


ODD = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.empty(3, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "eight bits": lambda: torch.ones(3).to(torch.float8_e4m3fn),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_tensors_that_are_no_plain_numbers_are_refused(make, tmp_path):
    path = tmp_path / "odd.pth"
    torch.save({"weight": make()}, path)
    with pytest.raises(WeightsError, match=re.escape(str(path))) as error:
        read_state(path)
    assert "\n" not in str(error.value)


def test_safetensors_of_other_numbers_are_refused(tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file({"weight": torch.ones(3).to(torch.float8_e4m3fn)}, path, {"slip": "sam", "config": "{}"})
    with pytest.raises(WeightsError, match="more than plain tensors of numbers: weight"):
        read_checkpoint(path, "sam")


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_is_told_from_a_state_dict(tmp_path):
    torch.save(STATE, tmp_path / "state.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "script.pt")
    (tmp_path / "text.pt").write_text("text")
    found = {path.name: is_torchscript(path) for path in tmp_path.iterdir()}
    assert found == {"state.pt": False, "script.pt": True, "text.pt": False}
    with pytest.raises(WeightsError, match="is a TorchScript archive; expected a state dict"):
        read_state(tmp_path / "script.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(2, 4)}, r"weight is \(2, 4\), expected \(2, 3\)"),
        ({"more": torch.zeros(1)}, r"more is \(1,\), expected nothing"),
        ({"bias": None}, r"bias is missing, expected \(2,\)"),
    ],
)
def test_load_strictly_says_what_differs(tmp_path, change, message):
    module = torch.nn.Linear(3, 2)
    state = {k: t for k, t in {**module.state_dict(), **change}.items() if t is not None}
    with pytest.raises(WeightsError, match=rf"toy\.pth does not fit a line: {message}"):
        load_strictly(module, state, tmp_path / "toy.pth", "a line")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_load_strictly_refuses_what_is_not_finite(tmp_path, number):
    module = torch.nn.Linear(3, 2)
    state = {**module.state_dict(), "bias": torch.tensor([0.0, number], dtype=torch.float64)}
    with pytest.raises(WeightsError, match=r"toy\.pth is damaged: the weights hold NaN or infinity"):
        load_strictly(module, state, tmp_path / "toy.pth", "a line")

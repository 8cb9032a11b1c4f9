"""Checkpoints on disk: SLIP's own, and the state dicts others publish. No pickled code is ever run.

SLIP's own format is safetensors in half precision; its metadata says what network it holds
(``slip``: a Kind) and with which configuration (``config``: JSON). Of a network that was trained
on a data set, ``training`` (JSON) says on which and how.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from slip.errors import WeightsError
from slip.models.header import Kind, read_config, read_metadata
from slip.outputs import write_file

State = dict[str, Tensor]

NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64}
"""What weights are stored in."""

DRAWS = ("normal_", "uniform_")
"""Ends of the names of functions that fill a tensor with random numbers, torch's and others around them."""


def save_checkpoint(
    path: Path,
    kind: Kind,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a SLIP checkpoint, whole or not at all; floating-point tensors become float16 if they fit.

    Raises OutputError.
    """
    metadata = {"slip": kind, "config": json.dumps(config)}
    if training is not None:
        metadata["training"] = json.dumps(training)
    data = save({name: _stored(tensor) for name, tensor in state.items()}, metadata)
    write_file(path, data, overwrite=True)


def read_checkpoint(path: Path, kind: Kind) -> tuple[dict[str, Any], State]:
    """The configuration and the float32 state of a SLIP checkpoint.

    Raises WeightsError: missing, damaged, of another kind, not a SLIP checkpoint.
    """
    config = read_config(path, kind)
    return config, {name: _widened(tensor) for name, tensor in read_state(path).items()}


def read_state(path: Path) -> State:
    """The tensors of a ``.safetensors`` file, or of a file that ``torch.save`` wrote, on the CPU.

    Of a training checkpoint, its ``state_dict``; ``module.`` before every name is taken off.
    Raises WeightsError: missing, damaged, or anything but tensors inside.
    """
    if path.suffix == ".safetensors":
        read_metadata(path)
        return _plain(_load_safetensors(path), path)
    if is_torchscript(path):
        raise WeightsError(f"{path} is a TorchScript archive; expected a state dict")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception:  # whatever the restricted unpickler meets in a damaged or hostile file
        raise WeightsError(
            f"{path} is not a checkpoint that can be read safely: it is damaged, or holds more than tensors"
        ) from None
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise WeightsError(f"{path} holds no state dict: expected tensors by name")
    prefix = "module." if all(str(name).startswith("module.") for name in loaded) else ""
    return _plain({str(name).removeprefix(prefix): tensor for name, tensor in loaded.items()}, path)


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive written by ``torch.jit.save``."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


class WithoutDraws(TorchFunctionMode):
    """A context, of this thread, in which networks are built with zeros in place of random weights.

    For those whose weights are all loaded afterwards: drawing them takes longer than loading does.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls instead of each of its functions."""
        kwargs = kwargs or {}
        if func in (torch.rand, torch.randn):
            return torch.zeros(*args, **kwargs)
        if not getattr(func, "__name__", "").endswith(DRAWS):
            return func(*args, **kwargs)
        tensor = args[0] if args else kwargs["tensor"]
        tensor.detach().zero_()
        return tensor


def load_strictly(module: torch.nn.Module, state: State, path: Path, expected: str) -> None:
    """Copy ``state`` into ``module``.

    Raises WeightsError where a name or a shape differs, or a number is NaN or infinite.
    """
    own = module.state_dict()
    for name in [*own, *state]:
        held = tuple(state[name].shape) if name in state else "missing"
        wanted = tuple(own[name].shape) if name in own else "nothing"
        if held != wanted:
            raise WeightsError(f"{path} does not fit {expected}: {name} is {held}, expected {wanted}")
    module.load_state_dict(state)
    if not all(_is_finite(tensor) for tensor in module.state_dict().values()):
        raise WeightsError(f"{path} is damaged: the weights hold NaN or infinity")


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the weights on the CPU, in hex."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _load_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except Exception as error:  # such as number formats that torch does not have
        raise WeightsError(f"cannot read {path}: {_line(error)}") from None


def _plain(state: State, path: Path) -> State:
    """The state, if every tensor is an ordinary array of numbers that float32 can hold."""
    for name, tensor in state.items():
        odd = tensor.is_nested or tensor.layout != torch.strided or tensor.device.type != "cpu"
        if odd or tensor.dtype not in NUMBERS:
            raise WeightsError(f"{path} holds more than plain tensors of numbers: {name} cannot be used")
    return state


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _is_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite; sooner than by looking at each on its own."""
    return tensor.numel() == 0 or all(bool(end.isfinite()) for end in tensor.aminmax())


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor

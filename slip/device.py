"""Where the networks run and how precisely they compute."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from slip.errors import UsageError
from slip.options import Device, Precision

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Compute:
    """A device (``cpu``, ``cuda``, ``mps``) and a precision (``fp32``, ``bf16``, ``fp16``)."""

    device: str
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch has it."""
        import torch

        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    def autocast(self) -> AbstractContextManager[object]:
        """A context in which the networks compute at this precision; their weights stay float32."""
        if self.precision == "fp32":
            return nullcontext()
        import torch

        return torch.autocast(self.device, dtype=self.dtype)


def available() -> list[str]:
    """The devices of this machine, fastest first; always ends with ``cpu``."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [device for device, there in found.items() if there]


def resolve(device: Device = "auto", precision: Precision = "auto") -> Compute:
    """Turn a wish into what this machine has.

    ``auto`` is the fastest device, and bf16 (where that is missing fp16) on CUDA, fp32 elsewhere.
    Raises UsageError for what is unknown, not there, or cannot be computed.
    """
    _check("device", device, get_args(Device))
    _check("precision", precision, get_args(Precision))
    there = available()
    chosen = there[0] if device == "auto" else device
    if chosen not in there:
        raise UsageError(f"device {chosen} is not available here; choose {' or '.join(there)}")
    if chosen == "cpu" and precision == "fp16":
        raise UsageError("precision fp16 is not for the CPU; choose bf16 or fp32")
    if chosen == "cuda" and precision in ("auto", "bf16"):
        return Compute(chosen, _half_on_cuda(precision))
    return Compute(chosen, "fp32" if precision == "auto" else precision)


def resolve_for_sam(sam: str, device: Device = "auto", precision: Precision = "auto") -> Compute:
    """As ``resolve``, for a SAM by its name or path.

    ``auto`` is bf16 on a CPU that multiplies it in hardware, too, which a large SAM gains much by. The
    built-in one gains little, and one or two of a hundred of its masks change.
    """
    compute = resolve(device, precision)
    if precision == "auto" and compute.device == "cpu" and sam != "tiny" and _cpu_has_bf16():
        return Compute("cpu", "bf16")
    return compute


def _cpu_has_bf16() -> bool:
    import torch

    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(has.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def _half_on_cuda(precision: str) -> str:
    import torch

    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    if precision == "bf16":
        raise UsageError("precision bf16 is not supported by this GPU; choose fp16 or fp32")
    return "fp16"


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{what} cannot be {value!r}; choose {', '.join(known)}")


def is_out_of_memory(error: Exception) -> bool:
    """torch and OpenCV report a full device, and a full machine, as errors of their own."""
    text = str(error).lower()
    signs = ("out of memory", "insufficient memory", "allocate memory", "bad_alloc", "alloc_failed")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)

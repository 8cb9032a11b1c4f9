from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from slip.device import Compute, available, is_out_of_memory, resolve, resolve_for_sam
from slip.errors import UsageError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have some devices."""

    def pretend(*, cuda=False, mps=False, bf16=True, cpu=()):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict(cpu), raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)

    pretend()
    return pretend


@pytest.mark.parametrize(
    ("has", "wish", "chosen"),
    [
        ({}, (), ("cpu", "fp32")),
        ({}, ("cpu", "bf16"), ("cpu", "bf16")),
        ({"mps": True}, (), ("mps", "fp32")),
        ({"mps": True}, ("auto", "fp16"), ("mps", "fp16")),
        ({"mps": True}, ("cpu",), ("cpu", "fp32")),
        ({"cuda": True, "mps": True}, (), ("cuda", "bf16")),
        ({"cuda": True, "bf16": False}, (), ("cuda", "fp16")),
        ({"cuda": True}, ("cuda", "fp32"), ("cuda", "fp32")),
        ({"cuda": True}, ("cuda", "fp16"), ("cuda", "fp16")),
    ],
)
def test_resolve(machine, has, wish, chosen):
    machine(**has)
    assert resolve(*wish) == Compute(*chosen)


@pytest.mark.parametrize(
    ("has", "wish", "message"),
    [
        ({}, ("cuda",), "device cuda is not available here; choose cpu"),
        ({"mps": True}, ("cuda",), "device cuda is not available here; choose mps or cpu"),
        ({}, ("cpu", "fp16"), "precision fp16 is not for the CPU; choose bf16 or fp32"),
        ({}, ("auto", "fp16"), "choose bf16 or fp32"),
        ({"cuda": True, "bf16": False}, ("cuda", "bf16"), "choose fp16 or fp32"),
        ({}, ("tpu",), "device cannot be 'tpu'; choose auto, cpu, cuda, mps"),
        ({}, ("cpu", "int8"), "precision cannot be 'int8'; choose auto, fp32, bf16, fp16"),
    ],
)
def test_resolve_refuses(machine, has, wish, message):
    machine(**has)
    with pytest.raises(UsageError, match=message):
        resolve(*wish)


FAST_BF16 = {"avx2": True, "avx512_bf16": True, "amx_bf16": False}


@pytest.mark.parametrize(
    ("has", "wish", "chosen"),
    [
        ({}, ("vit_b",), ("cpu", "fp32")),
        ({"cpu": {"avx2": True, "avx512_bf16": False}}, ("vit_b",), ("cpu", "fp32")),
        ({"cpu": FAST_BF16}, ("vit_b",), ("cpu", "bf16")),
        ({"cpu": {"amx_bf16": True}}, ("my.pth", "cpu"), ("cpu", "bf16")),
        ({"cpu": FAST_BF16}, ("tiny",), ("cpu", "fp32")),
        ({"cpu": FAST_BF16}, ("vit_b", "auto", "fp32"), ("cpu", "fp32")),
        ({"cpu": FAST_BF16}, ("tiny", "auto", "bf16"), ("cpu", "bf16")),
        ({"cpu": FAST_BF16, "mps": True}, ("vit_b",), ("mps", "fp32")),
        ({"cpu": FAST_BF16, "cuda": True, "bf16": False}, ("vit_b",), ("cuda", "fp16")),
        ({"cpu": FAST_BF16, "cuda": True}, ("vit_b", "cpu"), ("cpu", "bf16")),
    ],
)
def test_resolve_for_sam(machine, has, wish, chosen):
    machine(**has)
    assert resolve_for_sam(*wish) == Compute(*chosen)


def test_resolve_for_sam_where_torch_does_not_tell(machine, monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert resolve_for_sam("vit_b") == Compute("cpu", "fp32")


def test_resolve_for_sam_refuses_as_resolve_does(machine):
    with pytest.raises(UsageError, match="choose bf16 or fp32"):
        resolve_for_sam("vit_b", "cpu", "fp16")


def test_available_ends_with_the_cpu(machine):
    machine(cuda=True)
    assert available() == ["cuda", "cpu"]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_sets_the_precision_of_products(precision, dtype):
    a = torch.ones(2, 2)
    with Compute("cpu", precision).autocast():
        assert (a @ a).dtype == dtype
    assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_dtype(precision, dtype):
    assert Compute("cuda", precision).dtype == dtype


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"), True),
        (cv2.error("alloc.cpp:73: (-4:Insufficient memory) Failed to allocate 90000000 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("memory"), False),
    ],
)
def test_is_out_of_memory(error, full):
    assert is_out_of_memory(error) is full


@pytest.mark.parametrize("make", [lambda: torch.empty(2**57), lambda: np.empty(2**57)])
def test_what_is_raised_here_is_known(make):
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        make()
    assert is_out_of_memory(raised.value)

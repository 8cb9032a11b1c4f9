from __future__ import annotations

import pytest
import torch

from slip.device import Compute, available, resolve
from slip.errors import UsageError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have some devices."""

    def pretend(*, cuda=False, mps=False, bf16=True):
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


def test_available_ends_with_the_cpu(machine):
    machine(cuda=True)
    assert available() == ["cuda", "cpu"]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_sets_the_precision_of_products(precision, dtype):
    a = torch.ones(2, 2)
    with Compute("cpu", precision).autocast():
        assert (a @ a).dtype == dtype
    assert (a @ a).dtype == torch.float32

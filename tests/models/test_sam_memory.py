"""What ``SamProposer`` does when memory runs out: it asks fewer points together, and goes on."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from models.toy_sam import ALL, check_same, picture, toy

from slip.device import Compute
from slip.models.sam import proposer as sam_proposer
from slip.models.sam.decoder import PointDecoder
from slip.models.sam.fullsize import FullSize
from slip.models.sam.proposer import SamProposer
from slip.types import Segment

CPU = Compute("cpu", "fp32")
TOGETHER = replace(ALL, points_per_batch=None)
STEPS: dict[str, tuple[type, str, Callable[..., int]]] = {
    "attention": (PointDecoder, "answer", lambda view, points: len(points)),
    "masks": (PointDecoder, "logits", lambda answers, wanted: len(wanted)),
    "full size": (FullSize, "find", lambda logits, least: -(-len(logits) // 3)),
}
SHORTAGES = [
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"),
    MemoryError(),
]

Fail = Callable[..., list[int]]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let a step raise for more points than fit; returns how many it is given, call by call."""

    def arrange(step: str, fitting: int, error: Exception) -> list[int]:
        kind, name, count = STEPS[step]
        given: list[int] = []
        work = getattr(kind, name)

        def limited(self: Any, *arguments: Any) -> Any:
            given.append(count(*arguments))
            if given[-1] > fitting:
                raise error
            return work(self, *arguments)

        monkeypatch.setattr(kind, name, limited)
        return given

    return arrange


def proposer() -> SamProposer:
    return SamProposer(toy(), TOGETHER, CPU, "toy")


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: str(error)[:20] or "MemoryError")
@pytest.mark.parametrize("step", STEPS)
def test_fewer_points_are_asked_together_from_then_on(step: str, error: Exception, fail: Fail) -> None:
    image = picture(48, 64)
    expected = proposer().propose(image)
    given = fail(step, 3, error)
    limited, told = proposer(), []
    check_same(limited.propose(image, lambda *call: told.append(call[1:])), expected)
    assert given == [16, 8, 4] + [2] * 8
    assert [done for done, _ in told] == sorted(done for done, _ in told) and told[-1] == (16, 16)
    given.clear()
    check_same(limited.propose(image), expected)
    assert given == [2] * 8


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: str(error)[:20] or "MemoryError")
def test_one_point_that_does_not_fit_is_an_error(error: Exception, fail: Fail) -> None:
    given = fail("attention", 0, error)
    with pytest.raises(type(error)) as raised:
        proposer().propose(picture(48, 64))
    assert raised.value is error and given == [16, 8, 4, 2, 1]


@pytest.mark.parametrize("step", STEPS)
def test_other_errors_pass(step: str, fail: Fail) -> None:
    given = fail(step, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        proposer().propose(picture(48, 64))
    assert given == [16]


WIDE = {"image_size": 256, "patch_size": 8, "out_chans": 256, "decoder_heads": 8}
"""A megabyte of image side a point."""
SPARE = 100 * 2**20
"""Bytes that the process may take more than it has: a fifth of what all points together need."""


def within_a_limit() -> tuple[list[Segment], list[Segment], list[int]]:
    """Segments of 144 points without and with a limit of memory; how many points were asked at a time."""
    import resource

    sam_proposer.BOX_NMS = 1.0  # masks of random weights all fill the frame
    sam, image = toy(**WIDE), picture(200, 256)
    options = replace(ALL, points_per_side=12, points_per_batch=4)
    expected = SamProposer(sam, options, CPU, "toy").propose(image)
    limited = SamProposer(sam, replace(options, points_per_batch=144), CPU, "toy")
    asked: list[int] = []
    answer = PointDecoder.answer

    def count(self: PointDecoder, view: Any, points: torch.Tensor) -> Any:
        asked.append(len(points))
        return answer(self, view, points)

    PointDecoder.answer = count  # type: ignore[method-assign]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + SPARE
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    found = limited.propose(image)
    resource.setrlimit(resource.RLIMIT_AS, before)
    return found, expected, asked


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
def test_a_real_limit_of_memory() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        found, expected, asked = alone.submit(within_a_limit).result(timeout=120)
    assert len(expected) > 10
    check_same(found, expected)
    assert asked[0] == 144 and sum(asked) > 144
    assert all(later <= earlier for earlier, later in pairwise(asked))

"""CRIS in full size on random weights: a training step, an answer, a checkpoint there and back.

    python -m benchmarks.parts [--clip RN50|RN101] [--image-size 416] [--batch 2] [--steps 3]

Its peer is the picture's work done anew for every expression, as the published code does it: one picture
with several expressions, against encoding it once for all of them. Weights are random, so what is answered
means nothing; time and memory are those of trained ones.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.base import peak_memory
from benchmarks.timing import Timing, machine, measure
from slip.data.parts import CritterParts, PartPicture
from slip.device import Compute, resolve
from slip.models.checkpoint import save_checkpoint
from slip.models.clip import architecture
from slip.models.cris.config import CrisConfig
from slip.models.cris.load import load_cris
from slip.models.cris.network import Cris
from slip.models.cris.segmenter import CrisSegmenter
from slip.options import PartOptions
from slip.training.cris import CrisTask
from slip.training.distributed import Ranks

PROMPTS = ("bird wing", "bird head", "bird tail", "bird leg", "bird beak", "bird eye")


def build(clip: str, image_size: int) -> Cris:
    """The network of the published sizes, with random weights."""
    torch.manual_seed(0)
    return Cris(CrisConfig({**architecture(clip), "quick_gelu": True}).at(image_size))


def settled(work: Callable[[], object], compute: Compute) -> Callable[[], object]:
    """The work until the device is done with it."""

    def wait() -> None:
        work()
        if compute.device == "cuda":
            torch.cuda.synchronize()

    return wait


def training_step(network: Cris, options: PartOptions, compute: Compute) -> Callable[[], object]:
    """A step on critters: forward, loss, backward, Adam."""
    task = CrisTask(network, CritterParts(count=1), options, compute, 0)
    items = zip(*(task.data[(0, index)] for index in range(options.batch)), strict=True)
    batch = [torch.stack(parts).to(network.mean.device) for parts in items]

    def step() -> None:
        with compute.autocast():
            loss = task.loss(network, batch, Ranks())
        task.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        task.optimiser.step()

    network.train()
    return settled(step, compute)


def answers(
    network: Cris, picture: PartPicture, data: CritterParts, compute: Compute
) -> tuple[Timing, Timing]:
    """Six expressions on one picture: the picture once, and anew for each of them."""
    segmenter, (image, _) = CrisSegmenter(network, compute, "full"), data.load(picture)
    together = measure(lambda: segmenter.segment_each(image, PROMPTS), 3)
    return together, measure(lambda: [segmenter.segment(image, prompt) for prompt in PROMPTS], 3)


def round_trip(network: Cris) -> str:
    """The checkpoint written and read; its weights agree as far as half precision holds them."""
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder, "cris.safetensors"), perf_counter()
        save_checkpoint(path, "cris", network.config.to_json(), network.state_dict())
        written = perf_counter()
        loaded = load_cris(path).state_dict()
        read, size = perf_counter(), path.stat().st_size
    furthest = max(
        float((loaded[name].float() - tensor.cpu().float()).abs().max())
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    )
    return (
        f"{size / 1e6:.0f} MB, written in {written - start:.1f} s, read in {read - written:.1f} s, "
        f"weights differ by at most {furthest:.1g}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", default="RN50", choices=["RN50", "RN101"])
    parser.add_argument("--image-size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    asked = parser.parse_args()
    compute, options = resolve(), PartOptions(batch=asked.batch)
    print(machine("slip-segment", "torch", "open_clip_torch"))
    network = build(asked.clip, asked.image_size)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"CRIS upon {asked.clip}, {asked.image_size} px, {parameters / 1e6:.1f} M parameters, {compute}")
    step = measure(training_step(network, options, compute), asked.steps)
    rate = asked.batch * options.expressions / step.median
    print(f"training step of {asked.batch} pictures x {options.expressions} expressions: {step}")
    print(f"{rate:.2f} expressions/s")
    print(f"peak memory {peak_memory() / 2**30:.2f} GiB")
    if compute.device == "cuda":
        print(f"peak memory of the GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    data = CritterParts(count=1)
    once, anew = answers(network.eval(), data.pictures("test")[0], data, compute)
    print(f"{len(PROMPTS)} expressions, picture encoded once: {once}")
    print(f"{len(PROMPTS)} expressions, encoded for each: {anew}; ratio {anew.median / once.median:.2f}")
    print(f"checkpoint: {round_trip(network)}")


if __name__ == "__main__":
    main()

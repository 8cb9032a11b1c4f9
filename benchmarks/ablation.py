"""What each part of the fine-tuning brings, on drawn critters called by their species' names.

    python -m benchmarks.ablation [--out runs/ablation]

The tiny CLIP is taught the 151 names again and again, each time with one thing done otherwise, from
the same seed, split and number of steps. Measured are tile accuracy and IoU on 100 composites of
held-out pictures, and old words: how often an attribute prompt ("a blue striped bird") still
chooses the right critter of a scene. Broken off, it goes on where it stood.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.timing import machine
from recipes.evaluate import best_iou
from slip.data.composites import plan_composites
from slip.data.critters import make_scene
from slip.data.drawn import DrawnSet
from slip.data.splits import split
from slip.device import Compute, resolve
from slip.evaluation.journal import Journal
from slip.evaluation.loop import Entrant, evaluate
from slip.evaluation.scores import Judging, Scores, Share, score
from slip.evaluation.tables import share
from slip.models import load_encoder, load_proposer
from slip.models.checkpoint import read_state, state_digest
from slip.options import CAPTION, EVAL, FINETUNE, PAPER_CAPTION, FinetuneOptions, propose_options
from slip.pipeline.propose import Remembering
from slip.pipeline.slip import Slip
from slip.training.finetune import Start, finetune
from slip.training.run import Run
from slip.types import Proposer

PORTRAITS = 8
FIRST_SCENE = 950_000
BASE = replace(FINETUNE, epochs=8, rate=1e-3)
DRAWN = DrawnSet(CAPTION, PORTRAITS)


@dataclass(frozen=True)
class Variant:
    """One way to fine-tune. segments: whether segments that SAM finds are among the crops."""

    name: str
    options: FinetuneOptions = BASE
    caption: str = CAPTION
    segments: bool = False

    @property
    def file(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name) + ".safetensors"


VARIANTS = (
    Variant("default"),
    Variant("loss clip", replace(BASE, loss="clip")),
    Variant("loss paper", replace(BASE, loss="paper")),
    Variant("caption of the paper", caption=PAPER_CAPTION),
    Variant("no augmentation", replace(BASE, augment=False)),
    Variant("segments of SAM", segments=True),
    Variant("mix .5", replace(BASE, mix=0.5)),
)


def teach(variant: Variant, proposer: Proposer, compute: Compute, out: Path) -> Path:
    """The variant's checkpoint; what is there already is not trained again."""
    path = out / variant.file
    if not path.exists():
        finetune(
            DRAWN if variant.caption == CAPTION else DrawnSet(variant.caption, PORTRAITS),
            Start("tiny"),
            path,
            variant.options,
            compute,
            caption=variant.caption,
            proposer=proposer if variant.segments else None,
            resume=Run(path).folder.exists(),
        )
    return path


def composites(entrants: Sequence[Entrant], out: Path, models: Mapping[str, str]) -> dict[str, Scores]:
    """Figures of every model on composites of the held-out side. models: the weights' digest of each."""
    plans = plan_composites(split(DRAWN.pictures).validation, EVAL)
    told = {"models": dict(models), "portraits": PORTRAITS, **asdict(EVAL)}
    journal = Journal.open(out / "composites", told)
    trials = evaluate(plans, DRAWN, EVAL, entrants, None, journal)
    return {
        one.name: score(one.name, [trial for trial in trials if trial.model == one.name], Judging(None))
        for one in entrants
    }


def old_words(entrants: Sequence[Entrant], scenes: int) -> dict[str, Share]:
    """How often an attribute prompt chooses a segment of IoU >= .5 with the right critter."""
    right: dict[str, list[bool]] = {one.name: [] for one in entrants}
    for number in track(range(scenes), "scenes"):
        scene = make_scene(FIRST_SCENE + number)
        critters = scene.critters
        for one in entrants:
            found = one.segmenter.segment_each(scene.image, [critter.caption for critter in critters])
            right[one.name] += [
                best_iou(prediction.segments[:1], scene.mask(critter)) >= 0.5
                for prediction, critter in zip(found, critters, strict=True)
            ]
    return {name: Share(sum(flags), len(flags)) for name, flags in right.items()}


def entrants_of(taught: Sequence[tuple[Variant, Path]], compute: Compute) -> Iterator[Entrant]:
    """Every model behind one SAM, the untaught first."""
    proposer = Remembering(load_proposer("tiny", propose_options("tiny"), compute))
    yield Entrant("not taught", Slip(proposer, load_encoder("tiny", None, compute)))
    for variant, path in taught:
        encoder = load_encoder(str(path), None, compute)
        yield Entrant(variant.name, Slip(proposer, encoder), variant.caption, finetuned=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--scenes", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = perf_counter()
    compute = resolve("cpu", "bf16")
    proposer = load_proposer("tiny", propose_options("tiny"), compute)
    taught = [
        (variant, teach(variant, proposer, compute, arguments.out)) for variant in track(VARIANTS, "variants")
    ]
    digests = {variant.name: state_digest(read_state(path)) for variant, path in taught}
    entrants = list(entrants_of(taught, resolve("cpu")))
    scores = composites(entrants, arguments.out, digests)
    words = old_words(entrants, arguments.scenes)
    table = Table("", "tile accuracy", "IoU >= .5", "old words", title="fine-tuning the tiny CLIP")
    for name, measured in scores.items():
        table.add_row(name, share(measured.tile), share(measured.good), share(words[name]))
    console = Console(width=130)
    console.print(table)
    ceiling = scores["not taught"].ceiling
    console.print(f"some segment has IoU >= .5: {share(ceiling)}; trials: {scores['not taught'].trials}")
    console.print(f"{machine('torch', 'open_clip_torch')}; {perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

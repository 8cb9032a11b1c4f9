"""Where the line lies between there and not there, for a CLIP and the SAM it works with.

    python -m recipes.calibrate                                    the built-in CLIP, asked for looks
    python -m recipes.calibrate --clip mine --names                a taught one, asked for names
    python -m recipes.calibrate --data PICTURES --preset base      any models, on labelled pictures

A picture is asked for each thing that it shows, and for as many that it does not. The line is drawn on
the first half of the scenes, or composites of four pictures, and measured on the second; the line that
is stored with the models is measured there, too. That of the built-in CLIP belongs into
``slip.options.OWN_SCORING``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from slip.data.composites import draw_composite, plan_composites
from slip.data.critters import SPECIES, caption, make_scene
from slip.data.sets import open_set
from slip.data.splits import split
from slip.evaluation.intervals import wilson
from slip.options import PRESETS, SPLIT, VIEW, EvalOptions
from slip.pipeline.score import to_score
from slip.pipeline.slip import Slip
from slip.training.calibrate import NOTHING, auroc, draw_line
from slip.types import Image

FIRST_SEED = 940_000
SEED = 11
DRAWS = 500
"""Pictures drawn with replacement for an interval of the area under the curve."""

Asked = tuple[Image, list[str], list[str]]
"""A picture, what it shows, and as many things that it does not."""
Odds = NDArray[np.float64]


def scenes(count: int, names: bool) -> Iterator[Asked]:
    """Scenes of drawn critters, asked for by their looks, or by the names of their species."""
    rng = np.random.default_rng(SEED)
    called = {species.name: species.name if names else caption(species) for species in SPECIES}
    for number in range(count):
        scene = make_scene(FIRST_SEED + number)
        there = [called[critter.name] for critter in scene.critters]
        yield scene.image, there, _others(list(called.values()), there, rng)


def composites(data: str, count: int) -> Iterator[Asked]:
    """Composites of four held-out pictures of a data set, asked for by their captions."""
    rng = np.random.default_rng(SEED)
    pictures = open_set(data)
    captions = sorted({picture.caption for picture in pictures.pictures})
    options = EvalOptions(count=count, tile=256, asked="caption", seed=SEED)
    for plan in plan_composites(split(pictures.pictures, SPLIT).validation, options):
        composite = draw_composite(plan, pictures, options)
        there = [tile.prompt for tile in composite.tiles]
        yield composite.image, there, _others(captions, there, rng)


def _others(everything: Sequence[str], there: Sequence[str], rng: np.random.Generator) -> list[str]:
    others = [text for text in everything if text not in there]
    chosen: list[str] = rng.choice(others, min(len(there), len(others)), replace=False).tolist()
    return chosen


def best_odds(slip: Slip, asked: Iterator[Asked], count: int) -> tuple[list[Odds], list[Odds]]:
    """The highest log-odds of any segment, picture by picture: of what is there, and of what is not."""
    present: list[Odds] = []
    absent: list[Odds] = []
    for image, there, others in track(asked, "pictures", count):
        proposals = slip.propose(image)
        for prompts, odds in ((there, present), (others, absent)):
            best = [slip.odds(proposals, prompt).max(initial=NOTHING) for prompt in prompts]
            odds.append(np.array(best))
    return present, absent


def show(stored: float, present: list[Odds], absent: list[Odds]) -> Table:
    """What the lines do to the second half; the drawn one comes from the first."""
    half = len(present) // 2
    drawn = draw_line(np.concatenate(present[:half]), np.concatenate(absent[:half])).threshold
    there, not_there = np.concatenate(present[half:]), np.concatenate(absent[half:])
    table = Table("line", "log-odds", "score", "false accepts", "false rejects")
    for name, line in (("drawn", drawn), ("stored", stored)):
        accepts = _share(int((not_there >= line).sum()), len(not_there))
        rejects = _share(int((there < line).sum()), len(there))
        table.add_row(name, f"{line:.3f}", f"{to_score(np.array([line]))[0]:.3f}", accepts, rejects)
    area, low, high = _area(present[half:], absent[half:])
    table.caption = f"area under the ROC curve {area:.3f} ({low:.3f} to {high:.3f}), by pictures"
    return table


def _share(hits: int, trials: int) -> str:
    low, high = wilson(hits, trials)
    return f"{hits} of {trials}, {hits / trials:.1%} ({low:.1%} to {high:.1%})"


def _area(present: list[Odds], absent: list[Odds]) -> tuple[float, float, float]:
    """The area and its 95 % bootstrap interval over pictures, whose prompts are not independent."""
    rng = np.random.default_rng(SEED)
    areas = []
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(present), len(present))
        areas.append(auroc(*(np.concatenate([each[i] for i in drawn]) for each in (present, absent))))
    low, high = np.quantile(areas, (0.025, 0.975))
    return auroc(np.concatenate(present), np.concatenate(absent)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    parser.add_argument("--clip")
    parser.add_argument("--view", default=VIEW)
    parser.add_argument("--data", help="labelled pictures, as slip finetune takes them")
    parser.add_argument("--names", action="store_true", help="ask for species, not for looks")
    parser.add_argument("--count", type=int, default=400, help="pictures")
    arguments = parser.parse_args()
    slip = Slip.load(arguments.preset, clip=arguments.clip, view=arguments.view)
    count = arguments.count
    asked = composites(arguments.data, count) if arguments.data else scenes(count, arguments.names)
    present, absent = best_odds(slip, asked, count)
    least = np.clip(slip.scoring.min_score, 1e-12, 1 - 1e-12)
    Console(width=120).print(show(float(np.log(least / (1 - least))), present, absent))
    Console(width=120).print(f"models {slip.models}, view {slip.view}, {slip.scoring}")


if __name__ == "__main__":
    main()

"""Where to draw the line between a thing that is there and one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slip.data.composites import LEAST_TILE, draw_composite, plan_composites
from slip.data.pictures import Picture, PictureSet
from slip.models.scoring import to_json
from slip.options import EvalOptions, Scoring
from slip.pipeline.slip import Slip
from slip.types import Encoder, Proposer

FALSE_ACCEPTS, FALSE_REJECTS = 0.05, 0.10
"""What is asked of a threshold: at most these shares of the absent, and of the present."""

SHOWN = 4
"""Things that a picture shows, as in the composites of an evaluation."""
PAIRS = 4000
"""Presents, and absents, that are drawn."""
COMPOSITES = 100
"""Searched for real segments."""
SEED = 7
NOTHING = -100.0
"""The log-odds of a picture without any segment."""

Odds = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Line:
    """A threshold on log-odds, and what it does to the pairs it was drawn for.

    auroc: how likely a present has higher odds than an absent. false_accepts: share of the absents at
    or above the threshold; false_rejects: of the presents below it. pairs: presents and absents.
    """

    threshold: float
    auroc: float
    false_accepts: float
    false_rejects: float
    pairs: int


def draw_line(present: Odds, absent: Odds) -> Line:
    """The threshold at which the worse of both errors, each against its limit, is the least.

    present, absent: ``(N,)`` and ``(M,)`` log-odds, neither empty.
    """
    values = np.unique(np.concatenate([present, absent]))
    between = np.concatenate([values[:1] - 1, (values[:-1] + values[1:]) / 2, values[-1:] + 1])
    accepts = 1 - np.searchsorted(np.sort(absent), between) / len(absent)
    rejects = np.searchsorted(np.sort(present), between) / len(present)
    best = int(np.argmin(np.maximum(accepts / FALSE_ACCEPTS, rejects / FALSE_REJECTS)))
    return Line(
        float(between[best]),
        auroc(present, absent),
        float(accepts[best]),
        float(rejects[best]),
        len(present) + len(absent),
    )


def auroc(present: Odds, absent: Odds) -> float:
    """The area under the ROC curve: the share of pairs in the right order, ties counting half."""
    absent = np.sort(absent)
    below, not_above = (np.searchsorted(absent, present, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(absent)))


def draw_pairs(odds: Odds, true: NDArray[np.integer[Any]]) -> tuple[Odds, Odds]:
    """Log-odds of prompts for what is there, and for what is not, in pictures of several things.

    odds: ``(N, M)``, of N things with M prompts. true: ``(N,)``, the prompt of each. A picture
    is made of things of up to SHOWN different prompts, and scores as its best thing does. Returns
    presents and absents, ``(PAIRS,)`` each; none where a single prompt could not be absent.
    """
    if odds.shape[1] < 2:
        return np.empty(0), np.empty(0)
    kinds = np.unique(true)
    shown = min(SHOWN, len(kinds), odds.shape[1] - 1)
    rng = np.random.default_rng(SEED)
    of_kind = [np.flatnonzero(true == kind) for kind in kinds]
    present, absent = np.empty(PAIRS), np.empty(PAIRS)
    for pair in range(PAIRS):
        chosen = rng.permutation(len(kinds))[:shown]
        things = [int(rng.choice(of_kind[index])) for index in chosen]
        best = odds[things].max(axis=0)
        present[pair] = best[kinds[chosen[0]]]
        absent[pair] = best[rng.choice(np.setdiff1d(np.arange(odds.shape[1]), kinds[chosen]))]
    return present, absent


def search_pairs(
    data: PictureSet, pictures: Sequence[Picture], proposer: Proposer, encoder: Encoder
) -> tuple[Odds, Odds]:
    """The same of real segments: composites of held-out pictures, searched and ranked as ``Slip`` does.

    Four captions of each composite are there, and four that are not are drawn. Raises UsageError for
    fewer than SHOWN classes, ImageError.
    """
    captions = sorted({picture.caption for picture in data.pictures})
    options = EvalOptions(count=COMPOSITES, tile=max(proposer.image_size // 2, LEAST_TILE), asked="caption")
    slip, rng = Slip(proposer, encoder), np.random.default_rng(SEED)
    present: list[float] = []
    absent: list[float] = []
    for plan in plan_composites(pictures, options):
        composite = draw_composite(plan, data, options)
        proposals = slip.propose(composite.image)
        there = [tile.prompt for tile in composite.tiles]
        others = [caption for caption in captions if caption not in there]
        not_there = rng.choice(others, min(len(there), len(others)), replace=False)
        for prompts, odds in ((there, present), (not_there, absent)):
            odds += [slip.odds(proposals, str(prompt)).max(initial=NOTHING) for prompt in prompts]
    return np.array(present), np.array(absent)


def calibrate(present: Odds, absent: Odds) -> dict[str, Any]:
    """The scoring that a checkpoint stores, and how well it tells there from not there; JSON.

    present, absent: log-odds, with no negatives and no floor. The line becomes the floor, so that a
    score above .5 is a match. Nothing where there is nothing to tell apart.
    """
    if not (len(present) and len(absent)):
        return {}
    line = draw_line(present, absent)
    scoring = Scoring(floor=line.threshold, min_score=0.5)
    return {"scoring": to_json(scoring), "presence": asdict(line)}

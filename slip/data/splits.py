"""Which pictures are held out for validation."""

from __future__ import annotations

import csv
import hashlib
import io
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slip.data.pictures import Picture
from slip.errors import SlipWarning, UsageError
from slip.options import SPLIT, SplitOptions

_NAMED = 5
"""Classes that a message names."""


@dataclass(frozen=True)
class Split:
    """Two sides of a set, each sorted by name, with no group on both that a split could part."""

    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]


def split(pictures: Iterable[Picture], options: SplitOptions = SPLIT) -> Split:
    """Hold out a share of every class, as near to ``options.validation`` as whole groups allow.

    Which ones is decided by the seed and the names alone. Every class keeps a picture to train on; of
    classes with none to validate on a SlipWarning tells. Where classes are hardly shared, as where each
    picture has a caption of its own, the share is of the whole set instead: what is held out is then
    mostly of classes that are not trained on. Raises UsageError for a share that is not between 0 and
    1, and where no picture at all can be held out.

    A set with sides of its own keeps them, whatever the options: what it tests on is on neither.
    """
    if not 0 < options.validation < 1:
        raise UsageError(f"the validation share is {options.validation}; give one above 0 and below 1")
    ordered = sorted(pictures, key=lambda picture: picture.name)
    if any(picture.side for picture in ordered):
        return _as_given(ordered)
    groups: dict[int, list[Picture]] = defaultdict(list)
    for picture in ordered:
        groups[picture.group].append(picture)
    shuffled = _shuffled(groups.values(), options.seed)
    by_class = _classes_are_shared(shuffled)
    held_out = (_choose if by_class else _choose_of_all)(shuffled, options.validation)
    parts = Split(
        tuple(picture for picture in ordered if picture.group not in held_out),
        tuple(picture for picture in ordered if picture.group in held_out),
    )
    if not parts.validation:
        raise UsageError(
            f"no picture can be held out: {options.validation:g} of {'every class' if by_class else 'them'} "
            "is less than half a picture or the pictures are all copies; add pictures or hold out a larger "
            "share"
        )
    if by_class:
        _tell_unseen(parts)
    return parts


def trained_digest(pictures: Iterable[Picture]) -> str:
    """SHA-256, in hex, of the names of the pictures that are trained on, whatever their order."""
    names = "\n".join(sorted(picture.name for picture in pictures))
    return hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()


def split_csv(parts: Split) -> bytes:
    """The columns ``name``, ``label`` and ``side`` (train or validation), sorted by name, as UTF-8."""
    rows = [(picture.name, picture.label, "train") for picture in parts.train]
    rows += [(picture.name, picture.label, "validation") for picture in parts.validation]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([("name", "label", "side"), *sorted(rows)])
    return out.getvalue().encode("utf-8", "surrogateescape")


def _as_given(pictures: Sequence[Picture]) -> Split:
    """The sides that the pictures have. Raises UsageError where one of them is empty."""
    parts = Split(
        tuple(picture for picture in pictures if picture.side == "train"),
        tuple(picture for picture in pictures if picture.side == "validation"),
    )
    for side, held in (("train", parts.train), ("validate", parts.validation)):
        if not held:
            raise UsageError(f"the data set has no picture to {side} on; add some to that side")
    _tell_unseen(parts)
    return parts


def _shuffled(groups: Iterable[list[Picture]], seed: int) -> list[list[Picture]]:
    """In an order that depends on the seed and each group's first name, on every machine the same."""

    def place(group: list[Picture]) -> bytes:
        return hashlib.sha256(f"{seed}/{group[0].name}".encode("utf-8", "surrogatepass")).digest()

    return sorted(groups, key=place)


def _classes_are_shared(groups: Sequence[list[Picture]]) -> bool:
    """Whether half of the groups or more have a class in common with another group.

    Of the others no class could be both held out and trained on.
    """
    labels = [{picture.label for picture in group} for group in groups]
    count = Counter(label for own in labels for label in own)
    alone = sum(all(count[label] == 1 for label in own) for own in labels)
    return 2 * alone <= len(groups)


def _choose_of_all(groups: Sequence[list[Picture]], share: float) -> set[int]:
    """The groups to hold out of a set whatever their classes: each that brings it nearer to its share."""
    total = sum(len(group) for group in groups)
    wanted, held = share * total, 0
    chosen = set()
    for group in groups:
        more = held + len(group)
        if more < total and abs(more - wanted) < abs(held - wanted):
            chosen.add(group[0].group)
            held = more
    return chosen


def _choose(groups: Sequence[list[Picture]], share: float) -> set[int]:
    """The groups to hold out: first those across classes, then in each class what comes nearest."""
    total = Counter(picture.label for group in groups for picture in group)
    lone: dict[str, list[list[Picture]]] = defaultdict(list)
    across = []
    for group in groups:
        labels = {picture.label for picture in group}
        if len(labels) == 1:
            lone[group[0].label].append(group)
        else:
            across.append(group)
    chosen, held = _choose_across(across, total, share)
    for label, own in lone.items():
        sizes = [len(group) for group in own]
        wanted = share * total[label] - held[label]
        most = total[label] - held[label] - 1
        chosen += [own[index] for index in _nearest_sum(sizes, wanted, most)]
    return {group[0].group for group in chosen}


def _choose_across(
    groups: Sequence[list[Picture]], total: Counter[str], share: float
) -> tuple[list[list[Picture]], Counter[str]]:
    """Of groups across classes those that bring their classes nearer to the share of such pictures.

    Copies of one picture under two labels are right for neither; few of them are held out.
    """
    wanted = {
        label: share * count
        for label, count in Counter(picture.label for group in groups for picture in group).items()
    }
    chosen: list[list[Picture]] = []
    held: Counter[str] = Counter()
    for group in groups:
        own = Counter(picture.label for picture in group)
        if any(held[label] + count >= total[label] for label, count in own.items()):
            continue
        change = sum(
            abs(held[label] + count - wanted[label]) - abs(held[label] - wanted[label])
            for label, count in own.items()
        )
        if change < 0:
            chosen.append(group)
            held += own
    return chosen, held


def _nearest_sum(sizes: Sequence[int], wanted: float, most: int) -> list[int]:
    """Indices of ``sizes`` whose sum is nearest to ``wanted`` and at most ``most``; early ones first.

    ``reached[i]`` has a bit for every sum that ``sizes[i:]`` can make.
    """
    limit = max(0, min(most, int(wanted) + max(sizes)))
    useful = (1 << limit + 1) - 1
    reached = [1]
    for size in reversed(sizes):
        reached.append((reached[-1] | reached[-1] << size) & useful)
    reached.reverse()
    sums = (total for total in range(limit + 1) if reached[0] >> total & 1)
    rest = min(sums, key=lambda total: (abs(total - wanted), total))
    chosen = []
    for index, size in enumerate(sizes):
        if size <= rest and reached[index + 1] >> (rest - size) & 1:
            chosen.append(index)
            rest -= size
    return chosen


def _tell_unseen(parts: Split) -> None:
    """Warn (SlipWarning) of classes with none to validate on."""
    labels = {picture.label for picture in parts.train}
    unseen = sorted(labels - {picture.label for picture in parts.validation})
    if unseen:
        named = ", ".join(unseen[:_NAMED]) + (", ..." if len(unseen) > _NAMED else "")
        warnings.warn(
            f"{len(unseen)} of {len(labels)} classes have too few pictures to hold one out: {named}; "
            "they are trained on and not validated",
            SlipWarning,
            stacklevel=3,
        )

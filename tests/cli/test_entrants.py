"""Models are not measured on pictures that they, or the models they began with, were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
from fakes import segment_from

from slip.cli.entrants import check_split, crop_in
from slip.data.pictures import Picture
from slip.data.splits import split, trained_digest
from slip.errors import UsageError
from slip.options import SPLIT, SplitOptions
from slip.pipeline.crops import crop_views, members
from slip.types import Image, Mask

OTHER = SplitOptions(0.3, 7)


@dataclass(frozen=True)
class Listed:
    """A data set of which only the list is asked for."""

    pictures: tuple[Picture, ...]
    name: str = "pets"
    digest: str = "of pets"
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({picture.label for picture in self.pictures}))

    def load(self, picture: Picture) -> tuple[Image, Mask | None]:
        raise AssertionError(f"the pixels of {picture.name} are not asked for")


def listed(labels: Sequence[str] = ("cat", "dog"), each: int = 20, **about: str) -> Listed:
    names = [(label, f"{label}/{number}.png") for label in labels for number in range(each)]
    return Listed(
        tuple(Picture(name, label, label, group) for group, (label, name) in enumerate(names)), **about
    )


def training(data: Listed, options: SplitOptions = SPLIT, **more: Any) -> dict[str, Any]:
    """What a checkpoint tells of its training."""
    return {
        "data": data.name,
        "digest": data.digest,
        "classes": list(data.classes),
        "split": asdict(options),
        "trained": trained_digest(split(data.pictures, options).train),
        **more,
    }


def check(trained: Mapping[str, Any], data: Listed, options: SplitOptions = SPLIT) -> None:
    check_split([("first", {}), ("model", trained)], data, options, split(data.pictures, options))


def names(pictures: Sequence[Picture]) -> set[str]:
    return {picture.name for picture in pictures}


PETS = listed()
BIRDS = listed(("crow", "owl"), name="birds", digest="of birds")
GROWN = listed(each=25, digest="of more pets")
MOVED = listed(each=25, name="animals", digest="of more pets")
WIDER = listed(("cat", "cow", "dog"), digest="of farm and pets")


@pytest.mark.parametrize("options", [SPLIT, OTHER], ids=str)
def test_the_split_it_was_trained_with(options: SplitOptions) -> None:
    check(training(PETS, options), PETS, options)
    check(training(PETS, options, before=training(PETS, options, before=training(BIRDS))), PETS, options)


def test_another_set() -> None:
    check(training(BIRDS, OTHER), PETS)
    check({"data": None, "split": asdict(OTHER)}, PETS)


def test_a_training_that_does_not_tell_its_pictures() -> None:
    told = training(PETS)
    del told["trained"]
    check(told, PETS)
    with pytest.raises(UsageError, match="another split"):
        check(told, PETS, OTHER)


def test_captions_that_changed_leak_nothing() -> None:
    check(training(PETS, digest="with other captions"), PETS)


@pytest.mark.parametrize("data", [PETS, GROWN, MOVED, WIDER], ids=["same", "grown", "moved", "wider"])
def test_another_split_is_refused(data: Listed) -> None:
    says = "model was trained on pets with another split; .* --validation 0.3 --split-seed 7, .*--split all$"
    with pytest.raises(UsageError, match=says):
        check(training(PETS, OTHER), data)


@pytest.mark.parametrize("data", [GROWN, MOVED, WIDER], ids=["grown", "moved", "wider"])
def test_a_set_that_changed_since_is_refused(data: Listed) -> None:
    """Its name or its classes tell that it is the set."""
    with pytest.raises(UsageError, match="model was trained on pets with .*changed since.*--split all$"):
        check(training(PETS), data)


def test_a_set_that_grew_holds_out_what_was_trained_on() -> None:
    """Why it is refused."""
    assert names(split(GROWN.pictures).validation) & names(split(PETS.pictures).train)


@pytest.mark.parametrize(
    ("before", "says"), [(training(PETS, OTHER), "another split"), (training(GROWN), "changed since")]
)
def test_what_a_model_began_with_counts(before: dict[str, Any], says: str) -> None:
    birds = training(BIRDS, before=before)
    for last in (birds, training(PETS, before=birds), training(PETS, before=before)):
        with pytest.raises(UsageError, match=f"model was trained on pets with .*{says}"):
            check(last, PETS)


def test_of_an_ensemble_the_first_view_is_shown() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    segments = [segment_from(image[..., 0] > 100)]
    for view in ("blur", "ensemble"):
        shown = crop_views(image, segments, members(view)[0], 16)
        assert (crop_in(view)(image, segments, 16) == shown).all()

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import segment_from
from training.shapes import Shapes

from slip.masks import mask_iou
from slip.training.subjects import flood_subject
from slip.training.views import Labelled, Shown, letterbox, squash

SIZE = 32


def test_items_depend_on_seed_epoch_and_index_alone() -> None:
    data = Shapes()
    labelled = Labelled(data, data.pictures, SIZE, seed=3)
    first = labelled[0, 5][0]
    state = torch.get_rng_state()
    assert torch.equal(labelled[0, 5][0], first)
    assert torch.equal(torch.get_rng_state(), state)
    others = [labelled[1, 5][0], labelled[0, 6][0], Labelled(data, data.pictures, SIZE, seed=4)[0, 5][0]]
    assert not any(torch.equal(other, first) for other in others)


@pytest.mark.parametrize("with_masks", [True, False])
def test_items_are_squares_that_show_the_class(with_masks: bool) -> None:
    data = Shapes(with_masks=with_masks)
    labelled = Labelled(data, data.pictures, SIZE, seed=0)
    for epoch in range(20):
        crop, index = labelled[epoch, 7]
        assert (crop.shape, crop.dtype, index) == ((3, SIZE, SIZE), torch.uint8, 7)
        assert crop.float().std() > 0


@pytest.mark.parametrize(
    ("caption", "mirrored"), [("a front Left door", False), ("right eye", False), ("a bright eye", True)]
)
def test_what_is_left_or_right_is_not_mirrored(caption: str, mirrored: bool) -> None:
    data = Shapes(count=1)
    picture = replace(data.pictures[0], caption=caption)
    seen: list[float] = []

    class Flip(torch.nn.Module):
        def __init__(self, p: float = 0.5) -> None:
            super().__init__()
            seen.append(p)

        def forward(self, crop: torch.Tensor) -> torch.Tensor:
            return crop

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("slip.training.views.v2.RandomHorizontalFlip", Flip)
        Labelled(data, [picture], SIZE, seed=0)[0, 0]
    assert seen == [0.5 if mirrored else 0.0]


def test_segments_are_shown_as_often_as_asked() -> None:
    data = Shapes(count=1)
    picture = data.pictures[0]
    whole = np.ones((data.size, data.size), bool)
    whole[:, data.size // 2 :] = False
    segments = {picture.name: [segment_from(whole)]}
    always = Labelled(data, [picture], SIZE, 0, segments, 1.0)
    image, _ = data.load(picture)
    never = Labelled(data, [picture], SIZE, 0, {}, 1.0)
    rng = np.random.default_rng(0)
    assert always._crop(picture, image, None, rng).shape == (SIZE, SIZE, 3)
    assert any(not torch.equal(always[epoch, 0][0], never[epoch, 0][0]) for epoch in range(5))


def test_larger_segments_are_shown_more_often() -> None:
    data = Shapes(count=1)
    picture = data.pictures[0]
    large, small = np.zeros((2, data.size, data.size), bool)
    large[:36, :36] = True
    small[36:, 36:] = True
    image = np.zeros((data.size, data.size, 3), np.uint8)
    image[large], image[small] = (200, 0, 0), (0, 200, 0)
    labelled = Labelled(
        data, [picture], SIZE, 0, {picture.name: [segment_from(large), segment_from(small)]}, 1.0
    )
    rng = np.random.default_rng(1)
    shown = [labelled._crop(picture, image, None, rng).mean(axis=(0, 1)) for _ in range(200)]
    share = np.mean([crop[0] > crop[1] for crop in shown])
    assert 0.8 < share < 0.98


def test_shown_pictures_are_as_they_are() -> None:
    data = Shapes(size=SIZE)
    shown = Shown(data, data.pictures, SIZE, squash)
    crop, index = shown[2]
    assert np.array_equal(crop.numpy().transpose(1, 2, 0), data.load(data.pictures[2])[0])
    assert (index, len(shown)) == (2, len(data.pictures))
    assert torch.equal(shown[9, 2][0], crop)


def test_a_letterbox_keeps_the_aspect() -> None:
    image = np.zeros((10, 40, 3), np.uint8)
    crop = letterbox(image, 40)
    assert (crop[:15] == 255).all()
    assert (crop[15:25] == 0).all()
    assert (crop[25:] == 255).all()


def test_flooding_finds_the_subject_before_a_plain_background() -> None:
    data = Shapes(with_masks=True)
    for picture in data.pictures[::5]:
        image, truth = data.load(picture)
        found = flood_subject(image)
        assert truth is not None
        assert found is not None
        assert mask_iou(found, truth) == 1


def test_what_touches_no_border_belongs_to_the_subject() -> None:
    image = np.full((30, 30, 3), 255, np.uint8)
    image[5:25, 5:25] = 0
    image[10:20, 10:20] = 255
    found = flood_subject(image)
    assert found is not None
    assert found[15, 15]


@pytest.mark.parametrize(
    "image",
    [
        np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8),
        np.full((30, 30, 3), 255, np.uint8),
    ],
    ids=["no plain background", "nothing before it"],
)
def test_flooding_says_when_it_cannot_tell(image: np.ndarray) -> None:
    assert flood_subject(image) is None

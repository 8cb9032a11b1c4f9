"""What every proposer, encoder, view, overlap method and data set promises, found by themselves.

Everything is tested without being named here, but for how a network or a set of pictures is made:
a new one fails until PROPOSERS, ENCODERS or PICTURE_SETS says so.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
from data.sets_on_disk import drawing, save, save_folders
from training.small_paper import save_simple_clip

import slip.data
import slip.models
from slip.data.drawn import DrawnSet
from slip.data.folders import open_folders
from slip.data.parts import CritterParts, PartCrops
from slip.data.pictures import PictureSet
from slip.device import Compute
from slip.errors import UsageError
from slip.masks import segment_of
from slip.models import late_encoder, late_proposer, load_encoder, load_proposer
from slip.options import Overlap, ProposeOptions, View
from slip.pipeline.crops import VIEWS, crop_views
from slip.pipeline.overlap import METHODS, drop_overlaps
from slip.types import Encoder, Image, Proposer, Segment

CPU = Compute("cpu", "fp32")
EVERY_SEGMENT = ProposeOptions(points_per_side=3, pred_iou_thresh=0, stability_thresh=0)
TEXTS = ["a red bird", "青い鳥", "a", "a fish with spots and a very small tail"]
SIZES = [(48, 64), (64, 40), (1, 1), (1, 90), (200, 3)]

PROPOSERS: dict[str, Callable[[list[str], ProposeOptions], Proposer]] = {
    "LateProposer": lambda paths, options: late_proposer(paths[1], options, CPU),
    "SamProposer": lambda paths, options: load_proposer(paths[1], options, CPU),
    "ReferenceProposer": lambda paths, options: load_proposer(
        paths[1], replace(options, points="exhaustive"), CPU, proposer="reference"
    ),
}
ENCODERS: dict[str, Callable[[list[str]], Encoder]] = {
    "LateEncoder": lambda paths: late_encoder(simple_clip_beside(paths[3]), None, CPU),
    "LateDenseEncoder": lambda paths: late_encoder(paths[3], None, CPU),
    "ClipEncoder": lambda paths: load_encoder(paths[3], None, CPU),
    "SimpleClipEncoder": lambda paths: load_encoder(simple_clip_beside(paths[3]), None, CPU),
}


def simple_clip_beside(path: str) -> str:
    """The path of a checkpoint of the paper's dual encoder, in the folder of another."""
    return str(save_simple_clip(Path(path).with_name("simple_clip.safetensors")))


def picture(height: int, width: int, seed: int = 0) -> Image:
    """Noise that nobody may write to."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image.flags.writeable = False
    return image


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield import_module(found.name)


def modules_below(package: ModuleType) -> Iterator[ModuleType]:
    """``modules``, and those of the packages in it."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield import_module(found.name)


def classes_like(protocol: type) -> list[str]:
    """The names of the classes that modules below slip.models define with the protocol's methods."""
    methods = [name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if name[0] != "_"]
    return [
        name
        for module in modules_below(slip.models)
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and all(hasattr(kind, method) for method in methods)
    ]


def factory(name: str, table: str) -> Any:
    """How a network is made for the tests."""
    if name not in globals()[table]:
        pytest.fail(f"{name} is new: add to {table} of {__name__} how its smallest kind is made")
    return globals()[table][name]


def same(a: Segment, b: Segment) -> bool:
    return a.box == b.box and np.array_equal(a.patch, b.patch) and a.score == b.score


def test_networks_are_discovered() -> None:
    assert {"SamProposer", "ReferenceProposer"} <= set(classes_like(Proposer))
    assert "ClipEncoder" in classes_like(Encoder)


def test_a_new_network_fails_until_it_can_be_made() -> None:
    with pytest.raises(pytest.fail.Exception, match="NewEncoder is new: add to ENCODERS"):
        factory("NewEncoder", "ENCODERS")


@pytest.fixture(scope="module", params=classes_like(Proposer))
def make_proposer(request: pytest.FixtureRequest, tiny_models: list[str]) -> Any:
    make = factory(request.param, "PROPOSERS")
    return lambda **options: make(tiny_models, replace(EVERY_SEGMENT, **options))


@pytest.fixture(scope="module")
def proposer(make_proposer: Any) -> Proposer:
    return make_proposer()


class TestProposers:
    def test_it_has_a_name(self, proposer: Proposer) -> None:
        assert isinstance(proposer.name, str) and proposer.name

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_segments_are_as_promised(self, proposer: Proposer, size: tuple[int, int]) -> None:
        for segment in proposer.propose(picture(*size)):
            assert segment.image_size == size
            assert segment.patch.dtype == bool and segment.patch.any()
            assert segment.patch.shape == (segment.box.height, segment.box.width)
            assert segment.mask.shape == size
            assert np.isfinite(segment.predicted_iou) and 0 <= segment.stability <= 1
            assert segment.score is None

    def test_it_is_deterministic(self, make_proposer: Any) -> None:
        first, again, other = make_proposer(), make_proposer(), picture(40, 30, seed=1)
        expected = first.propose(picture(48, 64))
        assert expected, "the contract is empty without segments"
        first.propose(other)
        for found in (first.propose(picture(48, 64)), again.propose(picture(48, 64))):
            assert all(map(same, found, expected)) and len(found) == len(expected)

    def test_batches_do_not_matter(self, make_proposer: Any) -> None:
        ways = [make_proposer(points_per_batch=size).propose(picture(48, 64)) for size in (1, 4, 64)]
        assert len({len(found) for found in ways}) == 1
        for found in ways[1:]:
            assert all(map(same, found, ways[0]))

    def test_progress_reaches_its_total(self, proposer: Proposer) -> None:
        calls: list[tuple[str, int, int]] = []
        proposer.propose(picture(48, 64), lambda *call: calls.append(call))
        counts = [done for _, done, _ in calls]
        assert counts == sorted(counts) and calls[-1][1] == calls[-1][2]


@pytest.fixture(scope="module", params=classes_like(Encoder))
def encoder(request: pytest.FixtureRequest, tiny_models: list[str]) -> Encoder:
    return factory(request.param, "ENCODERS")(tiny_models)


def crops_for(encoder: Encoder, count: int) -> Image:
    side = encoder.image_size
    return picture(count * side, side).reshape(count, side, side, 3)


class TestEncoders:
    def test_it_has_a_name_and_a_size(self, encoder: Encoder) -> None:
        assert isinstance(encoder.name, str) and encoder.name
        assert isinstance(encoder.image_size, int) and encoder.image_size > 0

    def test_features_are_unit_rows_of_one_space(self, encoder: Encoder) -> None:
        images, texts = encoder.encode_images(crops_for(encoder, 3)), encoder.encode_text(TEXTS)
        assert (len(images), len(texts)) == (3, len(TEXTS))
        assert images.shape[1] == texts.shape[1]
        for features in (images, texts):
            assert features.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)

    def test_nothing_gives_no_rows(self, encoder: Encoder) -> None:
        assert encoder.encode_images(crops_for(encoder, 0)).shape == encoder.encode_text([]).shape

    def test_batches_do_not_matter(self, encoder: Encoder) -> None:
        crops = crops_for(encoder, 70)
        singly = np.concatenate([encoder.encode_images(crops[i : i + 1]) for i in (0, 31, 32, 69)])
        np.testing.assert_allclose(encoder.encode_images(crops)[[0, 31, 32, 69]], singly, atol=1e-5)
        alone = np.concatenate([encoder.encode_text([text]) for text in TEXTS])
        np.testing.assert_allclose(encoder.encode_text(TEXTS), alone, atol=1e-5)

    def test_it_is_deterministic(self, encoder: Encoder) -> None:
        crops = crops_for(encoder, 5)
        np.testing.assert_array_equal(encoder.encode_images(crops), encoder.encode_images(crops))
        np.testing.assert_array_equal(encoder.encode_text(TEXTS), encoder.encode_text(TEXTS))

    def test_other_layouts_are_refused(self, encoder: Encoder) -> None:
        crops = crops_for(encoder, 2)
        for wrong in (crops[0], crops[..., :2], crops[:, :-1], crops / np.float32(255)):
            with pytest.raises(UsageError):
                encoder.encode_images(wrong)


def drawn_segments(height: int, width: int, count: int = 12) -> list[Segment]:
    """Random discs of different areas and qualities; the first fills the picture, one is a pixel."""
    random = np.random.default_rng(height + width)
    y, x = np.mgrid[:height, :width]
    masks = [np.ones((height, width), bool), (y == height // 2) & (x == width // 2)]
    while len(masks) < count:
        row, column, radius = random.uniform((0, 0, 1), (height, width, max(2, min(height, width) / 2)))
        masks.append((y - row) ** 2 + (x - column) ** 2 <= radius**2)
    found = (segment_of(mask, random.uniform(0.5, 1)) for mask in masks)
    return list({segment.area: segment for segment in found if segment is not None}.values())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("view", tuple(VIEWS))
class TestViews:
    def test_crops_are_as_promised(self, view: View, size: tuple[int, int]) -> None:
        image, segments = picture(*size), drawn_segments(*size)
        crops = crop_views(image, segments, view, 24)
        assert crops.shape == (len(segments), 24, 24, 3) and crops.dtype == np.uint8
        np.testing.assert_array_equal(crops, crop_views(image, segments, view, 24))

    def test_crops_do_not_depend_on_each_other(self, view: View, size: tuple[int, int]) -> None:
        image, segments = picture(*size), drawn_segments(*size)
        singly = [crop_views(image, [segment], view, 24)[0] for segment in segments]
        np.testing.assert_array_equal(crop_views(image, segments, view, 24), singly)

    def test_nothing_gives_no_crops(self, view: View, size: tuple[int, int]) -> None:
        assert crop_views(picture(*size), [], view, 24).shape == (0, 24, 24, 3)


def test_every_view_and_method_is_offered() -> None:
    assert (*VIEWS, "ensemble") == get_args(View)
    assert set(METHODS) == set(get_args(Overlap))


@pytest.mark.parametrize("method", get_args(Overlap))
class TestOverlaps:
    def test_some_of_the_segments_stay(self, method: Overlap) -> None:
        given = drawn_segments(60, 80)
        kept = drop_overlaps(given, method)
        assert kept and {id(segment) for segment in kept} <= {id(segment) for segment in given}
        assert len({id(segment) for segment in kept}) == len(kept)
        assert list(map(id, drop_overlaps(given, method))) == list(map(id, kept))

    def test_the_order_of_unlike_segments_does_not_matter(self, method: Overlap) -> None:
        given = drawn_segments(60, 80)
        shuffled = [given[index] for index in np.random.default_rng(0).permutation(len(given))]
        assert set(map(id, drop_overlaps(shuffled, method))) == set(map(id, drop_overlaps(given, method)))

    def test_nothing_and_a_lone_segment_stay(self, method: Overlap) -> None:
        lone = drawn_segments(60, 80)[:1]
        assert drop_overlaps([], method) == []
        assert drop_overlaps(lone, method) == lone


DATA_SETS = [module for module in modules(slip.data) if hasattr(module, "make_scene")]


@pytest.mark.parametrize("data", DATA_SETS, ids=lambda module: module.__name__)
class TestScenes:
    def test_a_scene_tells_the_truth_in_the_promised_layout(self, data: ModuleType) -> None:
        for seed in range(3):
            scene = data.make_scene(seed, size=96)
            assert scene.image.shape == (96, 96, 3) and scene.image.dtype == np.uint8
            for truth in (scene.objects, scene.parts):
                assert truth.shape == (96, 96) and truth.dtype == np.uint8
            numbers = [thing.number for thing in scene.things]
            assert numbers and set(np.unique(scene.objects)) <= {0, *numbers}
            assert len(set(numbers)) == len(numbers)
            assert not scene.parts[scene.objects == 0].any()
            for thing in scene.things:
                assert scene.mask(thing).dtype == bool and thing.caption

    def test_parts_lie_in_their_object(self, data: ModuleType) -> None:
        scene = data.make_scene(5, size=96)
        for thing in scene.critters:
            own, parts = scene.mask(thing), scene.part_masks(thing)
            assert parts.keys() == scene.part_captions(thing).keys()
            assert all((mask <= own).all() and mask.any() for mask in parts.values())

    def test_the_seed_decides(self, data: ModuleType) -> None:
        np.random.seed(3)
        before = np.random.get_state()[1].copy()
        one, again, other = (data.make_scene(seed, size=96) for seed in (7, 7, 8))
        assert np.array_equal(np.random.get_state()[1], before)
        assert np.array_equal(one.image, again.image) and np.array_equal(one.parts, again.parts)
        assert one.things == again.things
        assert not np.array_equal(one.image, other.image)


def test_there_is_a_data_set() -> None:
    assert DATA_SETS


def folders(root: Path, *, changed: bool) -> PictureSet:
    """Pictures with and without alpha, one of them ``changed``."""
    save_folders(root, 3)
    cut_out = np.dstack([drawing(7), np.full((48, 64), 255, np.uint8)])
    cut_out[:, :20, 3] = 0
    save(root / "bee" / "cut-out.png", cut_out)
    if changed:
        save(root / "ant" / "1.png", drawing(99))
    return open_folders(root)


PICTURE_SETS: dict[str, Callable[..., PictureSet]] = {
    "FileSet": folders,
    "DrawnSet": lambda _, *, changed: DrawnSet(
        count=2, size=32, seed=int(changed), species=slip.data.critters.SPECIES[:3]
    ),
    "PartCrops": lambda _, *, changed: PartCrops(
        CritterParts(1, 64, seed=int(changed), species=slip.data.critters.SPECIES[:3])
    ),
}


def picture_sets() -> list[str]:
    """The names of the classes in slip.data that have all a PictureSet has."""
    promised = [name for name in vars(PictureSet) if name[0] != "_"]
    return [
        name
        for module in modules_below(slip.data)
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and kind is not PictureSet
        if set(promised) <= {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
    ]


def test_picture_sets_are_discovered() -> None:
    assert {"FileSet", "DrawnSet", "PartCrops"} <= set(picture_sets())


@pytest.mark.parametrize("name", picture_sets())
class TestPictureSets:
    def test_pictures_are_as_promised(self, name: str, tmp_path: Path) -> None:
        found = factory(name, "PICTURE_SETS")(tmp_path, changed=False)
        names = [picture.name for picture in found.pictures]
        assert found.name and names == sorted(set(names)) and len(names) > 5
        assert list(found.classes) == sorted({picture.label for picture in found.pictures})
        assert all(picture.caption for picture in found.pictures)
        assert list(found.unreadable) == sorted(found.unreadable)

    def test_pixels_and_masks_are_as_promised(self, name: str, tmp_path: Path) -> None:
        found = factory(name, "PICTURE_SETS")(tmp_path, changed=False)
        masks = []
        for picture in found.pictures:
            image, mask = found.load(picture)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            if mask is not None:
                assert mask.dtype == bool and mask.shape == image.shape[:2]
                assert mask.any() and not mask.all()
                masks.append(mask)
        assert masks, "the contract is empty without masks"

    def test_pictures_are_the_same_each_time_whatever_is_done_to_them(
        self, name: str, tmp_path: Path
    ) -> None:
        found = factory(name, "PICTURE_SETS")(tmp_path, changed=False)
        for picture in reversed(found.pictures):
            image, mask = found.load(picture)
            expected = image.copy(), None if mask is None else mask.copy()
            image[:] = 1
            if mask is not None:
                mask[:] = ~mask
            again = found.load(picture)
            assert np.array_equal(again[0], expected[0])
            assert (again[1] is None) == (expected[1] is None)
            assert expected[1] is None or np.array_equal(again[1], expected[1])

    def test_the_digest_is_of_the_content(self, name: str, tmp_path: Path) -> None:
        make = factory(name, "PICTURE_SETS")
        one, again = make(tmp_path / "a", changed=False), make(tmp_path / "b", changed=False)
        other = make(tmp_path / "a", changed=True)
        assert one.digest == again.digest != other.digest
        assert len(one.digest) == 64 and int(one.digest, 16)
        assert one.pictures == again.pictures

"""``SamProposer`` against ``ReferenceProposer``, segment_anything's generator, on the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.toy_sam import ALL, check_same, picture, toy
from segment_anything.modeling import Sam

from slip.data.critters.scenes import Scene, make_scene
from slip.device import Compute
from slip.errors import UsageError
from slip.masks import segment_iou
from slip.models import check_proposer, load_encoder, load_proposer
from slip.models.sam import proposer
from slip.models.sam.decoder import PointDecoder
from slip.models.sam.proposer import SamProposer
from slip.models.sam.reference import ReferenceProposer
from slip.options import Points, ProposeOptions, propose_options
from slip.pipeline.slip import Slip
from slip.types import Image, Progress, Proposer, Segment

CPU = Compute("cpu", "fp32")
SIZES = [
    (48, 64),
    (64, 64),
    (128, 32),
    (300, 500),
    (3, 3),
    (2, 3),
    (1, 1),
    (1, 7),
    (5, 1),
    (1, 2000),
    (2000, 1),
]
SAMS = {
    "toy": {},
    "two layers": {"decoder_depth": 2, "decoder_heads": 4},
    "windows that need padding": {"window_size": 3},
    "without relative positions": {"use_rel_pos": False},
    "a larger input": {"image_size": 128},
}
LEAST_RECALL = 0.97
"""Share of the exhaustive masks that the adaptive ones repeat at an IoU of .9."""


@pytest.fixture(scope="module")
def sam() -> Sam:
    return toy()


def ours(sam: Sam, options: ProposeOptions = ALL, compute: Compute = CPU) -> SamProposer:
    return SamProposer(sam, options, compute, "toy")


def reference(sam: Sam, options: ProposeOptions = ALL) -> ReferenceProposer:
    made = ReferenceProposer(sam, options, CPU, "toy")
    made._generator.box_nms_thresh = proposer.BOX_NMS
    return made


@pytest.fixture
def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of random weights nearly all fill the frame."""
    monkeypatch.setattr(proposer, "BOX_NMS", 1.0)


# Exhaustive: the same masks


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pictures_of_all_sizes(sam: Sam, size: tuple[int, int]) -> None:
    image = picture(*size)
    found = ours(sam).propose(image)
    check_same(found, reference(sam).propose(image))
    assert all(segment.image_size == size and segment.area > 0 for segment in found)
    assert len(found) > 1 or min(size) < 4


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("changes", SAMS.values(), ids=SAMS.keys())
def test_architectures(changes: dict[str, object]) -> None:
    sam, image = toy(**changes), picture(50, 70)
    found = ours(sam).propose(image)
    assert len({segment.area for segment in found}) > 10
    check_same(found, reference(sam).propose(image))


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", ["predicted_iou", "stability"])
def test_thresholds_drop_the_same(sam: Sam, name: str, share: float) -> None:
    image, options = picture(48, 64), replace(ALL, points_per_side=8)
    every = ours(sam, options).propose(image)
    values = sorted({value for each in every if 0 < (value := getattr(each, name)) < 1})
    start = int(share * (len(values) - 1))
    least = (values[start] + values[start + 1]) / 2  # where rounding does not decide
    if name == "stability":
        options = replace(options, stability_thresh=least)
    else:
        options = replace(options, pred_iou_thresh=least)
    found = ours(sam, options).propose(image)
    assert 0 < len(found) < len(every)
    check_same(found, reference(sam, options).propose(image))


class Scenes:
    """Critters, and what the built-in SAM finds in them."""

    def __init__(self, count: int) -> None:
        self.scenes: list[Scene] = [make_scene(950_000 + number) for number in range(count)]
        self.options = replace(propose_options("tiny"), points="exhaustive")
        self.exhaustive = self.propose("exhaustive")

    def propose(self, points: Points) -> list[list[Segment]]:
        fast = load_proposer("tiny", replace(self.options, points=points), CPU)
        return [fast.propose(scene.image) for scene in self.scenes]


@pytest.fixture(scope="module")
def critters() -> Scenes:
    return Scenes(12)


@pytest.fixture(scope="module")
def of_the_reference(critters: Scenes) -> list[list[Segment]]:
    generator = load_proposer("tiny", critters.options, CPU, proposer="reference")
    assert isinstance(generator, ReferenceProposer)
    return [generator.propose(scene.image) for scene in critters.scenes[:3]]


def test_trained_weights(critters: Scenes, of_the_reference: list[list[Segment]]) -> None:
    for found, expected in zip(critters.exhaustive, of_the_reference, strict=False):
        assert len(expected) > 4
        check_same(found, expected)


# Adaptive: nearly the same masks of fewer points


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many points the decoder is asked together, batch by batch."""
    batches: list[int] = []
    answer = PointDecoder.answer

    def count(self: PointDecoder, view: object, points: torch.Tensor) -> object:
        assert points.dtype == torch.float32, "MPS has no float64"
        batches.append(len(points))
        return answer(self, view, points)

    monkeypatch.setattr(PointDecoder, "answer", count)
    return batches


def recall(found: list[Segment], expected: list[Segment]) -> list[bool]:
    return [max((segment_iou(each, other) for other in found), default=0) >= 0.9 for each in expected]


def test_fewer_points_find_nearly_all_masks(critters: Scenes, asked: list[int]) -> None:
    adaptive = critters.propose("adaptive")
    assert sum(asked) < 0.65 * 16**2 * len(critters.scenes)
    contained = [
        each
        for found, expected in zip(adaptive, critters.exhaustive, strict=True)
        for each in recall(found, expected)
    ]
    assert len(contained) > 100 and np.mean(contained) >= LEAST_RECALL


def test_and_of_a_denser_grid(critters: Scenes, asked: list[int]) -> None:
    options, contained = replace(critters.options, points_per_side=32), []
    for scene in critters.scenes[:1]:
        expected = load_proposer("tiny", options, CPU).propose(scene.image)
        asked.clear()
        found = load_proposer("tiny", replace(options, points="adaptive"), CPU).propose(scene.image)
        assert sum(asked) < 0.65 * 32**2
        contained += recall(found, expected)
    assert len(contained) > 10 and np.mean(contained) >= LEAST_RECALL


def test_the_chosen_masks_are_the_references(critters: Scenes, of_the_reference: list[list[Segment]]) -> None:
    encoder = load_encoder("tiny", None, CPU)
    fast = Slip(load_proposer("tiny", propose_options("tiny"), CPU), encoder)
    asked = 0
    for scene, expected in zip(critters.scenes, of_the_reference, strict=False):
        prompts = [critter.caption for critter in scene.critters]
        of_them = Slip(Kept(expected), encoder).segment_each(scene.image, prompts)
        for mine, theirs in zip(fast.segment_each(scene.image, prompts), of_them, strict=True):
            assert segment_iou(mine.best, theirs.best) >= 0.9
            asked += 1
    assert asked > 10


class Kept:
    """A proposer that has proposed."""

    name, image_size = "kept", 256

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        return self.segments


# Both


@pytest.fixture(params=["adaptive", "exhaustive"])
def options(request: pytest.FixtureRequest) -> ProposeOptions:
    return replace(ALL, points=request.param, points_per_side=9)


def test_progress_reaches_its_total_and_never_falls(sam: Sam, options: ProposeOptions) -> None:
    told: list[tuple[str, int, int]] = []
    ours(sam, options).propose(picture(48, 64), lambda *step: told.append(step))
    assert {(stage, total) for stage, _, total in told} == {("propose", 81)}
    counts = [done for _, done, _ in told]
    assert counts[0] == 0 and counts[-1] == 81 and counts == sorted(counts)
    assert len(set(counts)) > 3
    assert all(type(count) is int for count in counts)


def test_the_exhaustive_asks_every_point_once_in_batches(sam: Sam, asked: list[int]) -> None:
    ours(sam, replace(ALL, points_per_batch=6)).propose(picture(48, 64))
    assert asked == [6, 6, 4]
    asked.clear()
    ours(sam, replace(ALL, points_per_batch=None)).propose(picture(48, 64))
    assert asked == [16]


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 7])
def test_coarse_grids(sam: Sam, options: ProposeOptions, side: int) -> None:
    assert ours(sam, replace(options, points_per_side=side)).propose(picture(48, 64))


def check_equal(found: list[Segment], expected: list[Segment]) -> None:
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        assert one.box == other.box and np.array_equal(one.patch, other.patch)
        assert (one.predicted_iou, one.stability) == (other.predicted_iou, other.stability)


def test_proposing_is_repeatable(sam: Sam, options: ProposeOptions) -> None:
    fast = ours(sam, options)
    first = fast.propose(picture(48, 64))
    fast.propose(picture(60, 20, seed=1))
    check_equal(fast.propose(picture(48, 64)), first)
    check_equal(ours(sam, options).propose(picture(48, 64)), first)


def test_segments_come_by_falling_quality(sam: Sam, options: ProposeOptions) -> None:
    qualities = [segment.predicted_iou for segment in ours(sam, options).propose(picture(48, 64))]
    assert qualities == sorted(qualities, reverse=True)


@pytest.mark.parametrize("kind", [SamProposer, ReferenceProposer])
def test_bfloat16_gives_finite_floats(sam: Sam, kind: Callable[..., Proposer]) -> None:
    segments = kind(sam, ALL, Compute("cpu", "bf16"), "toy").propose(picture(48, 64))
    assert segments
    for segment in segments:
        for value in (segment.predicted_iou, segment.stability):
            assert type(value) is float and math.isfinite(value)


def test_bfloat16_finds_the_masks_of_trained_weights(critters: Scenes) -> None:
    rough = load_proposer("tiny", critters.options, Compute("cpu", "bf16"))
    contained = [
        each
        for scene, expected in zip(critters.scenes[:2], critters.exhaustive, strict=False)
        for each in recall(rough.propose(scene.image), expected)
    ]
    assert np.mean(contained) >= 0.9


@pytest.mark.filterwarnings("error", "ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_predicted_iou_that_is_no_number_drops_its_mask(value: float, options: ProposeOptions) -> None:
    sam, image = toy(), picture(48, 64)
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[-1].bias[2] = value
    some = ours(sam, options).propose(image)
    assert some and all(math.isfinite(segment.predicted_iou) for segment in some)
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[-1].bias[:] = value
    assert ours(sam, options).propose(image) == []


@pytest.mark.filterwarnings("error", "ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("value", [-1e6, float("nan"), float("inf")])
def test_masks_without_a_pixel_are_dropped(value: float, options: ProposeOptions) -> None:
    sam, image = toy(), picture(48, 64)
    fill(sam, (1, 2, 3), value)
    assert ours(sam, options).propose(image) == []
    sam = toy()
    fill(sam, (2,), value)
    assert ours(sam, options).propose(image)


def fill(sam: Sam, masks: tuple[int, ...], value: float) -> None:
    """Give every pixel of these masks of every point the logit ``value``, or one of its sign."""
    with torch.no_grad():
        sam.mask_decoder.output_upscaling[3].bias[:] = 50.0
        for mask in masks:
            last = sam.mask_decoder.output_hypernetworks_mlps[mask].layers[-1]
            last.weight[:] = 0.0
            last.bias[:] = value


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("points_per_side", (0, -1, 257)),
        ("points_per_batch", (0, -1)),
        ("pred_iou_thresh", (-0.1, 1.1, float("nan"))),
        ("stability_thresh", (-0.1, 1.1, float("inf"))),
        ("points", ("random", "")),
    ],
)
def test_options_out_of_range_are_refused(sam: Sam, option: str, values: tuple[object, ...]) -> None:
    for value in values:
        options = replace(ALL, **{option: value})
        with pytest.raises(UsageError, match=f"{option} cannot be {value!r}"):
            check_proposer("vit_b", options)
        for make in (ours, reference):
            with pytest.raises(UsageError, match=f"{option} cannot be {value!r}"):
                make(sam, options)

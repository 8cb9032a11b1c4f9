from __future__ import annotations

import warnings
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import COLOURS, FakeEncoder, FakeProposer, segment_from
from hypothesis import given
from hypothesis.extra.numpy import arrays

from slip.cache import Cache
from slip.errors import SlipWarning
from slip.masks import segment_of
from slip.options import Scoring
from slip.pipeline.keep import Keeping
from slip.pipeline.slip import Slip

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any)
trust = st.floats(allow_nan=False, width=64)


def scene(shift=0):
    image = np.zeros((30, 40, 3), np.uint8)
    image[2:8, 3 + shift : 9 + shift], image[10:25, 5:15], image[5:12, 25:38] = COLOURS.values()
    return image


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def fresh(cache, proposer="p", encoder="e", **how):
    """A Slip of a new process: models that were asked nothing yet, and what the disk holds."""
    how = {"view": "black", **how}
    return Slip(FakeProposer(), FakeEncoder(), keeping=Keeping(cache, proposer, encoder), **how)


def asked(slip):
    return len(slip.proposer.seen), sum(slip.encoder.batches), list(slip.encoder.texts)


def same(one, other):
    assert one.scores == other.scores
    for mine, theirs in zip(one.segments, other.segments, strict=True):
        assert (mine.mask == theirs.mask).all()
        assert (mine.box, mine.score) == (theirs.box, theirs.score)
        assert (mine.predicted_iou, mine.stability) == (theirs.predicted_iou, theirs.stability)


@given(st.lists(st.tuples(masks, trust, trust), max_size=5))
def test_kept_segments_come_back_to_the_bit(tmp_path_factory, drawn):
    keeping = Keeping(Cache(tmp_path_factory.mktemp("cache")), "p", "e")
    found = [segment_from(mask, iou, stability) for mask, iou, stability in drawn]
    assert keeping.segments(scene(), lambda: found) is found
    for first, again in zip(found, keeping.segments(scene(), lambda: pytest.fail("searched")), strict=True):
        assert (first.patch == again.patch).all()
        assert again.patch.dtype == bool
        kept = ("box", "image_size", "predicted_iou", "stability", "score")
        assert [getattr(first, name) for name in kept] == [getattr(again, name) for name in kept]


def test_what_nobody_estimated_stays_so(cache):
    found = [segment_of(np.ones((4, 4), bool))]
    keeping = Keeping(cache, "p", "e")
    keeping.segments(scene(), lambda: found)
    [again] = keeping.segments(scene(), lambda: pytest.fail("searched"))
    assert (again.predicted_iou, again.stability, again.trust) == (None, None, 1.0)


def test_another_process_computes_nothing_again(cache):
    first = fresh(cache)
    expected = first.segment(scene(), "red")
    assert asked(first) == (1, 3, ["red"])
    again = fresh(cache)
    same(expected, again.segment(scene(), "red"))
    assert asked(again) == (0, 0, [])
    assert again.segment(scene(), "blue").best.box != expected.best.box
    assert asked(again) == (0, 0, ["blue"])


def test_what_is_kept_changes_nothing(cache):
    how = {"view": "ensemble", "scoring": Scoring(negatives=("green",), presence=0.3, prior=0.5)}
    plain = Slip(FakeProposer(), FakeEncoder(), **how).segment(scene(), "red")
    for _ in range(2):
        same(plain, fresh(cache, **how).segment(scene(), "red"))


@pytest.mark.parametrize(
    "other, expected",
    [
        ({"proposer": "p2"}, (1, 0, [])),
        ({"encoder": "e2"}, (0, 3, ["red"])),
        ({"view": "blur"}, (0, 3, [])),
        ({"overlap": "paper"}, (0, 2, [])),
        ({"overlap": "none"}, (0, 0, [])),
        ({"scoring": Scoring(templates=("a {}",))}, (0, 0, ["a red"])),
        ({"scoring": Scoring(floor=3.0, min_score=0.1, prior=1.0)}, (0, 0, [])),
        ({"scoring": Scoring(presence=0.5)}, (0, 1, [])),
    ],
)
def test_only_what_depends_on_a_change_is_computed_again(cache, other, expected):
    fresh(cache).segment(scene(), "red")
    changed = fresh(cache, **other)
    changed.segment(scene(), "red")
    assert asked(changed) == expected


def test_another_picture_is_searched(cache):
    fresh(cache).segment(scene(), "red")
    other = fresh(cache)
    assert other.segment(scene(shift=1), "red").best.box.x1 == 4
    assert asked(other)[0] == 1


def test_a_picture_of_another_shape_with_the_same_bytes_is_another(cache):
    keeping, flat = Keeping(cache, "p", "e"), scene()
    assert keeping.subject(flat, []) != keeping.subject(flat.reshape(40, 30, 3), [])
    assert keeping.subject(flat, []) == keeping.subject(np.asfortranarray(flat), [])


def test_other_segments_of_a_known_picture_are_looked_at(cache):
    """What is kept of all segments is not taken for that of some, or of the same in another order."""
    slip = fresh(cache)
    proposals = slip.propose(scene())
    everything = slip.rank(proposals, "red")
    for chosen in ([2, 0], [2, 1, 0]):
        some = replace(proposals, segments=[proposals.segments[index] for index in chosen])
        plain = Slip(FakeProposer(), FakeEncoder(), view="black")
        same(fresh(cache).rank(some, "red"), plain.rank(some, "red"))
    same(fresh(cache).segment(scene(), "red"), everything)


@pytest.mark.parametrize("category, times", [(SlipWarning, 2), (DeprecationWarning, 1)])
def test_texts_that_are_warned_of_are_warned_of_each_time(cache, category, times):
    keeping, encoded = Keeping(cache, "p", "e"), []

    def encode():
        encoded.append(1)
        warnings.warn("cut", category, stacklevel=1)
        return np.ones((1, 3), np.float32)

    with pytest.warns(category, match="cut") as told:
        for _ in range(2):
            assert keeping.texts(["long"], encode).tolist() == [[1, 1, 1]]
    assert len(told) == len(encoded) == times


def test_a_warning_nobody_hears_is_not_forgotten(cache):
    keeping = Keeping(cache, "p", "e")

    def encode():
        warnings.warn("cut", SlipWarning, stacklevel=1)
        return np.ones((1, 3), np.float32)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        keeping.texts(["long"], encode)
    assert not told
    with pytest.warns(SlipWarning, match="cut"):
        keeping.texts(["long"], encode)


def test_pictures_and_prompts_are_not_stored(cache):
    image = scene()
    image[:] = np.random.default_rng(0).integers(1, 255, image.shape)
    image[2:8, 3:9] = COLOURS["red"]
    keeping = Keeping(cache, "p", "e")
    keeping.segments(image, lambda: [segment_from((image == COLOURS["red"]).all(axis=2))])
    keeping.texts(["a secret prompt"], lambda: np.ones((1, 3), np.float32))
    held = b"".join(path.read_bytes() for path in cache.folder.rglob("*") if path.is_file())
    assert held
    assert b"secret" not in held
    assert image.tobytes()[:300] not in held
    assert image[0].tobytes() not in held

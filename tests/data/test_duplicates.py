from __future__ import annotations

from io import BytesIO
from itertools import combinations

import numpy as np
import PIL.Image
import pytest
from data.sets_on_disk import drawing
from hypothesis import given, settings
from hypothesis import strategies as st

from slip.data import duplicates
from slip.data.duplicates import NEAR, Fingerprint, fingerprint, group_duplicates, near_pairs
from slip.types import Image


def again(image: Image, scale: float, quality: int) -> Image:
    """The picture at another size, through JPEG."""
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    out = BytesIO()
    PIL.Image.fromarray(image).resize(size).save(out, "JPEG", quality=quality)
    return np.array(PIL.Image.open(out))


def differing(one: Image, other: Image) -> int:
    looks = fingerprint(one).looks, fingerprint(other).looks
    assert None not in looks
    return (looks[0] ^ looks[1]).bit_count()  # type: ignore[operator]


@pytest.mark.parametrize(("scale", "quality"), [(1, 60), (0.5, 80), (1.7, 75), (3, 30)])
def test_size_and_compression_hardly_change_the_hash(scale: float, quality: int) -> None:
    for seed in range(20):
        image = drawing(seed, (96, 128))
        assert differing(image, again(image, scale, quality)) <= NEAR


def test_other_pictures_differ_by_far() -> None:
    distances = [differing(drawing(one), drawing(other)) for one, other in combinations(range(30), 2)]
    assert min(distances) > NEAR and 28 < np.mean(distances) < 36


def test_exact_means_pixels_and_shape() -> None:
    image = drawing(3)
    assert fingerprint(image) == fingerprint(np.asfortranarray(image.copy()))
    touched = image.copy()
    touched[0, 0, 0] ^= 1
    assert fingerprint(touched).pixels != fingerprint(image).pixels
    assert fingerprint(touched).looks == fingerprint(image).looks
    flat = np.zeros((4, 6, 3), np.uint8)
    assert fingerprint(flat).pixels != fingerprint(flat.reshape(6, 4, 3)).pixels


def test_pictures_without_contrast_are_not_all_alike() -> None:
    noise = np.random.default_rng(0)
    plain = [np.full((20, 30, 3), level, np.uint8) for level in (0, 128, 255, 255)]
    hazy = [noise.integers(126, 130, (20, 30, 3)).astype(np.uint8) for _ in range(2)]
    dot = np.full((1, 1, 3), 9, np.uint8)
    prints = [fingerprint(image) for image in (*plain, *hazy, dot)]
    assert [entry.looks for entry in prints] == [None] * 7
    assert group_duplicates(prints) == [0, 1, 2, 2, 3, 4, 5]


def prints_of(*looks: int | None) -> list[Fingerprint]:
    return [Fingerprint(bytes([index]), bits) for index, bits in enumerate(looks)]


def test_neighbours_of_neighbours_are_one_group() -> None:
    step = (1 << NEAR) - 1
    far = (1 << 64) - 1
    chain = prints_of(0, far, step, step | step << NEAR, far ^ step << 30)
    assert group_duplicates(chain) == [0, 1, 0, 0, 1]
    assert group_duplicates(prints_of(0, (1 << NEAR + 1) - 1)) == [0, 1]


def test_own_words_and_equal_pixels() -> None:
    prints = [Fingerprint(pixels, 5) for pixels in (b"a", b"b", b"c", b"a", b"d")]
    assert group_duplicates(prints) == [0] * 5
    assert group_duplicates(prints, [None] * 5) == [0, 1, 2, 0, 3]
    assert group_duplicates(prints, ["x", "y", "x", "y", None]) == [0, 0, 0, 0, 1]


def test_nothing_has_no_groups() -> None:
    assert group_duplicates([]) == []
    assert list(near_pairs(np.zeros(0, np.uint64), 3)) == []


def naive_groups(prints: list[Fingerprint]) -> list[int]:
    """By spreading the lowest number over all pairs until nothing changes."""
    groups = list(range(len(prints)))

    def joined(one: Fingerprint, other: Fingerprint) -> bool:
        if one.pixels == other.pixels:
            return True
        known = one.looks is not None and other.looks is not None
        return known and bin(one.looks ^ other.looks).count("1") <= NEAR  # type: ignore[operator]

    before: list[int] = []
    while before != groups:
        before = list(groups)
        for one, other in combinations(range(len(prints)), 2):
            if joined(prints[one], prints[other]):
                groups[one] = groups[other] = min(groups[one], groups[other])
    order = list(dict.fromkeys(groups))
    return [order.index(group) for group in groups]


hashes = st.sampled_from([0, 1 << 63, (1 << 64) - 1, 0x0F0F0F0F0F0F0F0F]).flatmap(
    lambda base: st.sets(st.integers(0, 63), max_size=10).map(
        lambda flips: base ^ sum(1 << bit for bit in flips)
    )
)


@given(st.lists(st.builds(Fingerprint, st.binary(min_size=1, max_size=1), st.none() | hashes), max_size=14))
@settings(max_examples=150)
def test_groups_are_those_of_all_pairs(prints: list[Fingerprint]) -> None:
    assert group_duplicates(prints) == naive_groups(prints)


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    many = rng.integers(0, 2**64, 60, np.uint64)
    many[::3] = many[1::3] ^ np.uint64(0b1011)
    expected = {
        (one, other)
        for one, other in combinations(range(60), 2)
        if (int(many[one]) ^ int(many[other])).bit_count() <= 3
    }
    assert len(expected) >= 20
    for rows in (1, 7, 60, 1024):
        monkeypatch.setattr(duplicates, "_ROWS", rows)
        calls: list[tuple[str, int, int]] = []
        assert set(near_pairs(many, 3, lambda *call, to=calls: to.append(call))) == expected
        assert calls[-1] == ("compare pictures", 60, 60)

from __future__ import annotations

import csv
import hashlib
import io
import random
import warnings
from collections import Counter, defaultdict
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.data.pictures import Picture, Side
from slip.data.splits import Split, split, split_csv, trained_digest
from slip.errors import SlipWarning, UsageError
from slip.options import SPLIT, SplitOptions


def pictures(*groups: str) -> list[Picture]:
    """A group for every word, a picture of the class of each letter."""
    return [
        Picture(f"{letter}/{number}-{place}.png", letter, letter, number)
        for number, word in enumerate(groups)
        for place, letter in enumerate(word)
    ]


def quietly(given_: list[Picture], options: SplitOptions = SPLIT) -> Split:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlipWarning)
        return split(given_, options)


def counts(side: tuple[Picture, ...]) -> Counter[str]:
    return Counter(picture.label for picture in side)


def captions_of_their_own(groups: list[str]) -> bool:
    """Whether most groups have no class in common with another."""
    others = [groups[:index] + groups[index + 1 :] for index in range(len(groups))]
    alone = [not set(group) & set("".join(rest)) for group, rest in zip(groups, others, strict=True)]
    return sum(alone) > len(alone) / 2


def test_a_fifth_of_every_class() -> None:
    parts = split(pictures(*"a" * 50, *"b" * 25, *"c" * 5))
    assert counts(parts.train) == {"a": 40, "b": 20, "c": 4}
    assert counts(parts.validation) == {"a": 10, "b": 5, "c": 1}


words = st.sampled_from(["a", "a", "a", "b", "b", "aa", "aaa", "bbbbb", "c", "ab", "abc", "bcc"])
shares = st.floats(0.05, 0.95)


@given(st.lists(words, min_size=2, max_size=40), shares, st.integers(0, 5))
def test_sides_are_a_partition_of_whole_groups(groups: list[str], share: float, seed: int) -> None:
    given_ = pictures(*groups)
    try:
        parts = quietly(given_, SplitOptions(share, seed))
    except UsageError as error:
        assert "no picture can be held out" in str(error)
        return
    assert sorted([*parts.train, *parts.validation], key=lambda picture: picture.name) == sorted(
        given_, key=lambda picture: picture.name
    )
    for side in (parts.train, parts.validation):
        assert [picture.name for picture in side] == sorted(picture.name for picture in side)
    assert not {picture.group for picture in parts.train} & {picture.group for picture in parts.validation}
    if not captions_of_their_own(groups):
        assert set(counts(parts.train)) == {picture.label for picture in given_}
    assert parts.train and parts.validation


@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.integers(2, 40), shares, st.integers(0, 3))
def test_each_class_is_as_near_to_its_share_as_groups_allow(
    sizes: list[int], others: int, share: float, seed: int
) -> None:
    given_ = pictures(*("a" * size for size in sizes), *"b" * others)
    total = sum(sizes)
    sums = {sum(chosen) for count in range(len(sizes)) for chosen in combinations(sizes, count)}
    best = min(abs(held - share * total) for held in sums if held < total)
    try:
        held = counts(quietly(given_, SplitOptions(share, seed)).validation)
    except UsageError:
        held = Counter()
    assert abs(held["a"] - share * total) == pytest.approx(best, abs=1e-9)
    assert abs(held["b"] - share * others) <= 0.5 + 1e-9 or held["b"] == others - 1


@given(st.lists(words, min_size=5, max_size=30), st.randoms(use_true_random=False))
def test_order_and_numbers_of_groups_do_not_matter(groups: list[str], shuffler: random.Random) -> None:
    given_ = pictures(*groups, *"abc" * 9)
    numbers = list(range(100, 100 + len(groups) + 27))
    shuffler.shuffle(numbers)
    renumbered = [
        Picture(picture.name, picture.label, picture.caption, numbers[picture.group]) for picture in given_
    ]
    shuffler.shuffle(renumbered)
    assert split_csv(quietly(renumbered)) == split_csv(quietly(given_))


def test_the_seed_decides() -> None:
    given_ = pictures(*"ab" * 50)
    one, again, other = (split(given_, SplitOptions(seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert one != other and counts(one.validation) == counts(other.validation)


def test_every_picture_has_its_chance() -> None:
    given_ = pictures(*"a" * 20, *["aa"] * 10, *"b" * 10)
    chosen: Counter[str] = Counter()
    for seed in range(300):
        chosen.update(picture.name for picture in split(given_, SplitOptions(seed=seed)).validation)
    assert len(chosen) == len(given_)
    per_group: dict[bool, list[int]] = defaultdict(list)
    for picture in given_:
        per_group[20 <= picture.group < 30].append(chosen[picture.name])
    for group in per_group.values():
        assert min(group) > 30 and max(group) < 100, "a fifth of 300 is 60"


def test_a_copy_under_two_labels_stays_in_training() -> None:
    for seed in range(10):
        parts = split(pictures(*"ab" * 20, "ab"), SplitOptions(seed=seed))
        assert counts(parts.validation) == {"a": 4, "b": 4}
        assert {picture.group for picture in parts.train} >= {40}


def test_groups_that_all_hold_many_classes_are_still_split() -> None:
    parts = split(pictures(*["abc"] * 20))
    assert counts(parts.validation) == {"a": 4, "b": 4, "c": 4}


def test_classes_too_small_to_validate_are_trained_on_and_told() -> None:
    given_ = pictures(*"a" * 10, "b", "cc", *"ddd")
    with pytest.warns(SlipWarning, match="2 of 4 classes have too few pictures to hold one out: b, c;"):
        parts = split(given_)
    assert counts(parts.train) == {"a": 8, "b": 1, "c": 2, "d": 2}
    with pytest.warns(SlipWarning, match="hold one out: b, c, d, e, f, ...;"):
        split(pictures(*"a" * 10, *"bcdefgh"))


def test_where_nothing_can_be_held_out() -> None:
    with pytest.raises(UsageError, match="no picture can be held out.*larger share"):
        split(pictures(*"ab"))
    with pytest.raises(UsageError, match="no picture can be held out"):
        split(pictures("aaaaaaaaaa", "bbbbbbbbbb"))


def captioned(*captions: str, copies: int = 1) -> list[Picture]:
    """A group for every caption, each of ``copies`` pictures, and the caption their class."""
    return [
        Picture(f"{number:03}-{copy}.png", caption, caption, number)
        for number, caption in enumerate(captions)
        for copy in range(copies)
    ]


SENTENCES = [f"sentence {number}" for number in range(100)]


@pytest.mark.parametrize("copies", [1, 3])
def test_captions_of_one_picture_each(copies: int) -> None:
    """Nothing can be held out of any class; a fifth of all is, and no warning names a hundred captions."""
    given_ = captioned(*SENTENCES, copies=copies)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, again, other = (split(given_, SplitOptions(seed=seed)) for seed in (1, 1, 2))
    assert (len(one.train), len(one.validation)) == (80 * copies, 20 * copies)
    assert not {picture.group for picture in one.train} & {picture.group for picture in one.validation}
    assert one == again and one != other
    assert split(given_[::-1], SplitOptions(seed=1)) == one


def test_a_few_captions_that_are_shared_change_little() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = split(captioned(*SENTENCES, *SENTENCES[:10]))
    assert (len(parts.train), len(parts.validation)) == (88, 22)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=40), shares, st.integers(0, 5))
def test_a_share_of_a_set_of_captions(sizes: list[int], share: float, seed: int) -> None:
    """Sides are whole groups, and within half of the largest of the share unless one group is left."""
    given_ = pictures(*(chr(ord("a") + number) * size for number, size in enumerate(sizes)))
    total, largest = sum(sizes), max(sizes)
    try:
        parts = split(given_, SplitOptions(share, seed))
    except UsageError as error:
        assert "no picture can be held out" in str(error)
        assert min(sizes) >= 2 * share * total
        return
    assert parts.train and parts.validation
    assert not {picture.group for picture in parts.train} & {picture.group for picture in parts.validation}
    off = abs(len(parts.validation) - share * total)
    assert off <= largest / 2 + 1e-9 or len({picture.group for picture in parts.train}) == 1


def test_what_is_trained_on_is_told_by_names_alone() -> None:
    given_ = captioned("b", "a", "\udcff")
    digest = trained_digest(given_)
    assert digest == trained_digest(given_[::-1]) == trained_digest(captioned("x", "y", "z"))
    assert digest != trained_digest(given_[1:])
    assert trained_digest(captioned("a", "b")) == hashlib.sha256(b"000-0.png\n001-0.png").hexdigest()


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_shares_that_are_none(share: float) -> None:
    with pytest.raises(UsageError, match="above 0 and below 1"):
        split(pictures(*"ab" * 9), SplitOptions(share))


def on_sides(sides: str) -> list[Picture]:
    """Two pictures of each letter's side: t(rain), v(alidation), x for test."""
    named: dict[str, Side] = {"t": "train", "v": "validation", "x": "test"}
    return [
        Picture(f"{number}-{label}.png", label, label, number, named[letter])
        for number, letter in enumerate(sides)
        for label in "ab"
    ]


@given(st.lists(st.sampled_from("tvx"), min_size=1, max_size=12), shares, st.integers(0, 3))
def test_sides_that_are_given_are_kept(sides: list[str], share: float, seed: int) -> None:
    given_ = on_sides("tv" + "".join(sides))
    random.Random(seed).shuffle(given_)
    parts = split(given_, SplitOptions(share, seed))
    for side, held in (("train", parts.train), ("validation", parts.validation)):
        expected = [picture for picture in given_ if picture.side == side]
        assert list(held) == sorted(expected, key=lambda picture: picture.name)


@pytest.mark.parametrize(("sides", "says"), [("vx", "to train on"), ("tx", "to validate on")])
def test_a_given_side_that_is_empty(sides: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        split(on_sides(sides))


def test_the_table_of_a_split() -> None:
    given_ = pictures(*"a" * 5, *"b" * 5)
    odd = [
        Picture('a/", \udcff.png', picture.label, picture.caption, picture.group)
        if picture.name == "a/0-0.png"
        else picture
        for picture in given_
    ]
    parts = split(odd)
    data = split_csv(parts)
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))
    assert rows[0] == ["name", "label", "side"]
    assert [row[0] for row in rows[1:]] == sorted(picture.name for picture in odd)
    sides = {row[0]: row[2] for row in rows[1:]}
    assert {sides[picture.name] for picture in parts.train} == {"train"}
    assert {sides[picture.name] for picture in parts.validation} == {"validation"}
    assert b"\r" not in data

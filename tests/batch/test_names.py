from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePath, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.batch.names import Names, slugs, stems

CLOSE = st.text("aAäÄß 0-./\\İıﬁ한각क्षि🐦\u0301", max_size=6)
"""Texts that are easily taken for each other."""
PROMPTS = st.lists(st.one_of(st.text(), CLOSE, st.text("青x", min_size=50)), unique=True)
FILES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=80
).filter(lambda name: name not in (".", ".."))
ODD = st.sampled_from(
    ["..jpg", "a.jpg", "a.png", "A.JPG", "a.jpg.png", "a", "-a.jpg", "a b.jpg", "\udcff.jpg"]
)
PATHS = st.lists(
    st.lists(st.one_of(ODD, FILES), min_size=1, max_size=3).map(lambda parts: PurePosixPath(*parts)),
    unique=True,
)


def as_seen(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("a striped bird", "a-striped-bird"),
        (" A/Bird..\n2 ", "a-bird-2"),
        ("青い鳥 طائر", "青い鳥-طائر"),
        ("हिन्दी", "हिन्दी"),
        ("x" * 60, "x" * 60),
    ],
)
def test_slugs(prompt: str, slug: str) -> None:
    assert slugs([prompt]) == {prompt: slug}


def test_slugs_that_need_more() -> None:
    named = slugs(["Bird", "bird!", "🐦", "鳥" * 21])
    assert [name[:-8] for name in named.values()] == ["bird-", "bird-", "prompt-", "鳥" * 20 + "-"]


@given(PROMPTS)
def test_slugs_never_collide_and_fit(prompts: list[str]) -> None:
    named = slugs(prompts)
    assert list(named) == prompts
    assert len({as_seen(slug) for slug in named.values()}) == len(prompts)
    for slug in named.values():
        assert slug and slug.isprintable() and not set(slug) & set("./\\ ")
        assert len(slug.encode()) <= 69


def test_stems() -> None:
    pictures = ["b/a.jpg", "a.jpg", "a.png", "..jpg", f"{'x' * 240}.jpg"]
    *named, long = stems(map(PurePath, pictures)).values()
    assert named == ["b/a", "a.jpg", "a.png", "."]
    assert (long[:151], len(long)) == ("x" * 150 + "-", 159)


def test_a_suffix_that_does_not_help() -> None:
    named = list(stems(map(PurePath, ["a.jpg", "a.png", "a.jpg.png"])).values())
    assert named[1:] == ["a.png", "a.jpg.png"]
    assert named[0].startswith("a.jpg-")


@given(PATHS, PROMPTS)
def test_names_never_collide_and_stay_inside(pictures: list[PurePath], prompts: list[str]) -> None:
    folder = Path("/out")
    results = [
        path
        for stem in stems(pictures).values()
        for slug in slugs(prompts).values()
        for names in [Names.after(folder / f"{stem}.{slug}")]
        for path in (*names.masks(2), names.beside("overlay.png"), names.beside("json"))
    ]
    assert len({as_seen(str(path)) for path in results}) == len(pictures) * len(prompts) * 4
    for path in results:
        assert os.path.normpath(path) == str(path)
        assert path.is_relative_to(folder)
        assert len(os.fsencode(path.name)) <= 255


def test_masks_that_are_there(tmp_path: Path) -> None:
    names = Names.after(tmp_path / "a[1].bird")
    assert names.masks_there() == 0
    for kind in ("mask.png", "mask.2.png", "mask.4.png", "mask.x.png"):
        names.beside(kind).touch()
    assert names.masks_there() == 2
    assert names.masks(2)[1].name == "a[1].bird.mask.2.png"
    assert Names(tmp_path, "a", None).masks_there() == 0

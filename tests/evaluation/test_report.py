from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import PIL.Image
import pytest
from evaluation.colours import JUDGE, OPTIONS, Stubborn, crop, entrant, measured, note
from fakes import ColourSet, FakeJudge

from slip.data.composites import plan_composites
from slip.evaluation.examples import CROP, MOST_OF_A_KIND, MOST_PICTURES, SCENE, Gallery
from slip.evaluation.html import element, page, table
from slip.evaluation.report import report
from slip.evaluation.scores import Judging
from slip.evaluation.summary import summarise
from slip.evaluation.trials import Trial

VOID = {"meta", "img", "br"}
ODD = "<b>\"red\" & 'dangerous'</b>"


class Page(HTMLParser):
    """Checks that what is opened is closed, and collects what a test asks about."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(data.decode())
        self.close()
        assert self.open == [], "not everything is closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.tags)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def odd() -> ColourSet:
    return ColourSet(labels={"red": ODD})


def galleries(trials: list[Trial], source: ColourSet, classes=("red", "green", "blue", "white")):
    gallery = Gallery(plan_composites(source.pictures, OPTIONS), source, OPTIONS, crop)
    return gallery.of(trials, Judging(classes))


def whole(folder: Path, source: ColourSet, **more) -> bytes:
    judge = replace(JUDGE, classifier=FakeJudge(source.classes))
    entrants = [entrant("sees"), entrant("<i>stubborn</i>", Stubborn())]
    trials = measured(folder, entrants, judge, source=source)
    told = summarise(note([one.name for one in entrants], classes=source.classes, **more), trials)
    return report(told, galleries(trials, source, source.classes))


def test_the_page_is_well_formed_and_needs_nothing_else(tmp_path: Path, odd: ColourSet) -> None:
    data = whole(tmp_path, odd)
    told = Page(data)
    assert data.startswith(b"<!DOCTYPE html>")
    assert [tag for tag, _ in told.tags[:3]] == ["html", "head", "meta"]
    assert {"script", "link", "iframe", "b", "i"}.isdisjoint(tag for tag, _ in told.tags)
    outside = [value for _, attributes in told.tags for value in attributes.values() if "//" in (value or "")]
    assert [value for value in outside if not value.startswith("data:image/jpeg;base64,")] == []
    assert "url(" not in data.decode()
    headings = [
        "Figures",
        "Which model is better",
        "The judge against the tile",
        "Class by class",
        "Confusions",
    ]
    assert [heading for heading in headings if heading not in told.words] == []
    assert re.search("color-scheme: light dark", told.text)


def test_names_are_escaped(tmp_path: Path, odd: ColourSet) -> None:
    data = whole(tmp_path, odd)
    told = Page(data)
    assert told.words.count(ODD) > 1
    assert b"<b>" not in data and b"<i>" not in data
    assert any("<i>stubborn</i>" in words for words in told.words)


def test_pictures_are_in_the_page(tmp_path: Path) -> None:
    told = Page(whole(tmp_path, ColourSet()))
    pictures = [attributes for tag, attributes in told.tags if tag == "img"]
    assert len(pictures) == 2 * told.count("figure") > 0
    for attributes in pictures:
        data = base64.b64decode(attributes["src"].partition(",")[2])
        picture = PIL.Image.open(io.BytesIO(data))
        side = CROP if attributes.get("class") == "crop" else SCENE
        assert (picture.format, picture.size) == ("JPEG", (side, side))
        assert attributes["alt"]
    frames = [attributes["style"] for _, attributes in told.tags if attributes.get("class") == "tile"]
    assert set(frames) <= {f"left:{x}%;top:{y}%" for x in (0, 50) for y in (0, 50)} and len(set(frames)) > 1


def test_the_captions_say_what_happened(tmp_path: Path) -> None:
    source = ColourSet()
    trials = measured(tmp_path, [entrant("stubborn", Stubborn())], source=source)
    wrong = next(trial for trial in trials if not trial.hit)
    nothing = replace(wrong, chosen=None, chosen_label=None, segments=0, judged=None)
    gallery = Gallery(plan_composites(source.pictures, OPTIONS), source, OPTIONS, crop)
    told = summarise(note(["stubborn"]), trials)
    page_of = {"stubborn": {"wrong": [gallery.draw(wrong), gallery.draw(nothing)]}}
    words = Page(report(told, page_of)).words
    assert f"Asked: {wrong.label}" in words and "Chosen: red" in words and "Judged: red" in words
    assert "IoU 0.00, best of 4 segments 1.00" in words
    assert "Nothing was found to choose from." in words


def test_the_segment_is_lit(tmp_path: Path) -> None:
    source = ColourSet()
    trial = measured(tmp_path, [entrant("sees")], source=source)[0]
    gallery = Gallery(plan_composites(source.pictures, OPTIONS), source, OPTIONS, crop)
    scene = PIL.Image.open(io.BytesIO(gallery.draw(trial).scene)).convert("RGB").resize((2, 2))
    corners = [sum(scene.getpixel((x, y))) for y in (0, 1) for x in (0, 1)]
    assert corners.index(max(corners)) == trial.tile


def test_right_wrong_and_disputed_examples(tmp_path: Path) -> None:
    source = ColourSet()
    trials = measured(tmp_path, [entrant("a"), entrant("b", Stubborn())], source=source)
    shown = galleries([*trials, replace(trials[0], model="a", swapped=True)], source)
    assert list(shown) == ["a", "b"]
    assert {kind: len(examples) for kind, examples in shown["a"].items()} == {
        "right tile": MOST_OF_A_KIND,
        "wrong tile, or nothing": 0,
        "judge and tile disagree": 0,
    }
    assert [example.trial.hit for example in shown["b"]["wrong tile, or nothing"]] == [False] * MOST_OF_A_KIND
    spread = [example.trial.composite for example in shown["a"]["right tile"]]
    assert spread == sorted(spread) and set(spread) == {0, 1, 2}


def test_disputed_examples_and_many_models(tmp_path: Path) -> None:
    source = ColourSet()
    some = measured(tmp_path, [entrant("a")], source=source)[:1]
    disputed = galleries([replace(some[0], judged="blue" if some[0].label != "blue" else "red")], source)
    assert len(disputed["a"]["judge and tile disagree"]) == 1
    many = galleries([replace(some[0], model=str(number)) for number in range(MOST_PICTURES)], source)
    assert {len(kinds["right tile"]) for kinds in many.values()} == {1}


def test_elements_keep_text_in_its_place() -> None:
    told = page("t & t", element("p", "one ", element("em", "two"), " three", element("br"), "four", "five"))
    assert b"<title>t &amp; t</title>" in told
    assert b"<p>one <em>two</em> three<br>fourfive</p>" in told


def test_tables_have_heads_for_rows_and_columns() -> None:
    told = Page(page("t", table(["", "x"], [["<y>", "1"], ["z", element("em", "2")]])))
    assert (told.count("tr"), told.count("th"), told.count("td")) == (3, 4, 2)
    assert "<y>" in told.words


def test_names_that_are_no_unicode() -> None:
    assert b"bad \\udcff name" in page("t", element("p", "bad \udcff name"))

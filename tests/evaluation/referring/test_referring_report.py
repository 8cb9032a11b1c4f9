from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import PIL.Image
import pytest
from evaluation.referring.toys import Sees, made, measured, run_of
from fakes import FakeParts

from slip.evaluation.referring.examples import SIDE, Gallery, choose
from slip.evaluation.referring.journal import Seconds
from slip.evaluation.referring.loop import Contender
from slip.evaluation.referring.report import report
from slip.evaluation.referring.summary import by_method, summarise, to_json
from slip.evaluation.referring.tables import main_tables, notes, part_table

ODD = "<b>odd</b>"


class Page(HTMLParser):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(data.decode())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    source, names = FakeParts(size=(24, 48)), ("good", ODD, "blind")
    contenders = [Contender(name, Sees(missing)) for name, missing in zip(names, (1, 3, 99), strict=True)]
    answers = measured(tmp_path_factory.mktemp("report"), contenders, source)
    run = run_of(*names)
    gallery = Gallery(source.pictures("test"), source).of(by_method(run, answers))
    return report(summarise(run, answers), gallery)


def test_the_page_is_well_formed_and_needs_nothing_else(page: bytes) -> None:
    told = Page(page)
    for heading in ("Figures", "Which method is better", "Precision@X", "Part by part", "Pictures"):
        assert heading in told.words
    assert b"<b>" not in page and any(ODD in words for words in told.words)
    assert b"http" not in page and b"<script" not in page


def test_its_pictures(page: bytes) -> None:
    found = re.findall(rb'data:image/(\w+);base64,([^"]+)"', page)
    pictures = [PIL.Image.open(io.BytesIO(base64.b64decode(data))) for _, data in found]
    assert [kind for kind, _ in found] == [b"png"] + [b"jpeg"] * (len(found) - 1)
    assert {picture.size for picture in pictures[1:]} == {(SIDE, SIDE // 2)}
    assert len(pictures) == 1 + 4 * 4 * 4  # kinds, one triple of each of four pictures, truth and answers


def test_captions(page: bytes) -> None:
    words = Page(page).words
    assert "no answer" in words and "IoU 0.857, score 0.75" in words
    assert "“toy blue” in test/03.png" in words
    assert "The truth: toy blue, 63 pixels" in words


def test_best_median_worst_and_disputed() -> None:
    rows = [
        (made(f"{index}", "wing", both, 100), made(f"{index}", "wing", other, 100, "n"))
        for index, (both, other) in enumerate([(90, 90), (10, 80), (50, 40), (60, 60), (0, 0)])
    ]
    kinds = {kind: [row[0].picture for row in ranked] for kind, ranked in choose(rows, "m").items()}
    assert list(kinds) == [
        "best of m",
        "around the median of m",
        "worst of m",
        "where methods disagree most",
    ]
    assert kinds["best of m"] == ["0", "3", "2", "1", "4"]
    assert kinds["around the median of m"][0] == "2"
    assert kinds["worst of m"][:2] == ["4", "1"]
    assert kinds["where methods disagree most"][:2] == ["1", "2"]
    assert len(choose([row[:1] for row in rows], "m")) == 3


ANSWERS = [
    made(picture, part, both, 100, method)
    for method, more in (("m", 0), ("m-best", 20))
    for picture, part, both in (("a", "leg", 30 + more), ("a", "wing", 60 + more), ("b", "wing", 70 + more))
]


def summary_of(answers=tuple(ANSWERS), side: str = "test", sam: object = None, **about: object):
    run = {**run_of("m", "m-best", **about), "side": side, "sam": sam}
    run["methods"][1]["oracle"] = True
    return summarise(run, answers, [Seconds("m", "a", 1.0), Seconds("m", "b", 2.0), Seconds("m", "b", 4.0)])


def test_the_tables() -> None:
    figures, better = main_tables(summary_of())
    assert figures.columns == ("", "m", "m-best (upper bound)")
    rows = {name: cells for name, *cells in figures.rows}
    assert list(rows) == [
        "mean IoU",
        "overall IoU",
        "mean IoU over parts",
        *(f"Precision@{threshold}" for threshold in (0.5, 0.6, 0.7, 0.8, 0.9)),
        "no answer",
        "seconds a picture",
    ]
    assert rows["mean IoU"][0] == "0.533 (0.450 to 0.700)"
    assert rows["Precision@0.5"][0] == "66.67 % (50.0 to 100.0)"
    assert rows["no answer"] == ["0 of 3", "0 of 3"]
    assert rows["seconds a picture"] == ["2.500", "-"]
    assert "3 triples" in figures.note and "2 pictures" in figures.note
    assert better.rows[0] == ("m | m-best", "mean IoU", "-0.200 (-0.200 to -0.200)")
    assert better.rows[1] == ("m | m-best", "Precision@0.5", "+0.0 (+0.0 to +0.0)")
    parts = part_table(summary_of())
    assert parts.columns[:4] == ("part", "pictures", "m: mean IoU", "m: Precision@0.5")
    assert [row[:2] for row in parts.rows] == [("leg", "1"), ("wing", "2")]


def test_one_method_is_compared_with_none() -> None:
    assert len(main_tables(summarise(run_of("m"), ANSWERS[:3]))) == 1


def test_notes() -> None:
    assert [line.partition(":")[0] for line in notes(summary_of())] == [
        "Upper bounds, not methods",
        "Only 2 pictures",
    ]
    sam = {"name": "sam/tiny", "built_in": True}
    told = list(notes(summary_of(side="validation", sam=sam, trained="toys", taught=["train"])))
    assert told[0].startswith("Figures from built-in weights (sam/tiny), which know drawings")
    assert told[1].startswith("Trained by slip finetune: m on toys, m-best on toys.")
    assert told[4].startswith("The validation pictures chose the epoch of m, m-best")
    for side, taught in (("all", ["train"]), ("train", ["train"]), ("validation", ["train", "validation"])):
        *_, last = notes(summary_of(side=side, taught=taught))
        assert last.startswith("Trained on pictures it is measured with here: m, m-best")
    assert len(list(notes(summary_of(taught=["train"])))) == 2


def test_json_has_everything_but_the_time() -> None:
    told = json.loads(json.dumps(to_json(summary_of()), allow_nan=False))
    assert (told["triples"], told["pictures"]) == (3, 2)
    first, second = told["methods"]
    assert (first["upper_bound"], second["upper_bound"]) == (False, True)
    assert first["iou"]["value"] == pytest.approx(1.6 / 3) and first["iou"]["low"] == pytest.approx(0.45)
    assert list(first["precision"]) == ["0.5", "0.6", "0.7", "0.8", "0.9"]
    assert [one["part"] for one in first["parts"]] == ["leg", "wing"]
    assert len(told["differences"]) == 2 and "seconds" not in json.dumps(told)


def test_what_has_no_interval_is_null() -> None:
    """A part that is in no resample; it takes a set that is all but empty of it."""
    from slip.evaluation.referring.metrics import Figure
    from slip.evaluation.referring.tables import mean, share

    nothing = Figure(0.5, float("nan"), float("nan"))
    assert (mean(nothing), share(nothing)) == ("0.500", "50.00 %")
    summary = summary_of()
    scores = replace(summary.methods[0].scores, iou=nothing)
    odd = replace(summary, methods=(replace(summary.methods[0], scores=scores),))
    assert to_json(odd)["methods"][0]["iou"] == {"value": 0.5, "low": None, "high": None}


def test_a_gallery_draws_what_is_tiny(tmp_path: Path) -> None:
    """Parts of a pixel in a long thin picture are still drawn, or left out, without an error."""
    source = FakeParts(2, size=(9, 900))
    answers = measured(tmp_path, [Contender("a", Sees(6))], source)
    drawn = Gallery(source.pictures("test"), source).of({"a": answers})
    assert all(example.shown for examples in drawn.values() for example in examples)

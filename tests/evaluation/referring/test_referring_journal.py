from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.referring.toys import NOTHING, RIGHT

from slip.errors import UsageError
from slip.evaluation.referring.journal import Journal, Seconds

RUN = {"slip": "1", "data": "toys", "methods": [{"name": "m"}]}
OTHER = {**RUN, "data": "other toys"}
TWO = [RIGHT, replace(NOTHING, part="toy blue")]


def test_it_begins_and_goes_on(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "new" / "one", RUN)
    assert journal.answers == [] and not journal.holds("m", "test/00.png", "toy red")
    journal.add(TWO)
    journal.took(Seconds("m", "test/00.png", 0.5))
    again = Journal.open(tmp_path / "new" / "one", RUN)
    assert (again.answers, again.seconds) == (TWO, [Seconds("m", "test/00.png", 0.5)])
    assert again.holds("m", "test/00.png", "toy red") and again.holds("m", "test/00.png", "toy blue")
    assert not again.holds("n", "test/00.png", "toy red") and not again.holds("m", "test/01.png", "toy red")
    assert [path.is_file() for path in again.paths] == [True] * 3
    assert json.loads(again.paths[0].read_text()) == RUN


def test_an_answer_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    Journal.open(tmp_path, RUN).add(TWO)
    path = tmp_path / "answers.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert Journal.open(tmp_path, RUN).answers == TWO[:1]
    assert whole.startswith(path.read_bytes())
    Journal.open(tmp_path, RUN).add(TWO[1:])
    assert path.read_bytes() == whole


def test_another_run_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path, RUN).add(TWO)
    with pytest.raises(UsageError, match="data toys, not other toys"):
        Journal.open(tmp_path, OTHER)
    assert Journal.open(tmp_path, RUN).answers == TWO


def test_one_that_failed_at_its_beginning_is_not_in_the_way(tmp_path: Path) -> None:
    Journal.open(tmp_path, RUN)
    assert Journal.open(tmp_path, OTHER).run == OTHER
    assert json.loads((tmp_path / "run.json").read_text()) == OTHER
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UsageError, match="holds an evaluation with"):
        Journal.open(tmp_path, RUN)


def test_what_is_no_run_of_ours_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="holds an evaluation with"):
        Journal.open(tmp_path, RUN)
    assert (tmp_path / "run.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("name", ["answers.jsonl", "seconds.jsonl"])
@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"\xff\n", b"null\n", b'{"seconds": "x"}\n'])
def test_damaged_lines(tmp_path: Path, name: str, line: bytes) -> None:
    Journal.open(tmp_path, RUN)
    (tmp_path / name).write_bytes(line)
    with pytest.raises(UsageError, match=rf"{name}' is damaged; remove it"):
        Journal.open(tmp_path, RUN)

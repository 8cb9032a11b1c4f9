from __future__ import annotations

import pytest

from slip.cli import console


def test_a_log_hears_of_progress_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(console, "monotonic", lambda: next(clock))
    with console.progress() as progress:
        for done in range(1, 6):
            progress("propose", 64 * done, 512)
    assert capsys.readouterr().err == "slip: propose 192/512\n"


def test_what_would_control_the_terminal_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    console.tell("a\n\tb \x1b[31m\udcff")
    assert capsys.readouterr().err == "slip: a b \\x1b[31m\\udcff\n"


FIGURES = (
    "Figures",
    ["", "one [b]", "two\x1b[31m"],
    [["tile accuracy", "1/2", "[red]2/2"], ["no segment", "0", "0"]],
)


def test_a_table_is_a_line_a_row_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    console.tell_table(*FIGURES)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "slip: Figures, tile accuracy: one [b] 1/2; two\\x1b[31m [red]2/2",
        "slip: Figures, no segment: one [b] 0; two\\x1b[31m 0",
    ]


def test_a_table_is_drawn_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    console.tell_table(*FIGURES)
    told = capsys.readouterr()
    assert told.out == "" and "\x1b[31m" not in told.err
    title, head, *_ = (line.split() for line in told.err.splitlines() if line.strip())
    assert title == ["Figures"]
    assert "[b]" in head and "[red]2/2" in told.err and "slip:" not in told.err

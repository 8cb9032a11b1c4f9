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

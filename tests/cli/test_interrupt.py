"""Ctrl-C: as the command is imported, the picture read, in the search, and with a result half written."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
from cli.runner import CAN_FORK, run_python, run_warm


def interrupt(*_: object, **__: object) -> list[object]:
    os.kill(os.getpid(), signal.SIGINT)
    return []


def heed() -> None:
    """The tests may themselves run where SIGINT is ignored, as in the background of a shell."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def while_reading() -> None:
    heed()
    PIL.Image.open = interrupt


def in_the_search() -> None:
    from slip.models.sam.proposer import SamProposer

    heed()
    SamProposer.propose = interrupt


def while_writing() -> None:
    heed()
    os.fsync = interrupt


@pytest.mark.skipif(not CAN_FORK, reason="POSIX signals")
@pytest.mark.parametrize("moment", [while_reading, in_the_search, while_writing])
def test_interrupted(tmp_path: Path, tiny_models: list[str], moment: Callable[[], None]) -> None:
    PIL.Image.new("RGB", (40, 30), "white").save(tmp_path / "scene.png")
    wanted = [*tiny_models, "--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
    done = run_warm("segment", "scene.png", "x", *wanted, cwd=tmp_path, prepare=moment)
    assert (done.code, done.stdout, done.stderr) == (130, b"", "slip: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["scene.png"]


WHILE_IMPORTING = """
import os, signal, sys
from importlib.abc import MetaPathFinder
from slip.__main__ import main

class Interrupt(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "slip.cli.segment":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
main()
"""


@pytest.mark.skipif(not CAN_FORK, reason="POSIX signals")
def test_interrupted_while_it_starts(tmp_path: Path) -> None:
    done = run_python(WHILE_IMPORTING, cwd=tmp_path)
    assert (done.code, done.stdout, done.stderr) == (130, b"", "slip: interrupted\n")

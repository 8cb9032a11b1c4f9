"""A command ends at once, and yet as it should: nothing written is lost, and the exit code is its own."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from cli.runner import CAN_FORK, COMMAND, run, run_python

from slip.cli.process import without_collector

AT_THE_END = """
import atexit, sys, threading, time
from slip.cli.process import QuickEnd

class Kept:
    def __del__(self):
        print("taken apart")

def late():
    time.sleep(0.2)
    print("thread")

quick = QuickEnd()
atexit.register(print, "handler")
kept = Kept()
sys.stdout.write("buffered ")
threading.Thread(target=late).start()
"""


@pytest.mark.parametrize(
    ("end", "taken_apart"), [("quick.exit(3)", []), ("sys.exit(3)", ["taken apart"])], ids=str
)
def test_all_but_the_memory_ends_as_ever(tmp_path: Path, end: str, taken_apart: list[str]) -> None:
    done = run_python(AT_THE_END + end, cwd=tmp_path)
    assert (done.code, done.stderr) == (3, "")
    assert done.lines == ["buffered thread", "handler", *taken_apart]


def test_an_unforeseen_error_is_not_hidden(tmp_path: Path) -> None:
    done = run_python(f"{AT_THE_END}raise KeyError('unforeseen')", cwd=tmp_path)
    assert done.code == 1
    assert done.stderr.startswith("Traceback") and done.stderr.endswith("KeyError: 'unforeseen'\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_what_cannot_be_written_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", f"{AT_THE_END}quick.exit(0)"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def test_the_collector_comes_back() -> None:
    frozen = gc.get_freeze_count()
    try:
        with pytest.raises(KeyError), without_collector():
            kept = [[] for _ in range(1000)]
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(kept)
    finally:
        gc.unfreeze()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = PIL.Image.new("RGB", (40, 30), "white")
    picture.paste("red", (5, 5, 20, 25))
    picture.save(tmp_path / "scene.png")
    return tmp_path


EVERY_SEGMENT = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
SEGMENT = ["segment", "scene.png", "a red box"]


def test_a_mask_arrives_whole(folder: Path, tiny_models: list[str]) -> None:
    done = run(*SEGMENT, "-o", "-", "--json", *tiny_models, *EVERY_SEGMENT, cwd=folder)
    assert done.code == 0, done.stderr
    with PIL.Image.open(io.BytesIO(done.stdout)) as mask:
        mask.load()
        assert mask.size == (40, 30)
    assert json.loads((folder / "scene.json").read_text())["found"] is True
    assert done.stderr.splitlines()[-1].startswith("slip: 'a red box': score ")


def test_nothing_found(folder: Path, tiny_models: list[str]) -> None:
    done = run(*SEGMENT, "--json", *tiny_models, "--pred-iou-thresh", "1", cwd=folder)
    assert (done.code, done.lines) == (1, ["scene.json"])
    assert json.loads((folder / "scene.json").read_text())["found"] is False
    assert done.stderr.splitlines()[-1].startswith("slip: nothing found for 'a red box'")


@pytest.mark.skipif(os.name != "posix", reason="pipes that break with EPIPE")
def test_nobody_reads(folder: Path, tiny_models: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [str(COMMAND), *SEGMENT, "-o", "-", *tiny_models, *EVERY_SEGMENT]
    done = subprocess.run(command, cwd=folder, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert {line for line in done.stderr.splitlines() if not line.startswith("slip: load models ")} == set()


@pytest.mark.skipif(not CAN_FORK, reason="POSIX signals")
def test_interrupted(folder: Path) -> None:
    process = subprocess.Popen(
        [str(COMMAND), "segment", "-", "x", "-o", "mask.png"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed,
    )
    assert process.stdin is not None
    process.stdin.write(bytes(1 << 20))  # more than a pipe holds: once it is written, the command reads
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, b"", b"slip: interrupted\n")
    assert [path.name for path in folder.iterdir()] == ["scene.png"]


def heed() -> None:
    """The tests may themselves run where SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["segment", "scene.png"], 2), (["segment", "none.png", "x"], 3)], ids=str
)
def test_errors(folder: Path, arguments: list[str], code: int) -> None:
    done = run(*arguments, cwd=folder)
    assert (done.code, done.stdout, done.stderr.count("\n")) == (code, b"", 1)

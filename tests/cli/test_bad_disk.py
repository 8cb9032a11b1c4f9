"""A disk that is full, read-only or gone while ``slip segment`` runs: one line, nothing half done."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cli.runner import CAN_FORK, COMMAND, Run, run_warm

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="limits and signals of POSIX")

PICTURES, COPIES = 6, 40
KIND = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2", "--always"]
SINGLE = ["segment", "in/0.png", "a disc", "-o"]
BATCH = ["segment", "in", "--prompt", "a disc", "--prompt", "a box", "-o"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With pictures of noise in ``in``; their overlays do not pack well."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = noise.integers(0, 256, (120, 160, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    return tmp_path


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of its own on a folder, where the tests may."""
    target = tmp_path / "disk"

    def mount(options: str) -> Path:
        target.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "slip-test", str(target)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("only root mounts")
        return target

    if shutil.which("mount") is None:
        pytest.skip("no mount")
    yield mount
    subprocess.run(["umount", str(target)], capture_output=True, check=False)


def limit_files(size: int) -> None:
    """Files of this process may not grow further, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def check_pictures(folder: Path) -> list[str]:
    """The names of the files, of which none is a part of one; every picture can be decoded."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert [name for name in names if name.endswith(".part")] == []
    for name in names:
        if name.endswith(".png"):
            with PIL.Image.open(folder / name) as picture:
                picture.load()
    return names


def check_error(done: Run, *words: str) -> None:
    """Exit code 3 and a last line with these words, which alone is an error."""
    assert done.code == 3, done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("slip: error: ") and [word for word in words if word not in last] == [], last
    assert not any("error" in line for line in before)


def results(folder: Path) -> list[dict[str, object]]:
    """Every line is one: the file is valid."""
    text = (folder / "results.jsonl").read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_no_space_for_one_of_the_files(folder: Path, tiny_models: list[str]) -> None:
    asked = [*SINGLE, ".", "--overlay", *tiny_models, *KIND]
    done = run_warm(*asked, cwd=folder, prepare=partial(limit_files, 20_000))
    check_error(done, "no space left", "0.overlay.png", "make room")
    assert check_pictures(folder) == ["0.mask.png", *(f"in/{number}.png" for number in range(PICTURES))]


def test_a_full_disk(folder: Path, tiny_models: list[str], mounted: Callable[..., Path]) -> None:
    disk = mounted("size=16k")
    done = run_warm(*SINGLE, "disk", "--overlay", "--cutout", *tiny_models, *KIND, cwd=folder)
    check_error(done, "no space left", "disk/0.")
    assert set(check_pictures(disk)) <= {"0.mask.png", "0.overlay.png"}


def test_a_full_disk_in_a_batch(folder: Path, tiny_models: list[str], mounted: Callable[..., Path]) -> None:
    disk = mounted("size=260k")
    asked = [*BATCH, "disk/out", "--overlay", *tiny_models, *KIND]
    done = run_warm(*asked, cwd=folder)
    assert done.code == 3, done.stderr
    assert "no space left" in done.stderr or "No space left" in done.stderr
    before = check_pictures(disk / "out")
    told = [name for row in results(disk / "out") for name in row["files"]]
    assert {name for name in before if name.endswith(".png")} >= set(told)
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    again = run_warm(*asked, cwd=folder)
    assert again.code == 0, again.stderr
    assert len(results(disk / "out")) == 2 * PICTURES
    assert len(check_pictures(disk / "out")) == 4 * PICTURES + 2


@pytest.mark.parametrize("form", [[*SINGLE, "disk"], [*BATCH, "disk/out"]], ids=["one", "many"])
def test_a_disk_that_is_read_only(
    form: list[str], folder: Path, tiny_models: list[str], mounted: Callable[..., Path]
) -> None:
    disk = mounted("size=1m,ro")
    done = run_warm(*form, *tiny_models, *KIND, cwd=folder)
    check_error(done, "disk")
    assert list(disk.iterdir()) == []


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root writes everywhere")
@pytest.mark.parametrize("form", [[*SINGLE, "closed"], [*BATCH, "closed/out"]], ids=["one", "many"])
def test_a_folder_that_may_not_be_written(form: list[str], folder: Path, tiny_models: list[str]) -> None:
    (folder / "closed").mkdir(mode=0o500)
    check_error(run_warm(*form, *tiny_models, *KIND, cwd=folder), "closed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("form", [[*SINGLE, "."], [*BATCH, "out"]], ids=["one", "many"])
def test_paths_that_nobody_can_be_told(form: list[str], folder: Path, tiny_models: list[str]) -> None:
    done = run_warm(*form, *tiny_models, *KIND, cwd=folder, stdout=Path("/dev/full"))
    check_error(done, "standard output", "No space left")
    check_pictures(folder)


def vanish(folder: str, after: int) -> None:
    """The folder goes away in a search, at once."""
    from slip.models.sam.proposer import SamProposer

    propose, left = SamProposer.propose, iter(range(after, -1, -1))

    def gone(*arguments: object, **options: object) -> object:
        if next(left, None) == 0:
            Path(folder).rename("elsewhere")
        return propose(*arguments, **options)

    SamProposer.propose = gone


def test_a_folder_of_results_that_vanishes(folder: Path, tiny_models: list[str]) -> None:
    (folder / "out").mkdir()
    done = run_warm(*SINGLE, "out", *tiny_models, *KIND, cwd=folder, prepare=partial(vanish, "out", 0))
    check_error(done, "out/0.mask.png", "its folder does not exist")
    assert not (folder / "out").exists()


def test_a_folder_of_results_that_vanishes_in_a_batch(folder: Path, tiny_models: list[str]) -> None:
    done = run_warm(*BATCH, "out", *tiny_models, *KIND, cwd=folder, prepare=partial(vanish, "out", 3))
    check_error(done, "out")
    assert not (folder / "out").exists()


def test_pictures_that_vanish_in_a_batch(folder: Path, tiny_models: list[str]) -> None:
    done = run_warm(*BATCH, "out", *tiny_models, *KIND, cwd=folder, prepare=partial(vanish, "in", 2))
    assert done.code == 3, done.stderr
    rows = results(folder / "out")
    assert len(rows) == 2 * PICTURES
    errors = {row["error"] for row in rows if row["status"] == "failed"}
    assert errors and all("does not exist; check the path" in str(error) for error in errors)
    found = [name for row in rows if row["status"] == "found" for name in row["files"]]
    assert found and set(check_pictures(folder / "out")) == {*found, "results.jsonl", ".results.lock"}


def is_importing(process: subprocess.Popen[bytes], _: Path) -> bool:
    return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()


def has_results(count: int, _: subprocess.Popen[bytes], out: Path) -> bool:
    path = out / "results.jsonl"
    return path.exists() and path.read_bytes().count(b"\n") >= count


MOMENTS = {
    "torch is imported": is_importing,
    "the journal begins": partial(has_results, 0),
    "there are results": partial(has_results, 9),
}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what a process has loaded")
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_in_a_batch(moment: str, folder: Path, tiny_models: list[str]) -> None:
    """The same command then does the rest."""
    for copy in range(COPIES):
        shutil.copy(folder / "in" / "0.png", folder / "in" / f"copy{copy}.png")
    asked, out = [*BATCH, "out", *tiny_models, *KIND], folder / "out"
    said = interrupted(asked, folder, lambda process: MOMENTS[moment](process, out))
    assert said[-1] == "slip: interrupted" and not any("Traceback" in line for line in said)
    kept = results(out) if out.exists() else []
    assert {name for row in kept for name in row["files"]} <= set(check_pictures(out))
    again = run_warm(*asked, cwd=folder)
    assert again.code == 0, again.stderr
    rows = results(out)
    assert len(rows) == len({(row["image"], row["prompt"]) for row in rows}) == 2 * (PICTURES + COPIES)
    assert rows[: len(kept)] == kept


def heed_ctrl_c() -> None:
    """The tests may themselves run where SIGINT is ignored, as in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(asked: list[str], cwd: Path, moment: Callable[[subprocess.Popen[bytes]], bool]) -> list[str]:
    """Run the command, press Ctrl-C at a moment; returns what it says on stderr."""
    environment = {**os.environ, "SLIP_OFFLINE": "1", "SLIP_HOME": str(cwd / "home")}
    with subprocess.Popen(
        [str(COMMAND), *asked],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,
    ) as process:
        while not moment(process) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return said.decode().splitlines()

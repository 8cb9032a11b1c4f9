"""A training that ends too early goes on as if it had not; one that would not be the same is refused."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cli.lessons import (
    FINETUNE,
    JUDGE,
    STEPS,
    at_save,
    at_step,
    die,
    heed,
    interrupt,
    metrics,
    teach,
    tensors,
)
from cli.runner import CAN_FORK, Run, run_warm

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="POSIX signals and limits")

AMID = STEPS + 2
"""A step in the middle of the second epoch."""
KILLED = -signal.SIGKILL
Command = Callable[..., Run]


@pytest.fixture
def again(taught: Path, tmp_path: Path, tiny_models: list[str]) -> Command:
    """The command of ``taught`` with more options, in a folder of its own."""
    shutil.copytree(taught / "shapes", tmp_path / "shapes")

    def command(*options: str, prepare: Callable[[], object] = bool) -> Run:
        start = ["-o", "clip", "--from", tiny_models[3]]
        return run_warm(*FINETUNE, *start, *options, cwd=tmp_path, prepare=prepare)

    return command


def check_same(folder: Path, taught: Path) -> None:
    """The same losses, figures and weights as unbroken, to the last bit."""
    assert metrics(folder / "clip.run") == metrics(taught / "clip.run")
    assert tensors(folder / "clip.safetensors") == tensors(taught / "clip.safetensors")
    left = {path.name for path in (folder / "clip.run").iterdir()}
    assert left == {path.name for path in (taught / "clip.run").iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("moment", "logged"),
    [
        (partial(at_step, AMID, die), AMID),
        (partial(at_save, 2, die), 2 * STEPS),
        (partial(at_step, 1, die), 1),
    ],
    ids=["amid an epoch", "while saving", "before the first checkpoint"],
)
def test_killed(
    again: Command, taught: Path, tmp_path: Path, moment: Callable[[], None], logged: int
) -> None:
    killed = again(prepare=moment)
    assert (killed.code, killed.stdout) == (KILLED, b"")
    assert max(record["step"] for record in metrics(tmp_path / "clip.run")) == logged
    assert not (tmp_path / "clip.safetensors").exists()

    refused = again()
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "--resume" in refused.stderr

    done = again("--resume")
    assert (done.code, done.lines) == (0, ["clip.safetensors", "clip.run"]), done.stderr
    check_same(tmp_path, taught)


def interrupt_amid() -> None:
    heed()
    at_step(AMID, interrupt)


def test_interrupted(again: Command, taught: Path, tmp_path: Path) -> None:
    done = again(prepare=interrupt_amid)
    assert (done.code, done.stdout) == (130, b"")
    assert done.stderr.endswith(
        "\nslip: 'clip.run' keeps what was reached; go on with --resume\nslip: interrupted\n"
    )
    # not thrown away: it was saved amid the epoch, and only the rest is done again
    resumed = again("--resume", prepare=partial(at_step, AMID, die))
    assert resumed.code == 0, resumed.stderr
    check_same(tmp_path, taught)


def interrupt_twice() -> None:
    heed()
    at_step(AMID, lambda: (interrupt(), interrupt()))


def test_interrupted_by_an_impatient_user(again: Command, taught: Path, tmp_path: Path) -> None:
    done = again(prepare=interrupt_twice)
    assert (done.code, done.stderr.splitlines()[-1]) == (130, "slip: interrupted")
    assert again("--resume").code == 0
    check_same(tmp_path, taught)


def interrupt_while_reading() -> None:
    from slip.data import files

    heed()
    files.group_duplicates = lambda *_: interrupt()


def test_interrupted_before_there_is_a_run(again: Command, tmp_path: Path) -> None:
    done = again(prepare=interrupt_while_reading)
    assert (done.code, done.stdout, done.stderr) == (130, b"", "slip: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_a_finished_run_resumed_is_finished(again: Command, taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught / "clip.run", tmp_path / "clip.run")
    assert again("--resume").code == 0
    check_same(tmp_path, taught)


def forget(folder: Path) -> None:
    (folder / "shapes/red/0.png").unlink()


def repaint(folder: Path) -> None:
    shutil.copy(folder / "shapes/red/0.png", folder / "shapes/red/1.png")


def rename(folder: Path) -> None:
    (folder / "shapes/red").rename(folder / "shapes/scarlet")


@pytest.mark.parametrize("change", [forget, repaint, rename])
def test_another_data_set_is_refused(
    again: Command, taught: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    shutil.copytree(taught / "clip.run", tmp_path / "clip.run")
    change(tmp_path)
    done = again("--resume")
    last = done.stderr.splitlines()[-1]
    assert (done.code, done.stdout) == (2, b"")
    assert last.startswith("slip: error: ") and "data set" in last and "clip.run" in last
    assert len(last) < 400
    assert contents(tmp_path / "clip.run") == contents(taught / "clip.run")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rate", "0.001"], ["rate", "0.0003", "0.001"]),
        (["--epochs", "4"], ["epochs", "3", "4"]),
        (["--caption", "a {} shape"], ["caption", "a {} shape"]),
        (["--validation", "0.3"], ["validation", "0.2", "0.3"]),
        (["--lock", "text", "--loss", "clip"], ["lock", "text", "loss", "clip"]),
    ],
    ids=lambda words: words[0].strip("-"),
)
def test_other_options_are_refused(
    again: Command, taught: Path, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    shutil.copytree(taught / "clip.run", tmp_path / "clip.run")
    done = again("--resume", *options)
    last = done.stderr.splitlines()[-1]
    assert (done.code, done.stdout) == (2, b"")
    assert [word for word in words if word not in last] == [], last
    assert "weight_decay" not in last, "only what differs is told"
    assert contents(tmp_path / "clip.run") == contents(taught / "clip.run")


def test_a_damaged_checkpoint_is_refused(again: Command, taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught / "clip.run", tmp_path / "clip.run")
    checkpoint = tmp_path / "clip.run/checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    before = contents(tmp_path / "clip.run")
    done = again("--resume")
    assert (done.code, done.stdout) == (2, b"")
    assert "checkpoint.pt' is damaged" in done.stderr and "--overwrite" in done.stderr
    assert contents(tmp_path / "clip.run") == before


def fill_the_disk(name: str) -> None:
    """When the second checkpoint, or the result, is written, files end at 1 MB."""
    from slip.models import checkpoint
    from slip.training.run import Run as Training

    save, write, seen = Training.save, checkpoint.write_file, []

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))

    def saved(self: Training, state: dict[str, object]) -> None:
        seen.append(state["step"])
        if name == "checkpoint.pt" and len(seen) == 2:
            limit()
        save(self, state)

    def written(path: Path, data: bytes, *, overwrite: bool) -> None:
        if name == "clip.safetensors":
            limit()
        write(path, data, overwrite=overwrite)

    Training.save, checkpoint.write_file = saved, written


@pytest.mark.parametrize("name", ["checkpoint.pt", "clip.safetensors"])
def test_a_full_disk_loses_nothing(again: Command, taught: Path, tmp_path: Path, name: str) -> None:
    done = again(prepare=partial(fill_the_disk, name))
    told = [line for line in done.stderr.splitlines() if line.startswith("slip: error: ")]
    assert (done.code, done.stdout) == (3, b"")
    assert done.stderr.splitlines()[-1] == told[0] and name in told[0] and len(told) == 1
    assert "room" in told[0] and len(told[0]) < 300
    assert [path.name for path in tmp_path.rglob("*.part")] == []
    assert not (tmp_path / "clip.safetensors").exists()

    resumed = again("--resume")
    assert resumed.code == 0, resumed.stderr
    check_same(tmp_path, taught)


def fork_workers() -> None:
    """Else they would come from a server like this process, and import torch again."""
    multiprocessing.set_start_method("fork", force=True)


def test_the_number_of_workers_changes_nothing(again: Command, taught: Path, tmp_path: Path) -> None:
    assert again("--workers", "2", prepare=fork_workers).code == 0
    check_same(tmp_path, taught)


def test_a_judge_goes_on_too(taught: Path, tmp_path: Path) -> None:
    """Its mixed pictures depend on random numbers of the training itself."""
    (tmp_path / "shapes").symlink_to(taught / "shapes")
    whole = teach(*JUDGE, "-o", "whole", cwd=tmp_path)
    killed = run_warm(*JUDGE, "-o", "parts", cwd=tmp_path, prepare=partial(at_step, AMID, die))
    assert killed.code == KILLED
    teach(*JUDGE, "-o", "parts", "--resume", cwd=tmp_path)
    assert whole.lines == ["whole.safetensors", "whole.run"]
    assert metrics(tmp_path / "parts.run") == metrics(tmp_path / "whole.run")
    assert tensors(tmp_path / "parts.safetensors") == tensors(tmp_path / "whole.safetensors")

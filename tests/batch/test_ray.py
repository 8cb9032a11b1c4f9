"""A batch on a Ray cluster of two workers: what it gives is what one process gives."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import bad_files as bad
import pytest
from batch.colours import Colours, draw, drawing, files, rows, work_through
from cli.runner import COMMAND, run, run_warm

from slip.batch.cluster import run_on_ray
from slip.batch.job import Job
from slip.batch.journal import Results
from slip.batch.plan import Maker, Wanted
from slip.batch.sources import Task, find_tasks
from slip.batch.work import Outcome
from slip.errors import SlipWarning, WeightsError
from slip.types import Image, Prediction, Segmenter

HERE = Path(__file__).parents[1]
MAKER = Maker("1", {"sam": "colours"}, {"preset": "none"})


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason='needs pip install "slip-segment[ray]"')
    os.environ.update(SMALL)
    ray.init(
        num_cpus=2,
        object_store_memory=100 << 20,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "batch")])}},
    )
    yield
    ray.shutdown()


SMALL = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


class Moody(Colours):
    """Ends its process where it is asked for what kills, and warns of what is strange."""

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        if image.shape[1] == 100:
            os._exit(1)
        return super().segment_each(image, prompts)


def load(loaded: Path) -> tuple[Segmenter, Maker]:
    """Leaves a file for each time that it is called."""
    (loaded / f"{os.getpid()}.{uuid4().hex}").touch()
    return Moody(), MAKER


def fail(error: Exception) -> tuple[Segmenter, Maker]:
    raise error


def work_on_ray(job: Job, tasks: Sequence[Task], load: Any, **options: Any) -> list[Outcome]:
    told: list[Outcome] = []
    results = Results.open(job, tasks)
    try:
        run_on_ray(results.pending, load, job, results, told.append, **options)
    finally:
        results.close()
    return told


def timeless(folder: Path) -> list[dict[str, Any]]:
    lines = [{**row, "seconds": 0} for row in rows(folder)]
    return sorted(lines, key=lambda row: (row["image"], row["prompt"]))


def test_it_is_what_one_process_gives(tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(Path("in"), **{f"p{i}": "red blue" if i % 2 else "green" for i in range(6)}, sub__p1="blue")
    draw(Path("far"), a="red", b__c="blue green")
    Path("in", "p0.png").write_bytes(drawing("red")[:-30])
    Path("in", "moving.gif").write_bytes(bad.animation("GIF"))
    Path("loaded").mkdir()
    uri = (tmp_path / "far").as_uri()
    given = ["in", "none.png", "-", f"{uri}/", f"{uri}/none.png"]
    wanted = Wanted(json=True, overlay=True, cutout=True, all_matches=True)
    plain, shared = (Job(Path(name), wanted, maker=MAKER) for name in ("plain", "shared"))
    tasks = find_tasks(given, ["red", "blue"], output=shared.folder, stdin=drawing("blue", "red"))
    with pytest.warns(SlipWarning, match="moving.gif' has several frames; the first is used"):
        work_through(plain, tasks)

    with pytest.warns(SlipWarning, match="moving.gif' has several frames; the first is used"):
        told = work_on_ray(replace(shared, maker=Maker()), tasks, partial(load, tmp_path / "loaded"))
    assert timeless(shared.folder) == timeless(plain.folder)
    assert [row["status"] for row in timeless(plain.folder)].count("failed") == 6
    names = files(plain.folder)
    assert files(shared.folder) == names and len(names) > 30
    same = [name for name in names if name != "results.jsonl"]
    assert all(Path("shared", name).read_bytes() == Path("plain", name).read_bytes() for name in same)
    assert sorted(path for outcome in told for path in outcome.written) == [
        Path("shared", name) for name in same
    ]
    pids = [path.name.split(".")[0] for path in Path("loaded").iterdir()]
    assert len(pids) == len(set(pids)) <= 2, "each worker loads the models once"
    assert str(os.getpid()) not in pids


def test_a_picture_that_ends_its_worker(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slip.batch.cluster.ATTEMPTS", 1)
    draw(tmp_path / "in", a="red", b="red " * 8, c="red")
    (tmp_path / "loaded").mkdir()
    job = Job(tmp_path / "out")
    tasks = find_tasks([str(tmp_path / "in")], ["red"], output=job.folder)
    work_on_ray(job, tasks, partial(load, tmp_path / "loaded"))
    found, failed, last = timeless(job.folder)
    assert (found["status"], last["status"]) == ("found", "found")
    assert failed["error"] == "worker after worker died of it; perhaps there is too little memory"


def test_what_ends_the_batch(tmp_path: Path, cluster: None) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out")
    tasks = find_tasks([str(tmp_path / "in")], ["red"], output=job.folder)
    with pytest.raises(WeightsError, match="^gone$"):
        work_on_ray(job, tasks, partial(fail, WeightsError("gone")))
    with pytest.raises(RuntimeError, match="in fail\n.*raise error\nKeyError: 'bug'"):
        work_on_ray(job, tasks, partial(fail, KeyError("bug")))
    assert rows(job.folder) == []


def test_interrupted_and_gone_on_with(tmp_path: Path, tiny_models: list[str]) -> None:
    pytest.importorskip("ray", reason='needs pip install "slip-segment[ray]"')
    (tmp_path / "in").mkdir()
    for number in range(24):
        (tmp_path / "in" / f"{number:02}.png").write_bytes(bad.picture(size=(40 + number, 90 - number)))
    asked = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "8", "--overlay"]
    wanted = ["segment", "in", "none.png", "--prompt", "x", *tiny_models, *asked, "-o"]
    results = tmp_path / "out" / "results.jsonl"
    code, stderr = interrupt_after(5, [*wanted, "out", "--engine", "ray"], results, tmp_path)
    before = results.read_bytes()
    done = before.count(b"\n")
    assert code == 130 and 5 <= done < 25, stderr
    assert stderr.splitlines()[-2:] == [
        f"slip: {done} of 25 pictures are done, and kept in 'out'; the same command goes on",
        "slip: interrupted",
    ]
    assert "Ray" not in stderr.replace("slip: start Ray 1/1\n", "").replace("start Ray 0/1\n", "")

    more = run(*wanted, "out", "--engine", "ray", cwd=tmp_path, env=SMALL)
    failed = before.count(b'"failed"')
    assert more.code == 3 and len(more.lines) == 2 * (24 - done + failed) + 1, more.stderr
    assert "slip: failed, none.png: prompt x; because 'none.png' does not exist" in more.stderr
    plain = run_warm(*wanted, "plain", cwd=tmp_path)
    assert plain.code == 3
    assert timeless(tmp_path / "out") == timeless(tmp_path / "plain")
    names = files(tmp_path / "plain")
    assert files(tmp_path / "out") == names and len(names) == 49
    for name in names:
        if name != "results.jsonl":
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def interrupt_after(lines: int, arguments: list[str], results: Path, cwd: Path) -> tuple[int, str]:
    """Start the command and press Ctrl-C when the results have so many lines; how it ended, what it told."""
    env = {**os.environ, **SMALL, "SLIP_OFFLINE": "1", "SLIP_CACHE_SIZE": "0", "OMP_NUM_THREADS": "1"}
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    command = [str(COMMAND), *arguments]
    streams["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # perhaps ignored here
    with subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **streams) as process:
        deadline = time.monotonic() + 120
        while not (results.exists() and results.read_bytes().count(b"\n") >= lines):
            assert process.poll() is None and time.monotonic() < deadline, "it should be under way"
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def leave_out_ray() -> None:
    import sys

    sys.modules["ray"] = None  # type: ignore[assignment]


def test_without_the_extra(tmp_path: Path, tiny_models: list[str]) -> None:
    (tmp_path / "a.png").write_bytes(bad.picture())
    wanted = ["segment", "a.png", "x", *tiny_models, "--engine", "ray", "-o", "out"]
    done = run_warm(*wanted, cwd=tmp_path, prepare=leave_out_ray)
    assert (done.code, done.stderr) == (
        2,
        'slip: error: --engine ray needs Ray, which is not installed; run: pip install "slip-segment[ray]"\n',
    )
    assert not (tmp_path / "out").exists()


def test_no_cluster(tmp_path: Path, tiny_models: list[str]) -> None:
    pytest.importorskip("ray", reason='needs pip install "slip-segment[ray]"')
    (tmp_path / "a.png").write_bytes(bad.picture())
    wanted = ["segment", "a.png", "x", *tiny_models, "--engine", "ray", "-o", "out"]
    done = run_warm(*wanted, cwd=tmp_path, env={"RAY_ADDRESS": "127.0.0.1:1"})
    assert done.code == 2, done.stderr
    assert done.stderr.startswith(
        "slip: error: no Ray cluster answers at 127.0.0.1:1, which RAY_ADDRESS names: "
    )
    assert done.stderr.count("\n") == 1

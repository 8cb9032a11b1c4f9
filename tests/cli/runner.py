"""The command as a user runs it: arguments, streams, exit code, files."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

COMMAND = Path(sysconfig.get_path("scripts")) / "slip"
CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()
PRELOADED = [
    "slip.cli.app",
    "slip.cli.training",
    "slip.cli.entrants",
    "slip.cli.contenders",
    "slip.cli.lessons",
    "slip.cli.part_lessons",
    "slip.data.sets",
    "slip.evaluation.report",
    "slip.evaluation.referring.report",
    "slip.pipeline.slip",
    "slip.outputs",
    "slip.models.sam.proposer",
    "slip.models.clip",
    "slip.training.cris",
    "slip.training.finetune",
    "slip.training.judge",
]


@dataclass(frozen=True)
class Run:
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[str]:
        """What stdout says, line by line."""
        return self.stdout.decode().splitlines()


def run(
    *arguments: str | Path,
    cwd: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> Run:
    """Run ``slip`` in the folder ``cwd``, offline and with an empty cache unless ``env`` says otherwise."""
    done = subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        env={**os.environ, **_quiet(cwd), **(env or {})},
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return _without_traceback(Run(done.returncode, done.stdout, done.stderr.decode(errors="replace")))


def run_warm(
    *arguments: str | Path,
    cwd: Path,
    stdin: bytes = b"",
    stdout: Path | None = None,
    env: Mapping[str, str] | None = None,
    prepare: Callable[[], object] = bool,
    timeout: float = 120,
) -> Run:
    """``run`` in a process forked from one that has torch and the models' code imported already.

    stdout: a device to write to. prepare: called in the process before the command.
    """
    if not CAN_FORK:
        raise NotImplementedError("this system cannot fork")
    with TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(stdin)
        given = [streams[0], stdout or streams[1], streams[2]]
        wanted = (cwd, list(map(str, arguments)), {**_quiet(cwd), **(env or {})}, given, prepare)
        process = _forkserver().Process(target=_main, args=wanted)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError("the command does not end")
        told = b"" if stdout else streams[1].read_bytes()
        return _without_traceback(
            Run(process.exitcode, told, streams[2].read_bytes().decode(errors="replace"))
        )


def run_python(code: str, *, cwd: Path) -> Run:
    """Run Python code in a process of its own, to see what it imports."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, check=False)
    return Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def _quiet(cwd: Path) -> dict[str, str]:
    return {
        "SLIP_OFFLINE": "1",
        "SLIP_HOME": str(cwd / "no-cache"),
        "SLIP_CACHE_SIZE": "0",
        "OMP_NUM_THREADS": "1",
    }


def _without_traceback(done: Run) -> Run:
    assert "Traceback" not in done.stderr, done.stderr
    return done


@lru_cache(maxsize=1)
def _forkserver() -> multiprocessing.context.BaseContext:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when the server imports torch
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _main(
    cwd: Path,
    arguments: list[str],
    env: dict[str, str],
    streams: list[Path],
    prepare: Callable[[], object],
) -> None:
    for number, (stream, flags) in enumerate(
        zip(streams, (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)
    ):
        os.dup2(os.open(stream, flags), number)
    sys.stdin = open(0)  # noqa: SIM115
    os.chdir(cwd)
    os.environ.update(env)
    sys.argv = ["slip", *arguments]
    prepare()
    from slip.cli.app import main

    main()

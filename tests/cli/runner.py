"""The installed command in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts")) / "slip"


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
    quiet = {"SLIP_OFFLINE": "1", "SLIP_HOME": str(cwd / "no-cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        env={**os.environ, **quiet, **(env or {})},
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    stderr = done.stderr.decode(errors="replace")
    assert "Traceback" not in stderr, stderr
    return Run(done.returncode, done.stdout, stderr)


def run_python(code: str, *, cwd: Path) -> Run:
    """Run Python code in a process of its own, to see what it imports."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, check=False)
    return Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

"""What a user installs and what a packager builds from: the wheel and the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import slip

ROOT = Path(__file__).parents[1]
DATA = ["py.typed", "weights.txt", "assets/sam_tiny.safetensors", "assets/clip_tiny.safetensors"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_wheel(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {f"slip/{path.relative_to(ROOT / 'slip').as_posix()}" for path in (ROOT / "slip").rglob("*.py")}
    assert modules | {f"slip/{name}" for name in DATA} <= names
    assert {name.partition("/")[0] for name in names} == {
        "slip",
        f"slip_segment-{slip.__version__}.dist-info",
    }


def test_sdist(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    files = {"README.md", "Makefile", "pyproject.toml", "weights.txt", ".ci/run", ".gitignore"}
    assert tests | files <= names
    assert {"tests", "recipes", "examples", "benchmarks"} <= {name.partition("/")[0] for name in names}

"""The package's shape: who imports whom, how long files are, what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import slip

PACKAGE = Path(slip.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("slip", "recipes", "benchmarks") for path in (ROOT / room).rglob("*.py"))
MAX_LINES = 400
MAX_FUNCTION_LINES = 40

BASE = {"types", "errors", "options"}
ARRAYS = BASE | {"images", "masks"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "options": set(),
    "types": {"errors"},
    "images": BASE,
    "masks": BASE,
    "weights": BASE | {"cache", "home"},
    "device": BASE,
    "cache": BASE | {"home"},
    "home": BASE,
    "wording": set(),
    "outputs": ARRAYS,
    "drawing": ARRAYS,
    "rows": BASE,
    "charts": BASE | {"images"},
    "pipeline": ARRAYS | {"cache", "device", "models"},
    "models": ARRAYS | {"device", "outputs", "weights", "wording"},
    "data": ARRAYS | {"rows", "wording"},
    "batch": ARRAYS | {"device", "drawing", "outputs", "pipeline", "rows"},
    "evaluation": ARRAYS | {"charts", "data", "drawing", "outputs"},
    "training": ARRAYS | {"charts", "data", "device", "models", "outputs", "pipeline", "weights"},
}
"""A room (a module or folder of slip/) and the rooms it may import. cli and the package itself: all."""
BY_PROTOCOL_ONLY = {"pipeline"}
"""Rooms that may import ``slip.models``, the registry, but no module inside it."""


def name_of(path: Path, package: Path) -> str:
    """The dotted name below slip: ``models.sam``; empty for the package itself."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, package: Path) -> Iterator[str]:
    """Dotted names below slip that the file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name[5:] for alias in node.names if f"{alias.name}.".startswith("slip."))
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, (from_package(node, path, package), node.module)))
            if f"{origin}.".startswith("slip."):
                yield from (member(origin[5:], alias.name, package) for alias in node.names)


def from_package(node: ast.ImportFrom, path: Path, package: Path) -> str:
    folders = ("slip", *path.relative_to(package).parts[:-1])
    return ".".join(folders[: len(folders) - node.level + 1]) if node.level else ""


def member(origin: str, name: str, package: Path) -> str:
    """``from origin import name``: the module of that name if there is one, else ``origin``."""
    folder = package.joinpath(*origin.split(".")) if origin else package
    is_module = (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()
    return f"{origin}.{name}".strip(".") if is_module else origin


def trespasses(path: Path, package: Path) -> list[str]:
    room = name_of(path, package).partition(".")[0]
    if room in ("", "__main__", "cli"):
        return []
    if room not in MAY_IMPORT:
        return [f"{room} is not in the table of who may import whom"]
    found = []
    for target in imports_of(path, package):
        there, _, inside = target.partition(".")
        by_name = there == "models" and inside and room in BY_PROTOCOL_ONLY
        if there != room and (there not in MAY_IMPORT[room] or by_name):
            found.append(f"{room} imports slip.{target}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path, PACKAGE) or "slip")
def test_rooms_import_only_what_they_may(path: Path) -> None:
    assert trespasses(path, PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("masks.py", "from slip.types import Box", True),
        ("masks.py", "from slip.pipeline.slip import Slip", False),
        ("masks.py", "from slip import Slip", False),
        ("masks.py", "from slip import models", False),
        ("masks.py", "import slip.models.sam as sam", False),
        ("masks.py", "from . import models", False),
        ("masks.py", "import slippers", True),
        ("pipeline/slip.py", "from slip.models import load_proposer", True),
        ("pipeline/slip.py", "from slip.models import sam", False),
        ("pipeline/slip.py", "from slip.models.sam import load_sam", False),
        ("pipeline/slip.py", "from slip.models.sam.proposer import SamProposer", False),
        ("pipeline/slip.py", "from ..models.sam.proposer import SamProposer", False),
        ("pipeline/slip.py", "from . import crops", True),
        ("pipeline/slip.py", "def load():\n    from slip.cli import app", False),
        ("cli/app.py", "from slip.models.sam.proposer import SamProposer", True),
        ("novelty.py", "import numpy", False),
    ],
)
def test_the_check_itself(tmp_path: Path, file: str, line: str, allowed: bool) -> None:
    sam = ("models/sam/__init__.py", "models/sam/proposer.py")
    for name in ("masks.py", "models/__init__.py", *sam, "pipeline/crops.py", "cli/app.py", file):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / file).write_text(line)
    assert (trespasses(tmp_path / file, tmp_path) == []) is allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    long = {name: lines for name, lines in function_lines(text) if lines > MAX_FUNCTION_LINES}
    assert long == {}


def function_lines(text: str) -> Iterator[tuple[str, int]]:
    """Each function and its lines, without signature and docstring: those of a command are its help."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            yield node.name, (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_function_lines() -> None:
    text = 'def f(\n    a,\n):\n    """Words.\n\n    More.\n    """\n    a\n    return (\n        a\n    )\n'
    assert list(function_lines(text)) == [("f", 4)]


@pytest.mark.parametrize("name", slip.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(slip, name).__name__ == name


def test_other_names_do_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = slip.Nonsense


@pytest.mark.parametrize("module", ["slip", "slip.models", "slip.cli.app"])
def test_heavy_imports_wait(module: str) -> None:
    code = f"import sys, {module}; print(*{{'torch', 'cv2'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr

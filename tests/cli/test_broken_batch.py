"""The five hundred broken files through one real batch: it ends, tells of each, leaves nothing half done."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from broken_pictures import COUNT, write_corpus
from cli.runner import run

EVERY_SEGMENT = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "1"]


def read_results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and links of POSIX")
def test_a_batch_of_broken_pictures(tmp_path: Path, tiny_models: list[str]) -> None:
    outcomes = write_corpus(tmp_path / "pictures")
    listed = [json.dumps({"image": f"pictures/{name}", "prompt": "a disc"}) for name in outcomes]
    (tmp_path / "all.jsonl").write_text("\n".join(listed))
    asked = ["segment", "--from-list", "all.jsonl", "-o", "out", "--max-megapixels", "10"]
    done = run(*asked, *tiny_models, *EVERY_SEGMENT, cwd=tmp_path, timeout=220)
    assert done.code == 3, done.stderr
    rows = read_results(tmp_path / "out" / "results.jsonl")
    statuses = {row["image"].removeprefix("pictures/"): row["status"] for row in rows}
    assert statuses.keys() == outcomes.keys() and len(rows) == COUNT
    for name, status in statuses.items():
        assert outcomes[name] in ("either", "error" if status == "failed" else "picture"), name
    check_report(rows, done.stderr)
    check_files(tmp_path / "out", rows)


def check_report(rows: list[dict[str, Any]], stderr: str) -> None:
    """A line for each failure, with the picture and what to do about it, and one for the whole."""
    tally = Counter(row["status"] for row in rows)
    lines = stderr.splitlines()
    assert all(line.startswith("slip: ") and line.isprintable() for line in lines)
    assert sum(line.startswith("slip: failed, ") for line in lines) == tally["failed"] > 200
    told = (tally["found"], tally["no match"], tally["failed"])
    assert lines[-1].startswith("slip: {} found, {} without a match, {} failed, ".format(*told))
    for row in rows:
        if row["status"] == "failed":
            assert any(row["error"] in line for line in lines)
            assert row["error"].isprintable() and row["files"] == []


def check_files(folder: Path, rows: list[dict[str, Any]]) -> None:
    """What the results name, whole, and nothing else."""
    named = {name: row["image_size"] for row in rows for name in row["files"]}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there - {"results.jsonl", ".results.lock"} == named.keys()
    for name, (height, width) in named.items():
        with PIL.Image.open(folder / name) as mask:
            mask.load()
            assert (mask.mode, mask.size) == ("L", (width, height))

from __future__ import annotations

from pathlib import Path

from cli.runner import run

from slip.weights import catalogue


def test_list_is_a_table_for_programs(tmp_path: Path) -> None:
    done = run("weights", "list", cwd=tmp_path)
    header, *rows = [line.split("\t") for line in done.lines]
    assert (done.code, done.stderr) == (0, "")
    assert header == ["name", "size", "licence", "state"]
    assert [row[0] for row in rows] == list(catalogue())
    assert {len(row) for row in rows} == {4}
    assert {row[3] for row in rows} == {"not fetched"}


def test_where(tmp_path: Path) -> None:
    folder = tmp_path / "no-cache" / "weights"
    assert run("weights", "where", cwd=tmp_path).lines == [str(folder)]
    entry = catalogue()["sam/vit_b"]
    assert run("weights", "where", "sam/vit_b", cwd=tmp_path).lines == [str(folder / entry.file)]


def test_fetch_offline_says_what_to_do(tmp_path: Path) -> None:
    done = run("weights", "fetch", "--preset", "base", cwd=tmp_path)
    assert (done.code, done.stdout) == (4, b"")
    assert done.stderr.count("\n") == 1
    entry = catalogue()["sam/vit_b"]
    assert all(word in done.stderr for word in (entry.url, entry.file, "SLIP_OFFLINE", "--preset tiny"))


def test_fetch_of_what_is_built_in(tmp_path: Path) -> None:
    done = run("weights", "fetch", "--preset", "tiny", cwd=tmp_path)
    assert (done.code, done.stdout) == (0, b"")
    assert "built in" in done.stderr


def test_verify_names_every_wrong_file(tmp_path: Path) -> None:
    folder = tmp_path / "no-cache" / "weights"
    folder.mkdir(parents=True)
    names = "resnet18/imagenet", "resnet50/imagenet"
    for name in names:
        (folder / catalogue()[name].file).write_bytes(b"not weights")
    done = run("weights", "verify", cwd=tmp_path)
    assert (done.code, done.stdout) == (4, b"")
    *errors, last = done.stderr.splitlines()
    assert [name in error for name, error in zip(names, errors, strict=True)] == [True, True]
    assert last == "slip: 0 of 2 verified"


def test_doctor(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path)
    told = dict(line.split("\t") for line in done.lines)
    assert (done.code, done.stderr) == (0, "")
    assert told["downloads"] == "forbidden by SLIP_OFFLINE"
    assert "fp32" in told["device cpu"] or "device cuda" in told or "device mps" in told
    assert "writable" in told["cache"]
    assert told["preset base"] == "lacks sam/vit_b, clip/ViT-B-32/openai"
    assert told["preset tiny"].startswith(("ready", "lacks"))

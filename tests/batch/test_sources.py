from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from batch.colours import draw

from slip.batch.sources import Task, find_tasks
from slip.errors import ImageError, UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return draw(tmp_path, a="red", sub__a="red", sub__deep__b="red", other__a="red")


def find(*given: str, listed: str | None = None, prompts: tuple[str, ...] = ("x",)) -> list[Task]:
    return find_tasks(given, prompts, Path(listed) if listed else None, output=Path("out"))


def named(*given: str, **options: object) -> dict[str, str]:
    return {task.image: task.stem for task in find(*given, **options)}


def test_a_folder(here: Path) -> None:
    for name in ("sub/.hidden.png", ".dark/a.png", "out/a.x.mask.png", "sub/notes.txt", "sub/none"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).touch()
    (here / "sub" / "B.JPG").touch()
    assert named("sub") == {"sub/B.JPG": "B", "sub/a.png": "a", "sub/deep/b.png": "deep/b"}
    assert named("sub/") == named("sub")
    assert named(".") == {
        "a.png": "a",
        "other/a.png": "other/a",
        "sub/B.JPG": "sub/B",
        "sub/a.png": "sub/a",
        "sub/deep/b.png": "sub/deep/b",
    }
    assert list(named(str(here / "sub")).values()) == ["B", "a", "deep/b"]


def test_same_names_in_several_places(here: Path) -> None:
    assert named("sub/a.png", "other/a.png", "sub/deep") == {
        "sub/a.png": "sub/a",
        "other/a.png": "other/a",
        "sub/deep/b.png": "sub/deep/b",
    }
    (here / "sub" / "a.jpg").touch()
    assert list(named("sub").values()) == ["a.jpg", "a.png", "deep/b"]


def test_patterns(here: Path) -> None:
    (here / "sub" / "a.txt").touch()
    assert named("sub/**/*") == {"sub/a.png": "a", "sub/deep/b.png": "deep/b"}
    assert named("*/a.png") == {"other/a.png": "other/a", "sub/a.png": "sub/a"}
    assert named(str(here / "s*" / "*.png")) == {str(here / "sub" / "a.png"): "sub/a"}
    (here / "a[1].png").touch()
    assert named("a[1].png") == {"a[1].png": "a[1]"}
    assert named("a[2].png") == {"a[2].png": "a[2]"}, "not there, and told of later"
    assert named("sub/[ab].png") == {"sub/a.png": "a"}
    assert named("*/../a.png").keys() <= {"other/../a.png", "sub/../a.png"}
    assert list(named("*/../a.png").values()) == ["a"]


def test_a_picture_is_done_once(here: Path) -> None:
    found = find("a.png", "./a.png", str(here / "a.png"), "sub/../a.png", "-", "-")
    assert [task.image for task in found] == ["a.png", "-"]
    assert [task.stem for task in found] == ["a", "stdin"]


def test_the_picture_called_stdin(here: Path) -> None:
    (here / "stdin.png").touch()
    assert len(set(named("-", "stdin.png").values())) == 2


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_links(here: Path) -> None:
    (here / "sub" / "loop").symlink_to(here, target_is_directory=True)
    (here / "sub" / "self").symlink_to(here / "sub", target_is_directory=True)
    (here / "sub" / "other").symlink_to(here / "other", target_is_directory=True)
    (here / "out").mkdir()
    (here / "out" / "a.png").touch()
    (here / "sub" / "results").symlink_to(here / "out", target_is_directory=True)
    assert list(named("sub")) == ["sub/a.png", "sub/deep/b.png", "sub/other/a.png"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
@pytest.mark.parametrize("given", ["loop", "loop/**/*.png", "**/*.png"])
def test_links_to_each_other(here: Path, given: str) -> None:
    names = [f"f{number}" for number in range(6)]
    for name in names:
        draw(here / "loop" / name, x="red")
        for other in names:
            if other != name:
                (here / "loop" / name / other).symlink_to(here / "loop" / other, target_is_directory=True)
    found = [name for name in named(given) if name.startswith("loop")]
    assert found == [f"loop/{name}/x.png" for name in names]


def test_a_pattern_where_the_results_go(here: Path) -> None:
    for pattern in ("out/*.png", f"{here}/out/**/*.png", "other/../out/a*.png"):
        with pytest.raises(UsageError, match="is also where the results go; name another folder with -o"):
            find(pattern)
    assert list(named("*.png")) == ["a.png"]


def test_a_table(here: Path) -> None:
    (here / "sub" / "list.csv").write_text(
        f"image,prompt,note\na.png,a bird,1\ndeep/b.png,,2\na.png,a fish,3\n{here}/sub/a.png,a bird,4\n"
    )
    tasks = find(listed="sub/list.csv")
    assert [(task.image, task.stem, task.prompts) for task in tasks] == [
        ("sub/a.png", "a", ["a bird", "a fish"]),
        ("sub/deep/b.png", "deep/b", ["x"]),
    ]
    lines = [{"image": "a.png", "prompts": ["青", "b"]}, {"image": "../a.png", "prompt": "c"}]
    (here / "sub" / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    both = find("other", listed="sub/list.jsonl")
    assert [(task.stem, dict(task.slugs)) for task in both] == [
        ("other/a", {"x": "x"}),
        ("sub/a", {"青": "青", "b": "b"}),
        ("a", {"c": "c"}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", "image,prompt\n,x\n", "line 2 of 't.csv': has no image"),
        ("t.csv", "image,prompt\na.png,\n", "line 2 of 't.csv': has no prompt; write one"),
        ("t.csv", "picture,prompt\na.png,x\n", "first line of 't.csv' is 'picture,prompt'; give the columns"),
        ("t.csv", "", "'t.csv' is empty"),
        ("t.jsonl", '{"image": "a.png", "prompts": "x"}\n', "the prompts are no list"),
        ("t.jsonl", '{"image": "a.png", "prompts": [["x"]]}\n', "the prompts is no text"),
        ("t.jsonl", '{"image": "a.png", "prompt": "\\ud800"}\n', "half a character"),
    ],
)
def test_bad_tables(here: Path, name: str, content: str, says: str) -> None:
    (here / name).write_text(content)
    with pytest.raises(UsageError) as error:
        find(listed=name, prompts=())
    assert says in str(error.value)


def test_a_table_that_is_missing(here: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot read 'none.csv': No such file"):
        find(listed="none.csv")


@pytest.mark.parametrize(
    ("given", "prompts", "says"),
    [
        (["empty"], ("x",), "'empty' holds no pictures; check the path"),
        (["*.jpg"], ("x",), r"'\*.jpg' holds no pictures"),
        (["a.png"], (), "no prompt for the pictures; name one with --prompt"),
        (["a.png"], ("x", " "), "the prompt is empty"),
        (["out"], ("x",), "'out' is also where the results go"),
        ([], ("x",), "no picture is named"),
    ],
)
def test_nothing_to_do(here: Path, given: list[str], prompts: tuple[str, ...], says: str) -> None:
    (here / "empty").mkdir()
    (here / "out").mkdir()
    with pytest.raises(UsageError, match=says):
        find(*given, prompts=prompts)


def test_what_is_not_there_is_told_of_later(here: Path) -> None:
    (here / "empty").mkdir()
    tasks = find("a.png", "none.png", "empty", f"{'x' * 300}.png")
    assert [task.error is not None for task in tasks] == [False, False, True, False]


def test_earlier_results_beside_their_pictures_are_no_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "a.mask.png", "a.mask.2.png", "a.overlay.png", "a.cutout.png", "masked.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    walked = find_tasks([str(tmp_path / "in")], ["x"], output=tmp_path / "out")
    assert [Path(task.image).name for task in walked] == ["a.png", "masked.png"]
    named = find_tasks([str(tmp_path / "in" / "a.mask.png")], ["x"], output=tmp_path / "out")
    assert [Path(task.image).name for task in named] == ["a.mask.png"]

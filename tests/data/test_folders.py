from __future__ import annotations

import os
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from data.sets_on_disk import drawing, save, save_folders

from slip.data import files
from slip.data.folders import open_folders
from slip.errors import ImageError, SlipError, UsageError
from slip.images import encode_png


def test_a_picture_knows_its_class_and_caption(tmp_path: Path) -> None:
    found = open_folders(save_folders(tmp_path / "bugs", 2), "a drawing of {}, small")
    assert found.name == "bugs" and found.classes == ("ant", "bee") and found.unreadable == ()
    assert [(picture.name, picture.label, picture.caption) for picture in found.pictures] == [
        ("ant/0.png", "ant", "a drawing of ant, small"),
        ("ant/1.png", "ant", "a drawing of ant, small"),
        ("bee/0.png", "bee", "a drawing of bee, small"),
        ("bee/1.png", "bee", "a drawing of bee, small"),
    ]
    image, mask = found.load(found.pictures[2])
    np.testing.assert_array_equal(image, drawing(100))
    assert mask is None


def test_nested_files_and_odd_extensions_count(tmp_path: Path) -> None:
    save_folders(tmp_path, 1)
    save(tmp_path / "ant" / "more" / "deep" / "2.png", drawing(7))
    (tmp_path / "bee" / "0.png").rename(tmp_path / "bee" / "0.jpeg large")
    (tmp_path / "bee" / "no extension").write_bytes(encode_png(drawing(8)))
    found = open_folders(tmp_path)
    assert [picture.name for picture in found.pictures] == [
        "ant/0.png",
        "ant/more/deep/2.png",
        "bee/0.jpeg large",
        "bee/no extension",
    ]
    assert [picture.label for picture in found.pictures] == ["ant", "ant", "bee", "bee"]


def test_what_is_no_picture_is_listed_with_its_reason(tmp_path: Path) -> None:
    save_folders(tmp_path)
    whole = encode_png(drawing(1))
    for name, content in {
        "labels.csv": b"a,b\n",
        ".DS_Store": b"x",
        ".cache/1.png": whole,
        "ant/.hidden.png": whole,
        "ant/.ipynb_checkpoints/0-checkpoint.png": whole,
        "ant/cut.png": whole[:200],
        "ant/empty.png": b"",
        "ant/notes.txt": b"text",
        "bee/drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "cat").mkdir()
    found = open_folders(tmp_path)
    assert len(found.pictures) == 6 and found.classes == ("ant", "bee")
    assert found.unreadable == (
        (".DS_Store", "is hidden"),
        (".cache", "is hidden"),
        ("ant/.hidden.png", "is hidden"),
        ("ant/.ipynb_checkpoints", "is hidden"),
        ("ant/cut.png", "is damaged or incomplete; save or download it again"),
        ("ant/empty.png", "is empty; save or download it again"),
        ("ant/notes.txt", "is not a picture that can be read; save it as JPEG or PNG"),
        ("bee/drawing.svg", "is not a picture that can be read; save it as JPEG or PNG"),
        ("cat/", "is empty"),
        ("labels.csv", "lies in no class folder"),
    )


def test_results_beside_their_pictures_are_left_out(tmp_path: Path) -> None:
    root = save_folders(tmp_path)
    first = next((root / "ant").iterdir())
    for kind in ("mask", "mask.2", "overlay", "cutout", "segments"):
        save(first.with_name(f"{first.stem}.{kind}.png"), drawing(50))
    save(root / "ant" / "a.mask.png", drawing(51))
    found = open_folders(root)
    assert {reason for _, reason in found.unreadable} == {"was written by slip segment"}
    assert len(found.unreadable) == 5
    assert "ant/a.mask.png" in {picture.name for picture in found.pictures}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(save_folders(tmp_path) / "bee" / "pipe.png")
    assert open_folders(tmp_path).unreadable == (("bee/pipe.png", "is not a plain file"),)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = save_folders(tmp_path / "set", 2)
    save(tmp_path / "elsewhere" / "x.png", drawing(9))
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    (root / "ant" / "up").symlink_to(root)
    (root / "bee" / "self").symlink_to("self")
    (root / "dog").symlink_to("dog")
    found = open_folders(root)
    assert found.classes == ("ant", "bee", "cat")
    reasons = dict(found.unreadable)
    assert reasons["ant/up/"] == "is a link to a folder that it lies in"
    assert reasons["dog"] == "lies in no class folder"
    assert "\n" not in reasons["bee/self"] and len(reasons) == 3


def test_folders_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folders(tmp_path, classes=("ant", "bee", "cat"))
    listing = os.scandir
    forbidden = tmp_path / "cat"

    def scan(folder: Path) -> object:
        if Path(folder) == forbidden:
            raise PermissionError(13, "Permission denied")
        return listing(folder)

    monkeypatch.setattr(os, "scandir", scan)
    found = open_folders(tmp_path)
    assert found.unreadable == (("cat/", "cannot be listed: Permission denied"),)
    forbidden = tmp_path
    with pytest.raises(ImageError, match="cannot read the folder .*: Permission denied; check"):
        open_folders(tmp_path)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ((), "holds no class folders with files in them; give a folder that holds a folder"),
        (("ant",), "has one class, 'ant'; a data set needs two classes or more"),
        (("Abra", "bee", "abra"), "has the classes 'Abra' and 'abra'; give both one spelling"),
        (("caf\u00e9", "cafe\u0301"), "has the classes .* and .*; give both one spelling"),
    ],
)
def test_classes_that_cannot_be_taught(tmp_path: Path, classes: tuple[str, ...], says: str) -> None:
    save_folders(tmp_path, 1, classes)
    with pytest.raises(UsageError, match=says) as caught:
        open_folders(tmp_path)
    assert "\n" not in str(caught.value)


def test_one_class_with_pictures_is_one_class(tmp_path: Path) -> None:
    save_folders(tmp_path)
    for path in (tmp_path / "bee").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(UsageError, match="has one class, 'ant'"):
        open_folders(tmp_path)
    for path in (tmp_path / "ant").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(UsageError, match="holds no picture that can be read"):
        open_folders(tmp_path)


def test_pictures_beside_each_other_are_no_classes(tmp_path: Path) -> None:
    save(tmp_path / "a.png", drawing(0))
    with pytest.raises(UsageError, match="holds no class folders"):
        open_folders(tmp_path)


@pytest.mark.parametrize("template", ["", "a picture", "{} and {}", "{name}", "{} {", "{0}", "{{}}"])
def test_captions_without_one_place_for_the_class(tmp_path: Path, template: str) -> None:
    with pytest.raises(UsageError, match="put {} into it once") as caught:
        open_folders(tmp_path, template)
    assert repr(template) in str(caught.value)


def test_the_mask_is_the_alpha_channel(tmp_path: Path) -> None:
    save_folders(tmp_path, 1)
    pixels = np.dstack([drawing(5), np.full((48, 64), 255, np.uint8)])
    pixels[:10, :, 3] = 100
    save(tmp_path / "ant" / "cut-out.png", pixels)
    found = open_folders(tmp_path)
    image, mask = found.load(next(picture for picture in found.pictures if "cut-out" in picture.name))
    assert mask is not None and not mask[:10].any() and mask[10:].all()
    np.testing.assert_array_equal(image[10:], drawing(5)[10:])
    assert image[:10].min() > 255 - 101


def test_animations_are_pictures_and_do_not_warn(tmp_path: Path) -> None:
    save_folders(tmp_path, 1)
    frames = [PIL.Image.fromarray(drawing(seed)) for seed in (20, 21)]
    out = BytesIO()
    frames[0].save(out, "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    (tmp_path / "ant" / "moves.webp").write_bytes(out.getvalue())
    found = open_folders(tmp_path)
    np.testing.assert_array_equal(found.load(found.pictures[1])[0], drawing(20))


def test_copies_share_a_group(tmp_path: Path) -> None:
    save_folders(tmp_path)
    for quality in (60, 95):
        half = PIL.Image.fromarray(drawing(0)).resize((32, 24))
        half.save(tmp_path / "bee" / f"like ant 0, {quality}.jpg", quality=quality)
    groups = {picture.name: picture.group for picture in open_folders(tmp_path).pictures}
    assert groups["ant/0.png"] == groups["bee/like ant 0, 60.jpg"] == groups["bee/like ant 0, 95.jpg"] == 0
    assert len(set(groups.values())) == 6


def test_the_digest_tells_what_a_set_holds(tmp_path: Path) -> None:
    first = open_folders(save_folders(tmp_path / "a"))
    assert open_folders(save_folders(tmp_path / "b")).digest == first.digest
    assert open_folders(tmp_path / "a", "a {}").digest != first.digest
    save(tmp_path / "a" / "ant" / "0.png", drawing(55))
    changed = open_folders(tmp_path / "a").digest
    assert changed != first.digest
    (tmp_path / "a" / "ant" / "0.png").rename(tmp_path / "a" / "ant" / "00.png")
    assert open_folders(tmp_path / "a").digest not in (first.digest, changed)


def test_progress_counts_every_file(tmp_path: Path) -> None:
    save_folders(tmp_path)
    (tmp_path / "ant" / "bad.png").write_bytes(b"bad")
    calls: list[tuple[str, int, int]] = []
    open_folders(tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [*(("read pictures", done, 7) for done in range(1, 8)), ("compare pictures", 6, 6)]


def test_an_interrupt_does_not_wait_for_the_files_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folders(tmp_path, 40)
    read, seen = files._read, []

    def counted(path: Path) -> object:
        seen.append(path)
        return read(path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_read", counted)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        open_folders(tmp_path, progress=interrupt)
    assert len(seen) < 80


def test_a_set_travels_to_other_processes(tmp_path: Path) -> None:
    found = open_folders(save_folders(tmp_path))
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_file_that_went_away(tmp_path: Path) -> None:
    found = open_folders(save_folders(tmp_path))
    (tmp_path / "bee" / "1.png").unlink()
    with pytest.raises(SlipError, match="bee/1.png' does not exist"):
        found.load(found.pictures[4])

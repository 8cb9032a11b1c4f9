"""Hundreds of broken files, read in one process: each is a picture or one line, soon and in little memory."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from broken_pictures import COUNT, broken_pictures, good_pictures, saved, write_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_bombs import with_scans

from slip.errors import ImageError
from slip.images import MAX_SCANS, load_image, load_with_alpha

MEGAPIXELS = 10
BOUND = MEGAPIXELS * 20 * 10**6 + 64 * 2**20
"""Bytes: what the widest format takes of so many pixels, and what the files and their parsing do."""

SOUND = PIL.Image.effect_noise((30, 20), 90).convert("RGB")

READ = """
import json, logging, resource, signal, sys, time, warnings
from pathlib import Path
import numpy as np
from slip.errors import ImageError
from slip.images import load_image, load_with_alpha

class TooSlow(BaseException): pass
def alarm(*_): raise TooSlow
def status(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))

def read(path):
    image = load_image(path, max_megapixels=MEGAPIXELS)
    again, mask = load_with_alpha(path, max_megapixels=MEGAPIXELS)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.flags.c_contiguous
    assert (image == again).all()
    assert mask is None or mask.dtype == bool and mask.shape == image.shape[:2]
    return "picture", ""

MEGAPIXELS = float(sys.argv[1])
warnings.simplefilter("ignore")
logging.getLogger().addHandler(logging.NullHandler())
signal.signal(signal.SIGALRM, alarm)
before = status("VmHWM")
resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + 4 * 2**30,) * 2)
for path in json.load(sys.stdin):
    signal.alarm(30)
    try:
        kind, told = read(path)
    except ImageError as error:
        kind, told = "error", str(error)
    except BaseException as error:
        kind, told = "neither", repr(error)
    signal.alarm(0)
    print(json.dumps([path, kind, told]), flush=True)
print(json.dumps(status("VmHWM") - before))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="limits and memory are told by Linux")
def test_each_is_a_picture_or_one_line(corpus: tuple[Path, dict[str, str]]) -> None:
    folder, outcomes = corpus
    paths = [str(folder / name) for name in outcomes]
    done = subprocess.run(
        [sys.executable, "-c", READ, str(MEGAPIXELS)],
        input=json.dumps(paths),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *told, peak = map(json.loads, done.stdout.splitlines())
    assert [path for path, _, _ in told] == paths and len(paths) == COUNT
    assert [each for each in told if each[1] == "neither"] == []
    for name, (path, kind, message) in zip(outcomes, told, strict=True):
        assert outcomes[name] in (kind, "either"), (name, message)
        assert kind == "picture" or (repr(path) in message and message.isprintable()), message
    assert Counter(kind for _, kind, _ in told)["error"] > 200
    assert peak < BOUND


def test_the_same_seed_makes_the_same_files() -> None:
    first, again, other = (hash(tuple(broken_pictures(COUNT, seed))) for seed in (0, 0, 1))
    assert first == again != other


edits = st.tuples(
    st.sampled_from(["replace", "insert", "delete", "truncate"]),
    st.one_of(st.integers(0, 100), st.integers(0, 20_000)),
    st.binary(min_size=1, max_size=8),
)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.sampled_from(sorted(good_pictures())), st.lists(edits, min_size=1, max_size=6))
@settings(max_examples=400)
def test_edited_bytes_are_a_picture_or_an_image_error(
    name: str, changes: list[tuple[str, int, bytes]]
) -> None:
    content = good_pictures()[name]
    for change, place, given_bytes in changes:
        place %= len(content) + 1
        rest = content[place:]
        if change in ("replace", "delete"):
            rest = rest[len(given_bytes) :]
        put = given_bytes if change in ("replace", "insert") else b""
        content = content[:place] + (b"" if change == "truncate" else put + rest)
    try:
        image, mask = load_with_alpha(content, max_megapixels=1)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.dtype == np.uint8 and image.shape[2:] == (3,)
        assert mask is None or mask.shape == image.shape[:2]


def test_the_good_ones_are_read() -> None:
    for content in good_pictures().values():
        assert load_with_alpha(content)[0].shape == (48, 64, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_pipe_is_read_and_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    with pytest.raises(ImageError, match="pipe.png' is empty"):
        load_image(path)
    with ThreadPoolExecutor(1) as pool:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        written = pool.submit(path.write_bytes, saved(SOUND, "PNG"))
        while not select.select([reader], [], [], 1)[0]:
            pass
        np.testing.assert_array_equal(load_image(path), np.asarray(SOUND))
        os.close(reader)
        written.result()


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    data = saved(SOUND, "JPEG", progressive=True)
    usual = data.count(b"\xff\xda")
    assert load_image(with_scans(data, MAX_SCANS - usual)).shape == (20, 30, 3)
    with pytest.raises(ImageError, match=f"the picture is a JPEG of more than {MAX_SCANS} scans"):
        load_image(with_scans(data, MAX_SCANS - usual + 1))


def test_what_looks_like_scans_in_a_block_or_behind_the_end_is_none() -> None:
    noise = b"\xff\xda\0\2" * 500
    data = saved(SOUND, "JPEG", comment=noise, exif=b"Exif\0\0" + noise)
    assert load_image(data + noise).shape == (20, 30, 3)


def test_colours_that_are_not_read_are_named() -> None:
    with pytest.raises(
        ImageError, match="the picture has LAB colours, which are not read; convert it to RGB"
    ):
        load_image(saved(PIL.Image.new("LAB", (4, 4)), "TIFF"))


def test_libtiff_keeps_off_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    damaged = saved(SOUND, "TIFF", compression="jpeg").replace(b"\xff\xd8", b"\xff\x00")
    with pytest.raises(ImageError, match="is damaged"):
        load_image(damaged)
    assert capfd.readouterr().err == ""

"""A search whose parts are known from before writes what it would write without: byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from cli.runner import Run, run, run_warm
from cli.tiny_models import CLIP, EVERY_SEGMENT
from models.toy_sam import TOY, toy

from slip.cache import Cache
from slip.models.checkpoint import save_checkpoint
from slip.models.clip import build_clip

PROMPT = "a red box, of all things"
OTHER = "something green"
ASKED = ["--all-segments", "--overlay", "--cutout", "--top-k", "3", "--always"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture of noise and a box."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    pixels[10:40, 20:60] = 200, 30, 30
    PIL.Image.fromarray(pixels).save(tmp_path / "scene.png")
    return tmp_path


CACHED = {"SLIP_CACHE_SIZE": "1GB"}
"""The commands of the tests keep nothing otherwise."""

Search = Callable[..., dict[str, bytes]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for a SAM whose masks differ from point to point, and a CLIP with dense features."""
    folder = tmp_path_factory.mktemp("models")
    sam, clip = folder / "sam.safetensors", folder / "clip.safetensors"
    config = {**CLIP, "vision_cfg": {**CLIP["vision_cfg"], "layers": 2}}
    torch.manual_seed(0)
    save_checkpoint(sam, "sam", TOY, toy().state_dict())
    save_checkpoint(clip, "clip", config, build_clip(config).state_dict())
    return ["--sam", str(sam), "--clip", str(clip)]


@pytest.fixture
def search(folder: Path, models: list[str]) -> Search:
    """``slip segment`` into a folder of its own; returns the written files' contents."""
    numbers: Iterator[int] = iter(range(100))

    def searched(
        *options: str, prompt: str = PROMPT, command: Callable[..., Run] = run_warm, **env: str
    ) -> dict:
        out = folder / f"out{next(numbers)}"
        out.mkdir()
        wanted = ["scene.png", prompt, "-o", str(out), *ASKED, *models, *EVERY_SEGMENT, *options]
        done = command("segment", *wanted, cwd=folder, env=CACHED | env)
        assert done.code == 0, done.stderr
        return results(out)

    return searched


def results(out: Path) -> dict[str, bytes]:
    """Every file by its name; of reports, all but the timings."""
    return {path.name: untimed(path) for path in out.iterdir()}


def untimed(path: Path) -> bytes:
    if path.suffix != ".json":
        return path.read_bytes()
    report = json.loads(path.read_text())
    assert report.pop("timings")
    return json.dumps(report).encode()


def cache_of(folder: Path) -> Cache:
    """That of the commands in ``folder``."""
    return Cache(folder / "no-cache" / "cache")


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in cache_of(folder).folder.rglob("*") if path.is_file())


def kinds(folder: Path) -> set[str]:
    return {kind for kind, held in cache_of(folder).info().items() if held.entries}


def test_without_with_a_cold_and_with_a_warm_cache(folder: Path, search: Search) -> None:
    without = search("--no-cache", command=run)
    assert len(without) == 7 and json.loads(without["scene.json"])["runners_up"]
    assert not (folder / "no-cache").exists()
    assert search(command=run) == without
    assert kinds(folder) >= {"segments", "crops", "texts"}
    cold = entries(folder)
    assert search(command=run) == without
    assert entries(folder) == cold


def test_without_the_cache_a_batch_leaves_it_alone(folder: Path, models: list[str]) -> None:
    wanted = [str(folder), "--prompt", PROMPT, "-o", str(folder / "out"), *models, *EVERY_SEGMENT]
    done = run_warm("segment", *wanted, "--always", "--no-cache", cwd=folder, env=CACHED)
    assert done.code == 0, done.stderr
    assert not (folder / "no-cache").exists()


def test_a_prompt_that_is_cut_is_told_of_each_time(folder: Path, models: list[str]) -> None:
    wanted = ["scene.png", "a red box " * 30, *ASKED, *models, *EVERY_SEGMENT, "--overwrite"]
    runs = [
        run_warm("segment", *wanted, *options, cwd=folder, env=CACHED)
        for options in (["--no-cache"], [], [], ["--no-cache"])
    ]
    assert all(done.code == 0 for done in runs), runs[0].stderr
    notes = [[line for line in done.stderr.splitlines() if "is cut to its first" in line] for done in runs]
    assert notes[0] and notes == [notes[0]] * 4


def test_models_replaced_while_they_are_in_use_answer_in_no_other_name(
    folder: Path, models: list[str]
) -> None:
    sam, clip = (Path(shutil.copy(models[at], folder)) for at in (1, 3))
    wanted = ["scene.png", PROMPT, "--sam", str(sam), "--clip", str(clip), *EVERY_SEGMENT]
    for path in (sam, clip):
        done = run_warm("segment", *wanted, cwd=folder, env=CACHED, prepare=partial(replaced_late, path))
        assert (done.code, done.stdout) == (4, b""), done.stderr
        assert f"{path.name} changed while it was in use; run again" in done.stderr
    assert kinds(folder) <= {"segments", "digests"}


def replaced_late(path: Path) -> None:
    """In a process with the models' code: another checkpoint takes the place of this before it is loaded."""
    from slip import models

    load = {"sam.safetensors": "load_proposer", "clip.safetensors": "load_encoder"}[path.name]
    really = getattr(models, load)

    def overtaken(*arguments: object) -> object:
        data = bytearray(path.read_bytes())
        data[-2] ^= 1
        path.write_bytes(data)
        return really(*arguments)

    setattr(models, load, overtaken)


def test_every_way_to_show_and_to_ask(folder: Path, search: Search) -> None:
    for options in (
        ["--view", "ensemble"],
        ["--view", "context", "--overlap", "paper"],
        ["--overlap", "nms"],
        ["--points", "exhaustive"],
        ["--points", "guided"],
        ["--negative", "a bird", "--template", "a photo of {}", "--template", "{}"],
        ["--points-per-side", "3"],
    ):
        without = search(*options, "--no-cache")
        assert [search(*options), search(*options)] == [without, without], options


def test_another_prompt_on_a_known_picture(folder: Path, search: Search) -> None:
    first, other = search("--no-cache"), search("--no-cache", prompt=OTHER)
    assert first != other
    assert search() == first
    assert search(prompt=OTHER) == other
    assert search() == first
    of_kind = cache_of(folder).info()
    assert of_kind["segments"].entries == 1


def test_another_picture_of_the_same_name_is_another(folder: Path, search: Search) -> None:
    first = search()
    with PIL.Image.open(folder / "scene.png") as picture:
        picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "scene.png")
    second = search()
    assert first != second == search("--no-cache")


def test_the_same_picture_elsewhere_is_known(
    folder: Path, search: Search, tmp_path_factory: pytest.TempPathFactory
) -> None:
    search()
    before = entries(folder)
    with PIL.Image.open(folder / "scene.png") as picture:
        picture.save(folder / "scene.bmp")
    (folder / "scene.bmp").replace(folder / "scene.png")
    search()
    assert entries(folder) == before


def test_models_moved_are_known_and_models_changed_are_others(
    folder: Path, search: Search, models: list[str]
) -> None:
    search()
    segments = cache_of(folder).info()["segments"]
    moved = shutil.copy(models[1], folder / "moved.safetensors")
    search("--sam", moved)
    assert cache_of(folder).info()["segments"] == segments
    data = bytearray(Path(moved).read_bytes())
    data[-2] ^= 1
    Path(moved).write_bytes(data)
    assert search("--sam", moved) == search("--sam", moved, "--no-cache")
    assert cache_of(folder).info()["segments"].entries == 2


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "swapped"])
def test_damaged_entries_are_computed_again(folder: Path, search: Search, damage: str) -> None:
    without = search("--no-cache")
    search()
    held = entries(folder)
    whole = [path.read_bytes() for path in held]
    for number, path in enumerate(held):
        data = bytearray(whole[number])
        if damage == "flipped":
            data[len(data) // 2] ^= 16
        path.write_bytes(
            {"flipped": data, "cut": data[:-1], "emptied": b"", "swapped": whole[number - 1]}[damage]
        )
    assert search() == without
    assert entries(folder) == held
    assert [path.read_bytes() for path in held] == whole


def test_processes_at_once(folder: Path, search: Search) -> None:
    without = {prompt: search("--no-cache", prompt=prompt) for prompt in (PROMPT, OTHER)}
    prompts = [PROMPT, OTHER, PROMPT, OTHER]
    with ThreadPoolExecutor(len(prompts)) as pool:
        for _ in range(2):
            written = list(pool.map(lambda prompt: search(prompt=prompt), prompts))
            assert written == [without[prompt] for prompt in prompts]
            shutil.rmtree(cache_of(folder).folder / "crops")
    assert not list(cache_of(folder).folder.rglob("*.part"))


def test_a_cache_that_cannot_be_written_is_none(folder: Path, search: Search) -> None:
    (folder / "no-cache").write_bytes(b"a file where the folder would be")
    assert search() == search("--no-cache")


def test_switched_off_by_its_size(folder: Path, search: Search) -> None:
    assert search(SLIP_CACHE_SIZE="0") == search("--no-cache")
    assert not (folder / "no-cache").exists()


def test_a_small_cache_forgets_and_nothing_else(folder: Path, search: Search) -> None:
    without = search("--no-cache")
    for _ in range(2):
        assert search(SLIP_CACHE_SIZE="3KB") == without
        assert sum(path.stat().st_size for path in entries(folder)) <= 3000


def test_a_size_that_is_none_is_refused(folder: Path, models: list[str]) -> None:
    wanted = ["scene.png", PROMPT, *models]
    done = run_warm("segment", *wanted, cwd=folder, env={"SLIP_CACHE_SIZE": "plenty"})
    assert (done.code, done.stdout, done.stderr.count("\n")) == (2, b"", 1)
    assert "SLIP_CACHE_SIZE cannot be 'plenty'" in done.stderr


def test_pictures_paths_and_prompts_are_not_kept(folder: Path, search: Search) -> None:
    search()
    pixels = np.asarray(PIL.Image.open(folder / "scene.png"))
    for path in entries(folder):
        assert len(path.name) == 64 and int(path.name, 16)
    for kind in cache_of(folder).info():
        for path in (cache_of(folder).folder / kind).rglob("?" * 64):
            held = cache_of(folder).get(kind, path.name)
            assert held is not None
            content = b"".join(array.tobytes() for array in held.values()) + path.read_bytes()
            for telling in (
                PROMPT.encode(),
                b"red box",
                b"scene",
                str(folder).encode(),
                pixels[50, :8].tobytes(),
            ):
                assert telling not in content


def forbid_sam() -> None:
    """In a process with the models' code: no segment may be searched, no crop be encoded."""
    from slip.models import clip
    from slip.models.sam import load

    def never(*arguments: object, **named: object) -> None:
        raise KeyError("computed twice")

    load.load_sam = never  # type: ignore[assignment]
    clip.ClipEncoder.encode_images = never  # type: ignore[assignment, method-assign]


def test_a_new_prompt_asks_neither_sam_nor_the_image_encoder(
    folder: Path, search: Search, models: list[str]
) -> None:
    expected = search("--no-cache", prompt=OTHER)
    search()
    out = folder / "out"
    out.mkdir()
    wanted = ["scene.png", OTHER, "-o", str(out), *ASKED, *models, *EVERY_SEGMENT]
    done = run_warm("segment", *wanted, cwd=folder, env=CACHED, prepare=forbid_sam)
    assert (done.code, results(out)) == (0, expected), done.stderr


def test_without_the_cache_it_would_ask_them(folder: Path, search: Search, models: list[str]) -> None:
    search()
    wanted = ["scene.png", OTHER, "--no-cache", *models, *EVERY_SEGMENT]
    with pytest.raises(AssertionError, match="computed twice"):
        run_warm("segment", *wanted, cwd=folder, env=CACHED, prepare=forbid_sam)

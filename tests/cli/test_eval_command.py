"""The command that measures, on critters and on networks with random weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from cli.runner import COMMAND, run, run_python, run_warm
from cli.tiny_models import CLIP

from slip.data.critters import SPECIES
from slip.data.drawn import DrawnSet
from slip.masks import decode_rle
from slip.models.checkpoint import save_checkpoint
from slip.models.clip import build_clip
from slip.models.resnet18 import JudgeConfig, build_judge

QUICK = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
NAMES = [kin.name for kin in SPECIES]
FILES = ["run.json", "trials.jsonl", "results.json", "report.html"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_models: list[str]) -> Path:
    """Random weights: a CLIP that says it was taught critters, and judges of all and of a few species."""
    folder = tmp_path_factory.mktemp("taught")
    torch.manual_seed(1)
    training = {
        "data": "critters",
        "classes": sorted(NAMES),
        "digest": DrawnSet().digest,
        "caption": "a small {}",
    }
    for name, split in (
        ("taught", {"validation": 0.2, "seed": 42}),
        ("elsewhere", {"validation": 0.3, "seed": 7}),
    ):
        path = folder / f"{name}.safetensors"
        save_checkpoint(path, "clip", CLIP, build_clip(CLIP).state_dict(), {**training, "split": split})
    for name, classes in (("judge", NAMES), ("few", NAMES[:100])):
        config = JudgeConfig(tuple(classes), 32).to_json()
        save_checkpoint(
            folder / f"{name}.safetensors", "resnet18", config, build_judge(len(classes)).state_dict()
        )
    return folder


def wanted(tiny_models: list[str], *more: str | Path, count: int = 2) -> list[str]:
    return ["eval", "critters", *tiny_models, *QUICK, "--count", str(count), *map(str, more)]


def trials_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def results_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "results.json").read_text())


class WellFormed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_two_clips_and_a_judge(tmp_path: Path, tiny_models: list[str], models: Path) -> None:
    more = ["--clip", models / "taught", "--judge", models / "judge", "-o", "out"]
    done = run(*wanted(tiny_models, *more), cwd=tmp_path, timeout=300)
    assert done.code == 0, done.stderr
    assert done.lines == [f"out/{name}" for name in FILES]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("slip: 16 trials, ")
    for measure in ("tile accuracy", "judged accuracy", "mean IoU", "ceiling of IoU >= .5"):
        assert f"slip: Figures, {measure}: clip.safetensors " in done.stderr

    trials = trials_of(tmp_path / "out")
    assert [(t["composite"], t["model"], t["tile"]) for t in trials] == [
        (composite, model, tile)
        for composite in range(2)
        for model in ("clip.safetensors", "taught.safetensors")
        for tile in range(4)
    ]
    for trial in trials:
        assert (
            trial["text"] == ("a small " if trial["model"] == "taught.safetensors" else "") + trial["label"]
        )
        assert (
            trial["judged"] in NAMES and trial["segments"] > 0 and 0 <= trial["iou"] <= trial["best_iou"] <= 1
        )
        assert decode_rle(trial["chosen"]["rle"]).shape == (896, 896)
    for composite in range(2):
        of_it = Counter(trial["label"] for trial in trials if trial["composite"] == composite)
        assert len(of_it) == 4 and set(of_it.values()) == {2}

    told = results_of(tmp_path / "out")
    assert told["run"] == json.loads((tmp_path / "out" / "run.json").read_text())
    assert {one["trials"] for one in told["models"]} == {8}
    assert [one["finetuned"] for one in told["run"]["models"]] == [False, True]
    assert {one["measure"] for one in told["comparisons"]} == {"tile", "judged", "IoU >= .5"}
    WellFormed((tmp_path / "out" / "report.html").read_text())


def test_killed_and_run_again(tmp_path: Path, tiny_models: list[str]) -> None:
    """SIGKILL in the middle: the same command goes on, and ends with what an unbroken run finds."""
    arguments = wanted(tiny_models, count=6)
    unbroken = run_warm(*arguments, "-o", "whole", cwd=tmp_path)
    assert unbroken.code == 0, unbroken.stderr
    quiet = {"SLIP_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(COMMAND), *arguments, "-o", "broken"],
        cwd=tmp_path,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = tmp_path / "broken" / "trials.jsonl"
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        if path.exists() and path.read_bytes().count(b"\n") >= 4:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL
    kept = path.read_bytes()
    assert 4 <= kept.count(b"\n") < 24
    again = run_warm(*arguments, "-o", "broken", cwd=tmp_path)
    assert again.code == 0, again.stderr
    assert path.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    for name in ("run.json", "trials.jsonl", "results.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def interrupt_later() -> None:
    """Ctrl-C while the second composite is searched."""
    from slip.models.sam.proposer import SamProposer

    signal.signal(signal.SIGINT, signal.default_int_handler)
    search, seen = SamProposer.propose, []

    def propose(self, image, progress=None):
        seen.append(image)
        if len(seen) > 1:
            os.kill(os.getpid(), signal.SIGINT)
        return search(self, image, progress)

    SamProposer.propose = propose


def test_interrupted_and_run_again(tmp_path: Path, tiny_models: list[str]) -> None:
    done = run_warm(*wanted(tiny_models), cwd=tmp_path, prepare=interrupt_later)
    assert (done.code, done.stdout) == (130, b"")
    assert done.stderr.splitlines() == [
        "slip: 4 trials are kept in 'eval-critters'; the same command goes on",
        "slip: interrupted",
    ]
    again = run_warm(*wanted(tiny_models), cwd=tmp_path)
    assert (again.code, len(trials_of(tmp_path / "eval-critters"))) == (0, 8)


def guided_searches() -> None:
    """Write down whether a search is guided."""
    from slip.models.sam.proposer import SamProposer

    search = SamProposer.propose_guided

    def propose_guided(self, image, interest, progress=None):
        with Path("guided.txt").open("a") as stream:
            stream.write(f"{interest.shape}\n")
        return search(self, image, interest, progress)

    SamProposer.propose_guided = propose_guided


def test_guided_points_search_for_every_prompt(tmp_path: Path) -> None:
    command = ("eval", "critters", "--clip", "tiny", "--count", "1", "--points", "guided")
    done = run_warm(*command, cwd=tmp_path, prepare=guided_searches)
    assert done.code == 0, done.stderr
    assert (tmp_path / "guided.txt").read_text() == "(12, 12)\n" * 4


def test_another_configuration_is_refused(tmp_path: Path, tiny_models: list[str], models: Path) -> None:
    assert run_warm(*wanted(tiny_models, count=1), cwd=tmp_path).code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "eval-critters").iterdir()}
    for change, says in (
        (["--seed", "1"], "seed 0, not 1"),
        (["--view", "blur"], "view ensemble, not blur"),
        (["--proposer", "reference"], "proposer fast, not reference"),
        (["--points", "exhaustive"], "proposals {"),
        (["--judge", models / "judge"], "judge null, not {"),
        (["--split", "all"], "split {"),
    ):
        done = run_warm(*wanted(tiny_models, *change, count=1), cwd=tmp_path)
        assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "'eval-critters' holds an evaluation with" in done.stderr and says in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "eval-critters").iterdir()} == before


def test_trials_of_another_proposer_are_not_gone_on_with(tmp_path: Path, tiny_models: list[str]) -> None:
    assert run_warm(*wanted(tiny_models, count=1), cwd=tmp_path).code == 0
    path = tmp_path / "eval-critters" / "run.json"
    told = json.loads(path.read_text())
    assert (told.pop("proposer"), told["proposals"].pop("points")) == ("fast", "adaptive")
    assert told["sam_precision"] != "auto"
    path.write_text(json.dumps(told))  # as it was when there was one proposer
    done = run_warm(*wanted(tiny_models, count=1), cwd=tmp_path)
    assert (done.code, done.stderr.count("\n")) == (2, 1)
    assert "proposer null, not fast" in done.stderr


def test_without_a_judge_and_with_the_built_in_models(tmp_path: Path) -> None:
    done = run_warm(
        "eval", "critters", "--preset", "tiny", "--count", "1", "--points-per-side", "4", cwd=tmp_path
    )
    assert done.code == 0, done.stderr
    assert "note: No judge was given: tile accuracy and IoU only." in done.stderr
    assert "note: Figures from built-in weights (sam/tiny, clip/tiny), which know drawings" in done.stderr
    assert "judged" not in done.stderr
    page = (tmp_path / "eval-critters" / "report.html").read_text()
    assert "Figures from built-in weights" in page and "clip/tiny (built-in weights)" in page


def test_the_papers_protocol(tmp_path: Path, tiny_models: list[str], models: Path) -> None:
    more = ["--clip", models / "taught.safetensors", "--judge", models / "few", "--protocol", "paper"]
    done = run_warm(*wanted(tiny_models, *more), cwd=tmp_path)
    assert done.code == 0, done.stderr
    trials = trials_of(tmp_path / "eval-critters")
    assert Counter((trial["model"], trial["swapped"]) for trial in trials) == {
        ("clip.safetensors", False): 8,
        ("taught.safetensors", False): 8,
        ("taught.safetensors", True): 8,
    }
    plain, swapped = (
        [t["chosen"]["score"] for t in trials if t["swapped"] is flag and t["model"] == "taught.safetensors"]
        for flag in (False, True)
    )
    assert plain != swapped
    told = results_of(tmp_path / "eval-critters")
    base, taught = told["paper"]["published"]
    assert (base["counted"], base["scored"], base["red_and_blue_swapped"]) == (8, 2, False)
    assert (taught["counted"], taught["scored"], taught["red_and_blue_swapped"]) == (8, 8, True)
    unknown = {trial["label"] for trial in trials} - set(NAMES[:100])
    assert (
        set(told["classes_unknown_to_the_judge"])
        == unknown
        == set(told["paper"]["prompts_without_such_a_label"])
    )
    for text in ("As published, and corrected, clip.safetensors: as published", "The same last tiles, "):
        assert text in done.stderr


def class_folders(folder: Path, classes: int, pictures: int = 5) -> None:
    rng = np.random.default_rng(0)
    for number in range(classes):
        (folder / f"<b>{number}").mkdir(parents=True)
        for index in range(pictures):
            pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(folder / f"<b>{number}" / f"{index}.png")


def test_folders_without_masks_and_odd_names(tmp_path: Path, tiny_models: list[str]) -> None:
    class_folders(tmp_path / "set", 4)
    (tmp_path / "set" / "<b>0" / "broken.png").write_bytes(b"\x89PNG")
    options = [*tiny_models, *QUICK, "--count", "3", "-o", "out"]
    done = run_warm("eval", "set", *options, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "note: 1 unreadable, left out; the first is '<b>0/broken.png'" in done.stderr
    trials = trials_of(tmp_path / "out")
    assert {trial["iou"] for trial in trials} == {None}
    told = results_of(tmp_path / "out")
    assert told["models"][0]["iou"] is None and told["models"][0]["reachable_tiles"]["trials"] == 12
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;1" in page
    WellFormed(page)
    assert told["run"]["pictures"] == 4

    every = run_warm("eval", "set", *options[:-1], "all", "--split", "all", cwd=tmp_path)
    assert every.code == 0, every.stderr
    assert results_of(tmp_path / "all")["run"]["pictures"] == 20
    assert "note: All pictures were used" in every.stderr


ROWS = {
    "no such data set": (["eval", "none"], 2, ("'none' does not exist", "critters")),
    "three classes": (["eval", "three", "--sam", "SAM", "--clip", "CLIP"], 2, ("4 classes", "of 3")),
    "no composites": (["eval", "critters", "--count", "0"], 2, ("--count",)),
    "output is a file": (
        ["eval", "critters", "--sam", "SAM", "--clip", "CLIP", "-o", "file"],
        2,
        ("'file' is a file",),
    ),
    "output holds something else": (
        ["eval", "critters", "--sam", "SAM", "--clip", "CLIP", "-o", "three"],
        2,
        ("'three' is not empty",),
    ),
    "no such CLIP": (["eval", "critters", "--clip", "runs/none"], 2, ("'runs/none'", "ViT-B-32/openai")),
    "a CLIP twice": (
        ["eval", "critters", "--sam", "SAM", "--clip", "CLIP", "--clip", "CLIP"],
        2,
        ("named twice",),
    ),
    "a judge as CLIP": (
        ["eval", "critters", "--sam", "SAM", "--clip", "JUDGE"],
        4,
        ("a resnet18 checkpoint", "--clip"),
    ),
    "a SAM as CLIP": (
        ["eval", "critters", "--sam", "SAM", "--clip", "SAM"],
        4,
        ("a sam checkpoint", "--clip"),
    ),
    "a CLIP as judge": (
        ["eval", "critters", "--sam", "SAM", "--judge", "CLIP"],
        4,
        ("a clip checkpoint", "--judge"),
    ),
    "a CLIP as SAM": (
        ["eval", "critters", "--sam", "CLIP", "--clip", "CLIP"],
        4,
        ("a clip checkpoint", "a sam"),
    ),
    "no such judge": (["eval", "critters", "--judge", "none"], 4, ("no judge at none", "slip judge")),
    "the paper's protocol without a judge": (["eval", "critters", "--protocol", "paper"], 2, ("--judge",)),
    "taught with another split": (
        ["eval", "critters", "--sam", "SAM", "--clip", "ELSEWHERE"],
        2,
        ("trained on critters with another split", "--validation 0.3 --split-seed 7"),
    ),
    "device that is not here": (
        ["eval", "critters", "--sam", "SAM", "--clip", "CLIP", "--device", "tpu"],
        2,
        ("tpu",),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_bad_input(
    row: tuple[list[str], int, tuple[str, ...]], tmp_path: Path, tiny_models: list[str], models: Path
) -> None:
    class_folders(tmp_path / "three", 3)
    (tmp_path / "file").touch()
    before = sorted(path for path in tmp_path.rglob("*"))
    stands = {
        "SAM": tiny_models[1],
        "CLIP": tiny_models[3],
        "JUDGE": str(models / "judge.safetensors"),
        "ELSEWHERE": str(models / "elsewhere.safetensors"),
    }
    arguments, code, says = row
    done = run_warm(*(stands.get(argument, argument) for argument in arguments), *QUICK, cwd=tmp_path)
    assert (done.code, done.stdout) == (code, b""), done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("slip: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert [word for word in says if word not in last] == [], last
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_a_split_that_fits_is_accepted(tmp_path: Path, tiny_models: list[str], models: Path) -> None:
    arguments = [
        "eval",
        "critters",
        *tiny_models[:2],
        *QUICK,
        "--clip",
        str(models / "elsewhere"),
        "--count",
        "1",
    ]
    done = run_warm(*arguments, "--validation", "0.3", "--split-seed", "7", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert results_of(tmp_path / "eval-critters")["run"]["split"] == {
        "side": "validation",
        "validation": 0.3,
        "seed": 7,
    }


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
sys.argv = ["slip", "eval", "--help"]
from slip.cli.app import main
try:
    main()
finally:
    print(*sorted({"torch", "cv2", "numpy", "open_clip"} & set(sys.modules)), file=sys.stderr)
"""
    done = run_python(code, cwd=tmp_path)
    assert (done.code, done.stderr.split()) == (0, [])
    assert "--protocol" in done.stdout.decode() and "--judge" in done.stdout.decode()

"""``slip eval --method``: methods on a small set of parts, with networks that have random weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cli.runner import COMMAND, Run, run, run_warm
from cli.tiny_models import CLIP
from data.parts.sets_of_parts import SIZE, annotation, image, save_annotations, square
from data.sets_on_disk import drawing, save

from slip.data.parts import open_parts
from slip.masks import decode_rle
from slip.models.checkpoint import save_checkpoint
from slip.models.clip import build_clip
from slip.models.cris.config import CrisConfig
from slip.models.cris.network import Cris
from slip.models.maskrcnn import MaskRcnnConfig, build_maskrcnn

QUICK = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
FILES = ["run.json", "answers.jsonl", "seconds.jsonl", "results.json", "report.html"]
PICTURES = {"train": 3, "validation": 2, "test": 4}
TRIPLES = {"train": 4, "validation": 3, "test": 6}
SMALL = CrisConfig(
    {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    },
    image_size=64,
    width=16,
    layers=1,
    heads=2,
    hidden=16,
)


def save_birds(root: Path, sides: dict[str, int] = PICTURES) -> Path:
    """Pictures of birds: a wing in each, a head in every other one."""
    for place, (side, count) in enumerate(sides.items()):
        images, annotations = [], []
        for number in range(count):
            save(root / side / f"{number}.png", drawing(10 * place + number))
            images.append(image(number, f"{number}.png", SIZE))
            annotations.append(annotation(len(annotations), number, 1, [square(4, 4 + number, 20)]))
            if number % 2:
                annotations.append(annotation(len(annotations), number, 2, [square(30, 20)]))
        save_annotations(root / side / "annotations.json", images, annotations)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_models: list[str]) -> Path:
    """A folder with the set ``birds`` and, as networks, ``cris``, ``taught`` on it and ``changed`` since."""
    folder = tmp_path_factory.mktemp("refer")
    digest = open_parts(str(save_birds(folder / "birds"))).digest
    torch.manual_seed(0)
    note = {"data": "birds", "method": "cris", "parts": ["bird head", "bird wing"]}
    for name, training in (
        ("cris", None),
        ("taught", {**note, "digest": digest}),
        ("changed", {**note, "digest": "0" * 64}),
        ("begun", {**note, "data": "other", "digest": "1", "before": {**note, "digest": "0" * 64}}),
    ):
        save_checkpoint(
            folder / f"{name}.safetensors", "cris", SMALL.to_json(), Cris(SMALL).state_dict(), training
        )
    save_checkpoint(folder / "clip.safetensors", "clip", CLIP, build_clip(CLIP).state_dict())
    cars = MaskRcnnConfig("small", 64, 64, ("car tire",), ("tire",))
    network = build_maskrcnn(cars)
    save_checkpoint(folder / "cars.safetensors", "maskrcnn", cars.to_json(), network.state_dict())
    return folder


def evaluate(
    place: Path, out: Path, *more: str, sam: str | None = None, begin: Callable[..., Run] = run_warm
) -> Run:
    searched = ["--sam", sam, "--preset", "tiny", *QUICK] if sam else []
    return begin("eval", "birds", *searched, *more, "-o", out, cwd=place)


def answers_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def results_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "results.json").read_text())


def test_methods_side_by_side(place: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    methods = ["cris=cris", "slip=clip", "slip-best=clip.safetensors", "cris=taught.safetensors"]
    given = [word for method in methods for word in ("--method", method)]
    out = tmp_path / "out"
    done = evaluate(place, out, *given, sam=tiny_models[1], begin=run)
    assert done.code == 0, done.stderr
    assert done.lines == [str(out / name) for name in FILES]
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"slip: {4 * TRIPLES['test']} answers, ")
    names = ["cris cris", "slip clip", "slip-best clip", "cris taught"]
    for measure in ("mean IoU", "overall IoU", "mean IoU over parts", "Precision@0.9", "seconds a picture"):
        [line] = [line for line in done.stderr.splitlines() if f"Figures, {measure}: " in line]
        assert [name for name in names if f"{name} " not in line] == [], line
    assert "note: Upper bounds, not methods: slip-best clip." in done.stderr
    assert "note: Trained by slip finetune: cris taught on birds." in done.stderr

    answers = answers_of(out)
    assert [one["method"] for one in answers[:4]] == names
    assert {one["expression"] for one in answers} == {"bird head", "bird wing"}
    for one in answers:
        assert 0 <= one["iou"] < 1 and one["found"] is (one["rle"] is not None)
        assert one["iou"] == pytest.approx(one["intersection"] / one["union"], abs=1e-6)
        if one["found"]:
            assert decode_rle(one["rle"]).shape == SIZE
    bound, chosen = (
        [one["iou"] for one in answers if one["method"] == f"{kind} clip"] for kind in ("slip-best", "slip")
    )
    assert all(best >= own for best, own in zip(bound, chosen, strict=True))

    told = results_of(out)
    assert told["run"] == json.loads((out / "run.json").read_text())
    assert (told["run"]["side"], told["triples"], told["pictures"]) == ("test", TRIPLES["test"], 4)
    assert [one["method"] for one in told["methods"]] == names
    assert [one["upper_bound"] for one in told["methods"]] == [False, False, True, False]
    assert [one["taught"] for one in told["run"]["methods"]] == [[], [], [], ["train"]]
    assert len(told["differences"]) == 12
    assert "<h2>Precision@X</h2>" in (out / "report.html").read_text()


def test_mask_rcnn_and_its_bound(place: Path, tmp_path: Path) -> None:
    """One that knows other parts answers nothing and says so once; its bound is of whatever it finds."""
    done = evaluate(place, tmp_path / "out", "--method", "maskrcnn=cars", "--method", "maskrcnn-best=cars")
    assert done.code == 0, done.stderr
    answers = {name: [] for name in ("maskrcnn cars", "maskrcnn-best cars")}
    for one in answers_of(tmp_path / "out"):
        answers[one["method"]].append(one)
    assert {one["found"] for one in answers["maskrcnn cars"]} == {False}
    assert all(0 < one["segments"] <= 100 and one["found"] for one in answers["maskrcnn-best cars"])
    for part in ("bird wing", "bird head"):
        assert done.stderr.count(f"cars.safetensors knows no part called '{part}'") == 1
    rows = [line for line in done.stderr.splitlines() if "Figures, no answer" in line]
    assert rows == [
        "slip: Figures, no answer: maskrcnn cars 6 of 6; maskrcnn-best cars (upper bound) 0 of 6",
    ]


def test_the_order_of_methods_changes_no_figure(place: Path, tmp_path: Path) -> None:
    told = []
    for names in (("cris", "taught"), ("taught", "cris")):
        given = [word for name in names for word in ("--method", f"cris={name}")]
        done = evaluate(place, tmp_path / names[0], *given)
        assert done.code == 0, done.stderr
        told.append({one["method"]: one for one in results_of(tmp_path / names[0])["methods"]})
    assert told[0] == told[1]


def test_killed_and_run_again(place: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    """SIGKILL in the middle: the same command goes on, and ends with what an unbroken run finds."""
    given = ["--method", "slip=clip", "--method", "cris=cris", "--split", "all"]
    unbroken = evaluate(place, tmp_path / "whole", *given, sam=tiny_models[1])
    assert unbroken.code == 0, unbroken.stderr
    searched = ["--sam", tiny_models[1], "--preset", "tiny", *QUICK]
    process = subprocess.Popen(
        [str(COMMAND), "eval", "birds", *searched, *given, "-o", str(tmp_path / "broken")],
        cwd=place,
        env={**os.environ, "SLIP_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = tmp_path / "broken" / "answers.jsonl"
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        if path.exists() and path.read_bytes().count(b"\n") >= 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL
    kept = path.read_bytes()
    assert 3 <= kept.count(b"\n") < 2 * sum(TRIPLES.values())
    again = evaluate(place, tmp_path / "broken", *given, sam=tiny_models[1])
    assert again.code == 0, again.stderr
    for name in ("run.json", "answers.jsonl", "results.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def interrupt_later() -> None:
    """Ctrl-C at the second picture."""
    from slip.models.cris.segmenter import CrisSegmenter

    signal.signal(signal.SIGINT, signal.default_int_handler)
    answer, seen = CrisSegmenter.segment_each, []

    def segment_each(self, image, prompts):
        seen.append(image)
        if len(seen) > 1:
            os.kill(os.getpid(), signal.SIGINT)
        return answer(self, image, prompts)

    CrisSegmenter.segment_each = segment_each


def test_interrupted_and_run_again(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_warm("eval", "birds", "--method", "cris=cris", "-o", out, cwd=place, prepare=interrupt_later)
    assert (done.code, done.stdout) == (130, b"")
    assert done.stderr.splitlines() == [
        f"slip: 1 answers are kept in {str(out)!r}; the same command goes on",
        "slip: interrupted",
    ]
    assert evaluate(place, out, "--method", "cris=cris").code == 0
    assert len(answers_of(out)) == TRIPLES["test"]


@pytest.mark.parametrize("side", ["test", "validation", "train", "all"])
def test_sides(place: Path, tmp_path: Path, side: str) -> None:
    done = evaluate(place, tmp_path / "out", "--method", "cris=taught", "--split", side)
    assert done.code == 0, done.stderr
    told = results_of(tmp_path / "out")
    expected = sum(TRIPLES.values()) if side == "all" else TRIPLES[side]
    assert (told["run"]["side"], told["triples"]) == (side, expected)
    assert ("note: Trained on pictures it is measured with here: cris taught." in done.stderr) is (
        side in ("train", "all")
    )
    assert ("note: The validation pictures chose the epoch of cris taught" in done.stderr) is (
        side == "validation"
    )


def test_a_set_without_a_test_side(tmp_path: Path, place: Path) -> None:
    save_birds(tmp_path / "birds", {"train": 3, "validation": 2})
    (tmp_path / "cris.safetensors").symlink_to(place / "cris.safetensors")
    done = run_warm("eval", "birds", "--method", "cris=cris", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.lines == [f"eval-birds/{name}" for name in FILES]
    assert results_of(tmp_path / "eval-birds")["run"]["side"] == "validation"
    none = run_warm("eval", "birds", "--method", "cris=cris", "--split", "test", "-o", "o", cwd=tmp_path)
    assert (none.code, none.stderr) == (
        2,
        "slip: error: birds has no pictures for --split test; choose train, validation\n",
    )
    assert not (tmp_path / "o").exists()


def test_measured_knowingly_on_another_state(place: Path, tmp_path: Path) -> None:
    done = evaluate(place, tmp_path / "out", "--method", "cris=changed", "--split", "all")
    assert done.code == 0, done.stderr
    assert "note: Trained on pictures it is measured with here: cris changed." in done.stderr


def test_faults_are_told_and_left_out(tmp_path: Path, place: Path) -> None:
    save_birds(tmp_path / "birds")
    (tmp_path / "birds" / "test" / "3.png").write_bytes(b"\x89PNG")
    done = run_warm("eval", "birds", "--method", f"cris={place / 'cris'}", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "note: 1 faults in the set, left out: " in done.stderr and "slip data" in done.stderr
    assert results_of(tmp_path / "eval-birds")["pictures"] == 3


def remove_a_picture() -> None:
    """A picture that is read at the beginning and gone when it is asked for."""
    from slip.data.parts.files import CocoParts

    load = CocoParts.load

    def gone(self, picture):
        if picture.name.endswith("0.png"):
            Path("birds", "test", "0.png").unlink(missing_ok=True)
        return load(self, picture)

    CocoParts.load = gone


def test_a_failure_does_not_stand_in_the_way(tmp_path: Path, place: Path) -> None:
    save_birds(tmp_path / "birds")
    wanted = ("eval", "birds", "--method", f"cris={place / 'cris'}")
    done = run_warm(*wanted, cwd=tmp_path, prepare=remove_a_picture)
    assert (done.code, done.stdout) == (3, b"") and "0.png" in done.stderr.splitlines()[-1]
    again = run_warm(*wanted, cwd=tmp_path)  # the set is another one now
    assert again.code == 0, again.stderr


def test_another_configuration_is_refused(place: Path, tmp_path: Path) -> None:
    assert evaluate(place, tmp_path / "out", "--method", "cris=cris").code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for change, says in (
        (["--method", "cris=cris", "--split", "train"], "side test, not train"),
        (["--method", "cris=taught"], "methods ["),
        (["--method", "cris=cris", "--method", "cris=taught"], "methods ["),
    ):
        done = evaluate(place, tmp_path / "out", *change)
        assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "holds an evaluation with" in done.stderr and says in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_two_of_a_name_are_told_apart(place: Path, tmp_path: Path) -> None:
    (tmp_path / "cris.safetensors").symlink_to(place / "taught.safetensors")
    other = tmp_path / "cris"
    done = evaluate(place, tmp_path / "out", "--method", "cris=cris", "--method", f"cris={other}")
    assert done.code == 0, done.stderr
    assert [one["method"] for one in results_of(tmp_path / "out")["methods"]] == [
        "cris cris",
        f"cris {other}",
    ]


CRIS = ["--method", "cris=cris"]
ROWS = {
    "a set of parts without a method": (["birds"], 2, ("'birds' is a set of parts", "--method")),
    "critters-parts without a method": (["critters-parts"], 2, ("set of parts", "--method slip")),
    "a method on class folders": (["classes", *CRIS], 2, ("'classes'",)),
    "a method on nothing": (["nothing", *CRIS], 2, ("'nothing' does not exist",)),
    "an unknown method": (["birds", "--method", "dino"], 2, ("'dino' is not known", "cris", "slip-best")),
    "a network without weights": (["birds", "--method", "cris"], 2, ("needs weights", "cris=NAME")),
    "weights that are not there": (["birds", "--method", "cris=none"], 4, ("no weights at none",)),
    "a CLIP as CRIS": (["birds", "--method", "cris=clip"], 4, ("a clip checkpoint", "cris")),
    "a CRIS as Mask R-CNN": (
        ["birds", "--method", "maskrcnn-best=cris"],
        4,
        ("a cris checkpoint", "maskrcnn"),
    ),
    "a CRIS as CLIP": (["birds", "--method", "slip=cris", "--preset", "tiny"], 4, ("a cris checkpoint",)),
    "no such CLIP": (["birds", "--method", "slip=none"], 2, ("CLIP 'none'",)),
    "a method twice": (["birds", *CRIS, "--method", "cris=cris.safetensors"], 2, ("named twice",)),
    "another state of the set": (["birds", "--method", "cris=changed"], 2, ("another state of birds",)),
    "begun with another state": (["birds", "--method", "cris=begun"], 2, ("another state of birds",)),
    "composites": (["birds", *CRIS, "--count", "3"], 2, ("--count is for composites", "leave it out")),
    "a seed": (["birds", *CRIS, "--seed", "3"], 2, ("--seed is for composites",)),
    "a judge": (["birds", *CRIS, "--judge", "j"], 2, ("--judge is for composites",)),
    "a protocol": (["birds", *CRIS, "--protocol", "paper"], 2, ("--protocol is for composites",)),
    "a CLIP beside methods": (["birds", *CRIS, "--clip", "tiny"], 2, ("--clip is for composites",)),
    "a way of asking": (["birds", *CRIS, "--ask", "caption"], 2, ("--ask is for composites",)),
    "a SAM without SLIP": (["birds", *CRIS, "--sam", "tiny"], 2, ("--sam goes with --method slip",)),
    "a view without SLIP": (["birds", *CRIS, "--view", "raw"], 2, ("--view goes with --method slip",)),
    "a side of class folders": (["classes", "--split", "test"], 2, ("--split test is for sets of parts",)),
    "output is a file": (["birds", *CRIS, "-o", "cris.safetensors"], 2, ("is a file",)),
    "output holds something else": (["birds", *CRIS, "-o", "birds"], 2, ("'birds' is not empty",)),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_misuse(row: tuple[list[str], int, tuple[str, ...]], place: Path) -> None:
    save(place / "classes" / "cat" / "0.png", drawing(1))
    before = sorted(place.rglob("*"))
    arguments, code, says = row
    done = run_warm("eval", *arguments, cwd=place)
    assert (done.code, done.stdout) == (code, b""), done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("slip: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert [word for word in says if word not in last] == [], last
    assert sorted(place.rglob("*")) == before


def test_built_in_weights_are_told(place: Path, tmp_path: Path) -> None:
    quick = ["--preset", "tiny", "--points-per-side", "4", "--split", "validation"]
    done = evaluate(place, tmp_path / "out", "--method", "slip", *quick)
    assert done.code == 0, done.stderr
    assert "note: Figures from built-in weights (sam/tiny, slip tiny), which know drawings" in done.stderr
    assert "Which method is better" not in done.stderr

"""The store: what is put comes back or does not, and nothing else ever does."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from time import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from slip.cache import ABANDONED, KEPT, LIMIT, MARK, PART, ROUNDS, Cache, Held
from slip.errors import OutputError, UsageError

BOOLS_AND_NUMBERS = st.sampled_from([np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64])
SMALL = {"features": np.arange(6, dtype=np.float32).reshape(2, 3)}


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def noise(size: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"noise": np.random.default_rng(seed).integers(0, 256, size, np.uint8)}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def stored(cache: Cache) -> Path:
    """Where the only entry is, after it was put there."""
    cache.put("crops", key_of(0), SMALL)
    (path,) = files(cache.folder)
    return path


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda name: name != "__metadata__"),
        BOOLS_AND_NUMBERS.flatmap(
            lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))
        ),
        max_size=4,
    )
)
def test_arrays_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, given: dict) -> None:
    cache = Cache(tmp_path_factory.getbasetemp() / "any arrays")
    cache.put("segments", key_of(1), given)
    held = cache.get("segments", key_of(1))
    assert held is not None and held.keys() == given.keys()
    for name, array in given.items():
        assert (held[name].dtype, held[name].shape) == (array.dtype, array.shape)
        assert held[name].tobytes() == array.tobytes()


def test_arrays_of_any_layout_come_back(cache: Cache) -> None:
    whole = np.arange(24, dtype=np.int32).reshape(4, 6)
    cache.put("crops", key_of(0), {"turned": whole.T, "every other": whole[::2, ::-1]})
    held = cache.get("crops", key_of(0))
    assert held is not None
    np.testing.assert_array_equal(held["turned"], whole.T)
    np.testing.assert_array_equal(held["every other"], whole[::2, ::-1])


def test_kinds_and_keys_are_apart(cache: Cache) -> None:
    cache.put("crops", key_of(0), SMALL)
    assert cache.get("texts", key_of(0)) is None
    assert cache.get("crops", key_of(1)) is None
    assert cache.get("crops", key_of(0)) is not None


def test_the_latest_counts(cache: Cache) -> None:
    for seed in (1, 2):
        cache.put("texts", key_of(0), noise(50, seed))
    held = cache.get("texts", key_of(0))
    assert held is not None and np.array_equal(held["noise"], noise(50, 2)["noise"])
    assert len(files(cache.folder)) == 1


def test_masks_are_packed_and_features_are_not(cache: Cache) -> None:
    cache.put("segments", key_of(0), {"mask": np.zeros(100_000, bool)})
    assert size(cache.folder) < 1000
    cache.put("crops", key_of(0), noise(100_000))
    assert size(cache.folder) > 100_000


def test_nothing_is_made_until_something_is_put(cache: Cache) -> None:
    assert cache.get("segments", key_of(0)) is None
    assert set(cache.info().values()) == {Held(0, 0)} and cache.clear() == Held(0, 0)
    cache.sweep()
    assert not cache.folder.exists()


@pytest.mark.parametrize("array", [SMALL, {"mask": np.zeros(500, bool)}], ids=["plain", "packed"])
def test_a_change_of_any_byte_is_noticed(cache: Cache, array: dict[str, np.ndarray]) -> None:
    cache.put("crops", key_of(0), array)
    (path,) = files(cache.folder)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for flip in (1, 0xFF):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            assert cache.get("crops", key_of(0)) is None, place
            assert not path.exists()
    path.write_bytes(whole)
    assert cache.get("crops", key_of(0)) is not None


def test_a_part_and_too_much_are_noticed(cache: Cache) -> None:
    path = stored(cache)
    whole = path.read_bytes()
    for wrong in (*(whole[:length] for length in range(len(whole))), whole + b"\0", whole + whole):
        path.write_bytes(wrong)
        assert cache.get("crops", key_of(0)) is None
        assert not path.exists()


def test_an_entry_under_another_name_is_noticed(cache: Cache) -> None:
    path = stored(cache)
    other = cache.folder / "crops" / key_of(1)[:2] / key_of(1)
    other.parent.mkdir()
    path.rename(other)
    assert cache.get("crops", key_of(1)) is None
    assert files(cache.folder) == []


@pytest.mark.parametrize("how", [b"p", b"z"])
def test_what_is_no_entry_in_spite_of_its_digest(cache: Cache, how: bytes) -> None:
    path, body = stored(cache), b"neither safetensors nor deflated"
    name = f"crops/{key_of(0)}".encode()
    path.write_bytes(MARK + how + hashlib.sha256(b"\0".join((name, how, body))).digest() + body)
    assert cache.get("crops", key_of(0)) is None
    assert not path.exists()


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=14_000)
    for number in range(10):
        cache.put("crops", key_of(number), noise(1000))
        path = tmp_path / "crops" / key_of(number)[:2] / key_of(number)
        os.utime(path, (number, number))
    assert len(files(tmp_path)) == 10
    assert cache.get("crops", key_of(2)) is not None
    Cache(tmp_path, limit=4 * 1400).sweep()
    left = [number for number in range(10) if cache.get("crops", key_of(number)) is not None]
    assert left == [2, 7, 8, 9]


@pytest.mark.parametrize("share", [300, 50, 3])
def test_the_limit_holds_and_the_rest_is_seldom_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    sweeps = []
    sweep = Cache.sweep
    monkeypatch.setattr(Cache, "sweep", lambda cache: (sweeps.append(cache), sweep(cache)))
    entry = 2000
    cache = Cache(tmp_path, limit=entry * share)
    puts = 3 * share + 10
    for number in range(puts):
        cache.put("crops", key_of(number), noise(entry - 150, number))
        assert number % 97 or size(tmp_path) <= cache.limit
    assert cache.limit * (KEPT - 2 / ROUNDS) - entry < size(tmp_path) <= cache.limit
    assert len(sweeps) == puts if share <= ROUNDS else len(sweeps) < 2 * puts * ROUNDS / share
    assert cache.get("crops", key_of(puts - 1)) is not None


def test_what_would_push_out_all_else_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=10_000)
    cache.put("crops", key_of(0), noise(1000))
    cache.put("crops", key_of(1), noise(10_000))
    assert cache.get("crops", key_of(0)) is not None and cache.get("crops", key_of(1)) is None


def test_switched_off_it_is_as_good_as_not_there(tmp_path: Path) -> None:
    stored(Cache(tmp_path))
    off = Cache(tmp_path, limit=0)
    off.put("crops", key_of(1), SMALL)
    assert off.get("crops", key_of(0)) is None and len(files(tmp_path)) == 1


def test_info_and_clear(cache: Cache) -> None:
    cache.put("segments", key_of(0), noise(100))
    cache.put("texts", key_of(0), noise(200))
    cache.put("texts", key_of(1), noise(300))
    (cache.folder / "texts" / f"left{PART}").write_bytes(b"1234")
    total = size(cache.folder)
    held = cache.info()
    assert {kind: each.entries for kind, each in held.items() if each.entries} == {"segments": 1, "texts": 2}
    assert sum(each.bytes for each in held.values()) == total
    assert cache.clear() == Held(3, total)
    assert files(cache.folder) == []


def test_clear_says_what_it_cannot_remove(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(cache)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match=f"cannot remove '{path}': Permission denied; remove it by hand"):
        cache.clear()


def test_leftovers_of_crashed_writers_go_and_work_in_progress_stays(cache: Cache) -> None:
    folder = stored(cache).parent
    old, young = folder / f"old{PART}", folder / f"young{PART}"
    for path in (old, young):
        path.write_bytes(b"half of it")
    os.utime(old, (time() - ABANDONED - 1,) * 2)
    cache.sweep()
    assert not old.exists() and young.exists()


def test_a_folder_that_cannot_be_made_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file" / "cache")
    cache.put("crops", key_of(0), SMALL)
    assert cache.get("crops", key_of(0)) is None
    assert cache.info()["crops"] == Held(0, 0) and cache.clear() == Held(0, 0)


def test_a_folder_where_the_entry_belongs_is_no_obstacle(cache: Cache) -> None:
    path = stored(cache)
    path.unlink()
    (path / "inside").mkdir(parents=True)
    cache.put("crops", key_of(0), SMALL)
    assert cache.get("crops", key_of(0)) is None
    assert files(cache.folder) == []


RUNS_FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from slip.cache import Cache
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
cache = Cache(Path(sys.argv[1]))
cache.put("crops", "ab" * 32, {"noise": np.random.default_rng(0).integers(0, 256, 5000, np.uint8)})
print(cache.get("crops", "ab" * 32))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_a_disk_that_runs_full_is_no_obstacle(tmp_path: Path) -> None:
    told = subprocess.run([sys.executable, "-c", RUNS_FULL, tmp_path], capture_output=True, text=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, "None\n", "")
    assert files(tmp_path) == []


WORKS = """
import sys
from pathlib import Path
import numpy as np
from slip.cache import Cache
cache, seed = Cache(Path(sys.argv[1]), limit=60_000), int(sys.argv[2])
def content(number):
    return np.random.default_rng(number).integers(0, 256, 4000 + 100 * number, np.uint8)
random, found = np.random.default_rng(100 + seed), 0
for _ in range(400):
    number = int(random.integers(20))
    held = cache.get("crops", f"{number:02x}" * 32)
    if held is None:
        cache.put("crops", f"{number:02x}" * 32, {"noise": content(number)})
    else:
        found += 1
        assert np.array_equal(held["noise"], content(number)), number
print(found)
"""


def test_processes_at_once_find_only_what_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKS, str(tmp_path)]
    workers = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in range(4)
    ]
    for worker in workers:
        stdout, stderr = worker.communicate(timeout=100)
        assert (worker.returncode, stderr) == (0, "")
        assert int(stdout) > 50
    assert not list(tmp_path.rglob(f"*{PART}"))
    assert size(tmp_path) <= 60_000


DIES = """
import os, signal, sys
from pathlib import Path
import numpy as np
from slip.cache import Cache
def die(path, *rest):
    if sys.argv[2] == "write_bytes":
        with path.open("wb") as file:
            file.write(rest[0][: len(rest[0]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
cache = Cache(Path(sys.argv[1]))
setattr(Path, sys.argv[2], die)
cache.put("crops", sys.argv[3], {"new": np.arange(1000)})
"""


@pytest.mark.skipif(os.name != "posix", reason="a kill that nobody can catch")
@pytest.mark.parametrize("moment", ["write_bytes", "replace"])
def test_a_writer_that_is_killed_leaves_all_as_it_was(cache: Cache, moment: str) -> None:
    path = stored(cache)
    for number in (0, 1):
        command = [sys.executable, "-c", DIES, str(cache.folder), moment, key_of(number)]
        assert subprocess.run(command, check=False).returncode == -9
    held = cache.get("crops", key_of(0))
    assert held is not None and held.keys() == SMALL.keys()
    assert cache.get("crops", key_of(1)) is None
    left = files(cache.folder)
    assert len(left) == 3 and [each for each in left if each.suffix != PART] == [path]
    for leftover in cache.folder.rglob(f"*{PART}"):
        os.utime(leftover, (1, 1))
    cache.sweep()
    assert files(cache.folder) == [path]


@pytest.mark.parametrize(
    ("told", "limit"),
    [
        ("", LIMIT),
        ("0", 0),
        ("0GB", 0),
        ("500MB", 500_000_000),
        ("2GB", 2_000_000_000),
        (" 1.5 gb ", 1_500_000_000),
        ("12kb", 12_000),
        ("1TB", 10**12),
        ("123", 123),
        ("7B", 7),
    ],
)
def test_the_limit_is_told_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, limit: int
) -> None:
    monkeypatch.setenv("SLIP_HOME", str(tmp_path))
    monkeypatch.setenv("SLIP_CACHE_SIZE", told)
    assert Cache.open() == Cache(tmp_path / "cache", limit)


@pytest.mark.parametrize(
    "told", ["many", "-1", "1 PB", "GB", "1e9", "1,5GB", "٣GB", "2GBs", "inf", "nan", "9" * 400]
)
def test_a_limit_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("SLIP_CACHE_SIZE", told)
    with pytest.raises(UsageError, match="SLIP_CACHE_SIZE cannot be .*; write a size such as 500MB"):
        Cache.open()


def test_without_slip_home_it_is_in_the_cache_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIP_HOME", raising=False)
    monkeypatch.delenv("SLIP_CACHE_SIZE", raising=False)
    folder = Cache.open().folder
    assert folder.name == "cache" and "slip" in folder.parts and folder.is_absolute()

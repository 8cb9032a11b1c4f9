from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slip import weights
from slip.errors import UsageError, WeightsError

CONTENT = bytes(range(256)) * 8192  # 2 MiB: two chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server does, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    tell_range: bool = True
    tell_length: bool = True
    stop_after: int | None = None
    status: int = 200
    go: threading.Event = field(default_factory=threading.Event)
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def site():
    told = Site()
    told.go.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            told.asked.append(asked)
            told.go.wait(60)
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and told.ranges else 0
            if told.status != 200:
                return self.send_error(told.status)
            if start >= len(told.content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            if start and told.tell_range:
                total = len(told.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if told.tell_length:
                self.send_header("Content-Length", str(len(told.content) - start))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(told.content[start:][: told.stop_after])
            return None

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}/model.pth"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield told
        told.go.set()
        server.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIP_HOME", str(tmp_path))
    monkeypatch.delenv("SLIP_OFFLINE", raising=False)
    return tmp_path / "weights"


@pytest.fixture
def entry(site):
    return weights.Entry("sam/toy", "model.pth", len(CONTENT), SHA256, "MIT", site.url)


def part_of(entry):
    path = weights.path_of(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.part")


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


# The catalogue


def test_catalogue_holds_what_the_presets_need():
    entries = weights.catalogue()
    assert {"sam/vit_b", "sam/vit_h", "clip/ViT-B-32/openai", "clip/ViT-L-14/openai"} <= entries.keys()
    assert len({entry.file for entry in entries.values()}) == len(entries) == 15
    assert entries["sam/vit_b"].bytes == 375_042_383
    assert entries["clip/ViT-B-32/laion2b_s34b_b79k"].bytes is None
    openai = [entry for name, entry in entries.items() if name.endswith("/openai")]
    assert len(openai) == 5 and all(entry.sha256 in entry.url for entry in openai)


LINE = f"sam/toy model.pth 12 {SHA256} MIT https://example.org/model.pth"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sam/toy model.pth", r"line 1: expected 6 fields .*, found 2"),
        (f"# head\n\n{LINE} more", r"line 3: expected 6 fields .*, found 7"),
        (LINE.replace(" 12 ", " 12MB "), r"line 1: bytes cannot be '12MB'"),
        (LINE.replace(" 12 ", " 0 "), r"line 1: bytes cannot be '0'"),
        (LINE.replace(SHA256, SHA256[1:]), r"line 1: sha256 cannot be"),
        (LINE.replace(SHA256, SHA256.upper()), r"line 1: sha256 cannot be"),
        (LINE.replace("model.pth 12", "../model.pth 12"), r"line 1: file cannot be '../model.pth'"),
        (LINE.replace("https:", "file:"), r"line 1: url cannot be"),
        (f"{LINE}\n{LINE}", r"line 2: the name sam/toy or the file model.pth appears twice"),
        (f"{LINE}\n{LINE.replace('sam/toy', 'sam/two')}", r"line 2: .* appears twice"),
    ],
)
def test_parse_names_the_bad_line(text, message):
    with pytest.raises(WeightsError, match=message):
        weights.parse(text)


def test_parse_skips_comments_and_reads_unknown_sizes():
    entries = weights.parse(f"# comment\n\n{LINE.replace(' 12 ', ' - ')}  # why\n")
    assert list(entries) == ["sam/toy"] and entries["sam/toy"].bytes is None


def test_cache_is_in_slip_home_else_where_the_platform_keeps_it(tmp_path, monkeypatch):
    assert weights.cache_dir() == tmp_path / "weights"
    monkeypatch.delenv("SLIP_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights.cache_dir().name == "weights" and "slip" in weights.cache_dir().parts


def test_ensure_suggests_names():
    with pytest.raises(UsageError, match=r"no weights are called 'sam/vit_x'; try .*sam/vit_b"):
        weights.ensure("sam/vit_x")


def test_a_home_of_nobody_is_refused(monkeypatch):
    monkeypatch.setenv("SLIP_HOME", "~nobody-of-this-name")
    with pytest.raises(UsageError, match="SLIP_HOME '~nobody-of-this-name' names no user's home"):
        weights.cache_dir()


def test_a_published_file_is_known_by_its_content(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "catalogue", lambda: {entry.name: entry})
    path = tmp_path / "any.name"
    path.write_bytes(CONTENT)
    assert weights.published(path) == entry
    path.write_bytes(CONTENT[:-1])
    assert weights.published(path) is None
    with pytest.raises(WeightsError, match="cannot read"):
        weights.published(tmp_path)


def test_weights_need_no_torch():
    code = "import sys, slip.weights as w; w.catalogue(); assert not {'torch', 'cv2'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


# Fetching


def test_fetch_saves_verifies_and_tells_progress(entry, home, site):
    seen = []
    path = weights.fetch(entry, lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert names(home) == ["model.pth", "model.pth.ok"]
    done = [step[1] for step in seen if step[0] == "fetch sam/toy"]
    assert done == sorted(done) and done[-1] == len(CONTENT)
    assert all(total == len(CONTENT) for _, _, total in seen)
    weights.fetch(entry)
    assert site.asked == [None]


def test_fetch_without_a_known_size(entry, site):
    site.tell_length = False
    unsized = weights.Entry("sam/toy", "model.pth", None, SHA256, "MIT", site.url)
    assert weights.fetch(unsized).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("have", "ranges", "tell_range", "asked"),
    [
        (100_000, True, True, ["bytes=100000-"]),
        (100_000, False, True, ["bytes=100000-"]),
        (100_000, True, False, ["bytes=100000-", None]),
        (len(CONTENT) + 5, True, True, [f"bytes={len(CONTENT) + 5}-", None]),
        (len(CONTENT), True, True, []),
    ],
)
def test_fetch_resumes(entry, site, have, ranges, tell_range, asked):
    site.ranges, site.tell_range = ranges, tell_range
    part_of(entry).write_bytes((CONTENT + bytes(5))[:have])
    assert weights.fetch(entry).read_bytes() == CONTENT
    assert site.asked == asked


def test_a_server_with_another_size_is_refused_before_the_download(entry, home, site):
    site.content = CONTENT + b"more"
    part_of(entry).write_bytes(CONTENT[:1000])
    with pytest.raises(WeightsError, match=r"the server offers 2,097,156 bytes, expected 2,097,152"):
        weights.fetch(entry)
    assert site.asked == ["bytes=1000-", None]
    assert not weights.path_of(entry).exists()


def test_a_truncated_download_is_kept_and_goes_on(entry, home, site):
    site.stop_after = 1_500_000
    with pytest.raises(WeightsError, match=r"ended after 1,500,000 of 2,097,152 bytes; run again"):
        weights.fetch(entry)
    assert names(home) == ["model.pth.part"]
    site.stop_after = None
    assert weights.fetch(entry).read_bytes() == CONTENT
    assert site.asked == [None, "bytes=1500000-"]


def test_wrong_content_leaves_nothing_behind(entry, home, site):
    site.content = bytes(len(CONTENT))
    with pytest.raises(WeightsError, match=r"the server sent another file"):
        weights.fetch(entry)
    assert names(home) == []


def test_a_wrong_part_is_not_finished_into_a_file(entry, home):
    part_of(entry).write_bytes(bytes(1000))
    with pytest.raises(WeightsError, match=r"another file"):
        weights.fetch(entry)
    assert names(home) == []
    assert weights.fetch(entry).read_bytes() == CONTENT


def check_help(error, entry):
    message = str(error.value)
    assert "\n" not in message and error.value.exit_code == 4
    for part in ("sam/toy", entry.url, str(weights.path_of(entry)), "--preset tiny"):
        assert part in message


@pytest.mark.parametrize("status", [403, 404, 500])
def test_http_errors_say_what_to_do(entry, site, status):
    site.status = status
    with pytest.raises(WeightsError, match=f"HTTP {status}") as error:
        weights.fetch(entry)
    check_help(error, entry)


def test_no_server_says_what_to_do(entry):
    entry = weights.Entry("sam/toy", "model.pth", None, SHA256, "MIT", "http://127.0.0.1:1/model.pth")
    with pytest.raises(WeightsError, match="refused") as error:
        weights.fetch(entry)
    check_help(error, entry)


def test_a_silent_server_times_out(entry, site, monkeypatch):
    site.go.clear()
    monkeypatch.setattr(weights, "TIMEOUT", 0.05)
    with pytest.raises(WeightsError, match="timed out") as error:
        weights.fetch(entry)
    check_help(error, entry)


def test_offline_never_asks(entry, home, site, monkeypatch):
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    with pytest.raises(WeightsError, match="SLIP_OFFLINE") as error:
        weights.fetch(entry)
    check_help(error, entry)
    assert site.asked == [] and not home.exists()


def test_offline_uses_what_is_there(entry, home, monkeypatch):
    weights.fetch(entry)
    monkeypatch.setenv("SLIP_OFFLINE", "1")
    assert weights.fetch(entry) == weights.path_of(entry)


def test_an_unwritable_cache_is_one_line(entry, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SLIP_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot write sam/toy to .*SLIP_HOME"):
        weights.fetch(entry)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(entry):
    part_of(entry).symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"No space left on device; make room"):
        weights.fetch(entry)


def test_an_interrupt_keeps_the_part(entry, home):
    def interrupt(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(entry, interrupt)
    assert names(home) == ["model.pth.part"]
    assert CONTENT.startswith(part_of(entry).read_bytes())
    assert weights.fetch(entry).read_bytes() == CONTENT


FETCH = """
import sys
import filelock

def told(path, lock=filelock.FileLock):
    print("at the lock", flush=True)
    return lock(path)

filelock.FileLock = told
from slip.weights import Entry, fetch
url, sha256 = sys.argv[1:]
fetch(Entry("sam/toy", "model.pth", None, sha256, "MIT", url))
"""


def test_processes_that_fetch_the_same_file_do_not_meet(entry, home, site):
    site.go.clear()
    run = [sys.executable, "-c", FETCH, site.url, SHA256]
    started = [subprocess.Popen(run, env=os.environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.stdout.readline() for process in started] == ["at the lock\n"] * 3
    site.go.set()
    for process in started:
        process.communicate()
    assert [process.returncode for process in started] == [0, 0, 0]
    assert weights.path_of(entry).read_bytes() == CONTENT
    assert site.asked == [None]


# Files placed by hand


def place(entry, content):
    part_of(entry)
    weights.path_of(entry).write_bytes(content)


def test_a_file_placed_by_hand_is_accepted_and_hashed_once(entry, site, monkeypatch):
    assert not weights.is_ready(entry)
    place(entry, CONTENT)
    assert weights.is_ready(entry)
    hashed = []
    real = weights._sha256
    monkeypatch.setattr(weights, "_sha256", lambda *args: hashed.append(1) or real(*args))
    for _ in range(3):
        assert weights.fetch(entry).read_bytes() == CONTENT
    assert hashed == [1] and site.asked == []


def test_a_changed_file_is_verified_again_and_never_deleted(entry, site):
    weights.fetch(entry)
    place(entry, bytes(len(CONTENT)))
    with pytest.raises(WeightsError, match=r"model\.pth is not sam/toy: .*remove it and fetch again"):
        weights.fetch(entry)
    assert weights.path_of(entry).read_bytes() == bytes(len(CONTENT))
    place(entry, b"short")
    assert not weights.is_ready(entry)
    assert site.asked == [None]


def test_a_forged_note_of_another_file_does_not_count(entry):
    place(entry, bytes(len(CONTENT)))
    note = weights.path_of(entry).with_name("model.pth.ok")
    for content in (SHA256.encode(), b"\xff", b""):
        note.write_bytes(content)
        with pytest.raises(WeightsError, match="is not sam/toy"):
            weights.fetch(entry)


def test_verify_says_what_is_missing(entry):
    with pytest.raises(WeightsError) as error:
        weights.verify(entry)
    check_help(error, entry)

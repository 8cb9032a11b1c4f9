"""Five hundred files that should be pictures, and of which most are not. The same seed makes the same bytes.

python -m broken_pictures FOLDER    # from tests/: write them, to look at
"""

from __future__ import annotations

import gzip
import io
import os
import random
import socket
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import PIL.features
import PIL.Image
from picture_bombs import bombs

COUNT = 500
Outcome = Literal["picture", "error", "either"]


@dataclass(frozen=True)
class Broken:
    """A file: its name below the corpus, what is in it and what reading it must come to."""

    name: str
    content: bytes
    outcome: Outcome = "either"


def write_corpus(folder: Path, seed: int = 0) -> dict[str, Outcome]:
    """Write COUNT entries below ``folder``; returns the outcome by name."""
    outcomes: dict[str, Outcome] = {}
    for name, make in SPECIAL.items():
        path = folder / "special" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        outcomes[f"special/{name}"] = "either" if name == "unreadable.png" else "error"
    for broken in broken_pictures(COUNT - len(SPECIAL), seed):
        path = folder / broken.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(broken.content)
        outcomes[broken.name] = broken.outcome
    return outcomes


def broken_pictures(count: int, seed: int = 0) -> list[Broken]:
    """That many: every kind, and as many flipped bits as are wanting."""
    draw = random.Random(seed)
    found = [
        *truncated(draw),
        *mixed(draw),
        *renamed(),
        *foreign(),
        *[Broken(f"bombs/{name}", content, bomb_outcome(name)) for name, content in bombs()],
        *odd_modes(),
        *turned(),
    ]
    while len(found) < count:
        found.append(flipped(draw, len(found)))
    names = [broken.name for broken in found]
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"{len(set(names))} names for {count} files")
    return found


@cache
def good_pictures() -> dict[str, bytes]:
    """Small pictures of every format that is read, by file name."""
    ramp = np.add.outer(np.arange(48), np.arange(64))
    colours = PIL.Image.fromarray(np.dstack([ramp * 2, 255 - ramp, ramp % 16 * 16]).astype(np.uint8))
    shown = colours.copy()
    shown.putalpha(PIL.Image.fromarray((ramp * 2).astype(np.uint8)))
    palette, deep = colours.quantize(64), PIL.Image.fromarray((ramp * 500).astype(np.uint16))
    pictures = {
        "plain.jpg": saved(colours, "JPEG"),
        "progressive.jpg": saved(colours, "JPEG", progressive=True),
        "cmyk.jpg": saved(colours.convert("CMYK"), "JPEG"),
        "several.mpo": saved(colours, "MPO", **pages()),
        "colours.png": saved(colours, "PNG"),
        "alpha.png": saved(shown, "PNG"),
        "palette.png": saved(palette, "PNG", transparency=3),
        "deep.png": saved(deep, "PNG"),
        "animated.png": saved(colours, "PNG", **pages()),
        "palette.gif": saved(palette, "GIF", transparency=3),
        "animated.gif": saved(colours, "GIF", **pages()),
        "lossy.webp": saved(colours, "WEBP"),
        "lossless.webp": saved(shown, "WEBP", lossless=True),
        "plain.tif": saved(colours.copy(), "TIFF"),
        "packed.tif": saved(shown, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": saved(colours.copy(), "TIFF", compression="jpeg"),
        "pages.tif": saved(colours.copy(), "TIFF", **pages()),
        "plain.bmp": saved(colours, "BMP"),
        "palette.bmp": saved(palette, "BMP"),
        "plain.ppm": saved(colours, "PPM"),
        "deep.pgm": saved(deep, "PPM"),
    }
    if PIL.features.check("avif"):
        pictures |= {
            "plain.avif": saved(colours, "AVIF", speed=10),
            "alpha.avif": saved(shown, "AVIF", speed=10),
        }
    return pictures


def pages() -> dict[str, object]:
    """How to save two more; made anew, since a JPEG leaves its settings with what was saved."""
    return {
        "save_all": True,
        "append_images": [PIL.Image.new("RGB", (64, 48), name) for name in ("red", "blue")],
    }


def saved(picture: PIL.Image.Image, format_: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format_, **options)
    return out.getvalue()


def truncated(draw: random.Random) -> Iterator[Broken]:
    """In the header, in the middle and at the end."""
    for name, content in good_pictures().items():
        size = len(content)
        for cut in (11, draw.randrange(12, 60), size // 3, draw.randrange(60, size - 9), size - 9):
            yield Broken(f"truncated/{cut:05} {name}", content[:cut])


def flipped(draw: random.Random, number: int) -> Broken:
    """A few bits, as often in the header as in all the rest."""
    name = draw.choice(list(good_pictures()))
    content = bytearray(good_pictures()[name])
    for _ in range(draw.choice((1, 1, 5, 50))):
        place = draw.randrange(draw.choice((64, len(content))))
        content[place] ^= 1 << draw.randrange(8)
    return Broken(f"flipped/{number:03} {name}", bytes(content))


def mixed(draw: random.Random) -> Iterator[Broken]:
    """Bytes left out, put in, blanked; and files run together."""
    pictures = good_pictures()
    for name, content in pictures.items():
        start, end = sorted(draw.sample(range(8, len(content)), 2))
        other = pictures[draw.choice(list(pictures))]
        yield Broken(f"gaps/{name}", content[:start] + content[end:])
        yield Broken(f"noise/{name}", content[:start] + draw.randbytes(40) + content[start:])
        yield Broken(f"blanks/{name}", content[:start] + bytes(end - start) + content[end:])
        yield Broken(f"concatenated/{name}", content + other, "picture")


def renamed() -> Iterator[Broken]:
    """Sound pictures under another's extension, and under names that are no names."""
    odd = (
        "-o.png",
        "--help.jpg",
        "a b.png",
        "a\nb.png",
        "\x1b[31mred.png",
        "%s.png",
        "ünïcødé 青.png",
        "x" * 200,
    )
    pictures = good_pictures()
    for index, name in enumerate(pictures):
        other = list(pictures)[(index + 5) % len(pictures)]
        yield Broken(f"renamed/{Path(name).stem} {index}{Path(other).suffix}", pictures[name], "picture")
    for name in odd:
        yield Broken(f"renamed/{name}", pictures["colours.png"], "picture")


def foreign() -> Iterator[Broken]:
    """What downloads, converters and attackers leave under the name of a picture."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr(zipfile.ZipInfo("a.png"), good_pictures()["colours.png"])
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    contents = {
        "empty.png": b"",
        "byte.png": b"\x89",
        "zeros.jpg": bytes(4096),
        "ones.jpg": b"\xff" * 4096,
        "text.jpg": b"not a picture\n" * 50,
        "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.png": svg,
        "entities.png": b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        "document.jpg": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n",
        "archive.png": archive.getvalue(),
        "packed.png": gzip.compress(good_pictures()["colours.png"], mtime=0),
        "video.jpg": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500),
        "photograph.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500),
        "program.png": b"\x7fELF\x02\x01\x01" + bytes(500),
        "pickle.png": b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
        "photoshop.png": b"8BPS\0\x01" + bytes(500),
        "icon.png": b"\0\0\x01\0\x01\0" + bytes(500),
        "metafile.png": b"\xd7\xcd\xc6\x9a" + bytes(500),
        "jpeg2000.jpg": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500),
        "targa.tga": bytes((0, 0, 2)) + bytes(9) + struct.pack("<HHBB", 4, 4, 24, 0) + bytes(48),
        "matrix.png": b"\x93NUMPY\x01\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4)}",
    }
    for name, content in contents.items():
        yield Broken(f"foreign/{name}", content, "error")
    for head in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"BM", b"RIFF\4\0\0\0WEBP"):
        yield Broken(f"foreign/head {head[1:4].hex()}", head, "error")


def bomb_outcome(name: str) -> Outcome:
    """What claims more than the limit is refused, and so is what takes hours; others do no harm."""
    return "error" if name.startswith("claims") or name == "scans.jpg" else "either"


def odd_modes() -> Iterator[Broken]:
    """Sound files in every way of storing pixels that a writer at hand knows, read or refused."""
    ramp = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) * 17
    colours = PIL.Image.fromarray(np.dstack([ramp, ramp[::-1], ramp.T]))
    kept = {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B", "I"),
        "JPEG": ("1", "L", "RGB", "RGBX", "CMYK", "YCbCr"),
        "WEBP": ("RGB", "RGBA", "RGBX", "P", "L", "LA", "CMYK"),
        "GIF": ("1", "L", "P", "RGB", "RGBA"),
        "BMP": ("1", "L", "P", "RGB", "RGBA"),
        "PPM": ("1", "L", "RGB", "RGBA", "I;16", "I"),
    }
    for format_, modes in kept.items():
        for mode in modes:
            grey = colours.convert("L")
            picture = grey.convert("I").convert(mode) if mode.startswith("I;") else colours.convert(mode)
            yield Broken(
                f"modes/{mode.replace(';', '')}.{format_.lower()}", saved(picture, format_), "picture"
            )
    yield Broken("modes/LAB.tiff", saved(PIL.Image.new("LAB", (8, 8)), "TIFF"), "error")
    yield Broken("modes/F.tiff", saved(colours.convert("F"), "TIFF"), "error")
    yield Broken("modes/F.pfm", saved(colours.convert("F"), "PPM"), "error")
    deep = np.dstack([ramp.astype(np.uint16) * 257] * 4)
    for name, pixels in {"deep-colours": deep[..., :3], "deep-alpha": deep}.items():
        for suffix in ("png", "tiff"):
            yield Broken(f"modes/{name}.{suffix}", cv2.imencode(f".{suffix}", pixels)[1].tobytes(), "picture")
    floats = cv2.imencode(".tiff", deep[..., :3].astype(np.float32))[1].tobytes()
    yield Broken("modes/float-colours.tiff", floats, "error")
    for name, transparency in {"one": 5, "each": bytes(range(256))}.items():
        yield Broken(
            f"modes/{name}-clear.png",
            saved(colours.convert("P"), "PNG", transparency=transparency),
            "picture",
        )
    for mode, transparency in {"L": 17, "RGB": (17, 17, 17), "1": 0}.items():
        data = saved(colours.convert(mode), "PNG", transparency=transparency)
        yield Broken(f"modes/{mode}-clear.png", data, "picture")


def turned() -> Iterator[Broken]:
    """Orientations that there are not, and EXIF blocks that are none; the pixels are sound."""
    picture = PIL.Image.new("RGB", (6, 4), "teal")
    for value in (0, 9, 255, 65535):
        exif = PIL.Image.Exif()
        exif[0x0112] = value
        yield Broken(f"turned/{value}.jpg", saved(picture, "JPEG", exif=exif), "picture")
    entry = struct.Struct("<HHHHI I I")
    damaged = {
        "noise": b"garbage",
        "text": b"II*\0" + entry.pack(8, 0, 1, 0x112, 2, 2**31, 8),
        "cycle": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8),
        "many": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x112, 3, 2**31, 8) + bytes(4),
        "fraction": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x112, 5, 1, 8) + bytes(4),
    }
    for name, block in damaged.items():
        for format_ in ("JPEG", "PNG", "WEBP"):
            data = saved(picture, format_, exif=b"Exif\0\0" + block)
            yield Broken(f"turned/{name}.{format_.lower()}", data, "picture")


def make_socket(path: Path) -> None:
    """Bound by its bare name: the path of a socket may have 100 bytes only."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(before)


def make_unreadable(path: Path) -> None:
    path.write_bytes(good_pictures()["colours.png"])
    path.chmod(0)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "pipe.png": os.mkfifo,
    "socket.png": make_socket,
    "loop.png": lambda path: path.symlink_to(path.name),
    "to-nothing.png": lambda path: path.symlink_to("nothing"),
    "folder.png": Path.mkdir,
    "null.png": lambda path: path.symlink_to("/dev/null"),
    "zeros.png": lambda path: path.symlink_to("/dev/zero"),
    "unreadable.png": make_unreadable,
}
"""What is no plain file."""


if __name__ == "__main__":
    print(f"{len(write_corpus(Path(sys.argv[1])))} files")

"""Files that a careless or hostile user hands in: the bytes of pictures and of checkpoints."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import PIL.Image

PAYLOAD = "payload-ran"
"""The file that a hostile checkpoint would leave behind."""


def picture(
    mode: str = "RGB", size: tuple[int, int] = (40, 30), format_: str = "PNG", **options: object
) -> bytes:
    """A dark box on a light ground."""
    drawn = PIL.Image.new("L", size, 230)
    drawn.paste(60, (size[0] // 4, size[1] // 4, size[0] // 2 + 1, size[1] // 2 + 1))
    out = io.BytesIO()
    drawn.convert(mode).save(out, format_, **options)
    return out.getvalue()


def deep_grey() -> bytes:
    """16 bit."""
    out = io.BytesIO()
    PIL.Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(out, "PNG")
    return out.getvalue()


def animation(format_: str) -> bytes:
    """Three frames."""
    later = [PIL.Image.new("RGB", (40, 30), colour) for colour in ("lime", "blue")]
    return picture(format_=format_, save_all=True, append_images=later)


def turned() -> bytes:
    """40 x 30 pixels to be shown as 30 x 40."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return picture(format_="JPEG", exif=exif)


def huge() -> bytes:
    """60 megapixels in a few kilobytes."""
    out = io.BytesIO()
    PIL.Image.new("1", (10_000, 6_000), 1).save(out, "PNG")
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A grey PNG whose header claims a size and whose data end at once."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class Hostile:
    """Unpickled, it writes the file PAYLOAD."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (f"open({PAYLOAD!r}, 'w').close()",)


def hostile_pickle() -> bytes:
    """As torch.save wrote before its zip format."""
    return pickle.dumps({"weight": Hostile()}, protocol=2)


def hostile_archive() -> bytes:
    """As torch.save writes it: a zip with the pickle inside."""
    return _archive("data.pkl", "version", "byteorder")


def hostile_torchscript() -> bytes:
    """As torch.jit.save writes it."""
    return _archive("data.pkl", "constants.pkl", "version")


def _archive(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            content = b"3\n" if name == "version" else b"little" if name == "byteorder" else hostile_pickle()
            archive.writestr(f"archive/{name}", content)
    return out.getvalue()


def state_dict(**shapes: tuple[int, ...]) -> bytes:
    """A state dict of zeros."""
    import torch

    out = io.BytesIO()
    torch.save({name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}, out)
    return out.getvalue()

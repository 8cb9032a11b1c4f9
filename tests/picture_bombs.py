"""Small files that claim or unfold to far more than they are, format by format."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import PIL.Image

MEGABYTE = 1 << 20
NINE_MEGAPIXELS = (3000, 3000)
"""Within the limit of those who test with 10."""


def bombs() -> Iterator[tuple[str, bytes]]:
    """Names with their extension, and contents."""
    for make in (png_bombs, gif_bombs, tiff_bombs, bmp_bombs, webp_bombs, ppm_bombs, jpeg_bombs, avif_bombs):
        yield from make()


def png(size: tuple[int, int], *chunks: tuple[bytes, bytes], data: bytes = b"\0") -> bytes:
    """A PNG in 8-bit grey with the chunks before its data, which need not be right."""
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(kind: bytes, content: bytes) -> bytes:
    """As PNG has them."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bombs() -> Iterator[tuple[str, bytes]]:
    zeros = zlib.compress(bytes(100 * MEGABYTE), 9)
    dot = (1, 1)
    for size in ((20_000, 20_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (0, 5), NINE_MEGAPIXELS):
        yield f"claims-{size[0]}x{size[1]}.png", png(size)
    yield "unfolds.png", png(NINE_MEGAPIXELS, data=bytes(60 * MEGABYTE))
    yield "one-text.png", png(dot, (b"zTXt", b"key\0\0" + zeros), data=b"\0\0")
    yield "unicode-text.png", png(dot, (b"iTXt", b"key\0\1\0\0\0" + zeros), data=b"\0\0")
    yield "profile.png", png(dot, (b"iCCP", b"key\0\0" + zeros), data=b"\0\0")
    text = b"key\0\0" + zlib.compress(bytes(MEGABYTE - 10), 9)
    yield "many-texts.png", png(dot, *[(b"zTXt", text)] * 200, data=b"\0\0")
    yield "many-chunks.png", png(dot, *[(b"abCd", b"")] * 100_000, data=b"\0\0")
    yield "frames.png", png(dot, (b"acTL", struct.pack(">II", 2**31 - 1, 0)), data=b"\0\0")
    yield "long-chunk.png", png(dot).replace(b"\0\0\0\rIHDR", b"\xff\xff\xff\xffIHDR")


def gif_bombs() -> Iterator[tuple[str, bytes]]:
    def gif(size: tuple[int, int], *frames: bytes) -> bytes:
        return b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + b"".join(frames)

    def frame(size: tuple[int, int], data: bytes = b"\x02\x02\x44\x01\x00") -> bytes:
        return b"," + struct.pack("<HHHHB", 0, 0, *size, 0) + data

    yield "claims.gif", gif((65535, 65535), frame((65535, 65535)), b";")
    yield "frame-outgrows.gif", gif((1, 1), frame((65535, 65535)), b";")
    yield "frames.gif", gif((1, 1), frame((1, 1)) * 50_000, b";")
    yield "later-outgrows.gif", gif((1, 1), frame((1, 1)), frame((65535, 65535)), b";")
    yield "comment.gif", gif((1, 1), b"!\xfe" + (b"\xff" + b"x" * 255) * 40_000 + b"\0", frame((1, 1)), b";")
    yield "clears.gif", gif(NINE_MEGAPIXELS, frame(NINE_MEGAPIXELS, b"\x08" + (b"\xff" * 256) * 4_000))
    yield "empty.gif", gif((0, 0), b";")


def tiff(*tags: tuple[int, int, int, int], after: int = 0, tail: bytes = b"") -> bytes:
    """One directory at byte 8. tags: number, type, count, value or where it is."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", after) + tail


def grey(width: int, height: int, **other: int) -> list[tuple[int, int, int, int]]:
    """The tags of an uncompressed grey picture; others by number, as in ``t273=8``."""
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 4}
    values |= {int(name[1:]): value for name, value in other.items()}
    return [(number, 4, 1, value) for number, value in values.items()]


def tiff_bombs() -> Iterator[tuple[str, bytes]]:
    for size in ((20_000, 20_000), (2**32 - 1, 2**32 - 1), NINE_MEGAPIXELS):
        yield f"claims-{size[0]}x{size[1]}.tif", tiff(*grey(*size))
    yield "cycle.tif", tiff(*grey(2, 2), after=8)
    first = tiff(*grey(2, 2), after=8)
    second = tiff(*grey(2, 2), after=8)[8:]
    yield "long-cycle.tif", tiff(*grey(2, 2), after=len(first), tail=second)
    yield "exif-cycle.tif", tiff(*grey(2, 2, t34665=8))
    yield "part-cycle.tif", tiff(*grey(2, 2, t330=8))
    pages = [tiff(*grey(2, 2))[8:-4] for _ in range(5_000)]
    yield (
        "pages.tif",
        b"II*\0\x08\0\0\0"
        + b"".join(
            page + struct.pack("<I", 8 + (index + 1) * (len(page) + 4)) for index, page in enumerate(pages)
        ),
    )
    yield "many-tags.tif", tiff(*grey(2, 2), *[(number, 2, 2**31, 8) for number in range(40_000, 60_000)])
    yield "long-tag.tif", tiff(*grey(2, 2), (270, 2, 2**32 - 1, 8))
    yield "many-strips.tif", tiff(*grey(2, 2)[:5], (273, 4, 2**30, 8), (279, 4, 2**30, 8))
    yield "long-strip.tif", tiff(*grey(2, 2, t279=2**32 - 1))
    yield "long-packed-strip.tif", tiff(*grey(*NINE_MEGAPIXELS, t259=5, t279=2**32 - 1))
    yield "no-rows.tif", tiff(*grey(2, 2, t278=0))
    yield "tiles.tif", tiff(*grey(*NINE_MEGAPIXELS, t322=2**31, t323=2**31, t324=8, t325=4))
    yield "small-tiles.tif", tiff(*grey(*NINE_MEGAPIXELS, t322=0, t323=0, t324=8, t325=4))
    yield "many-samples.tif", tiff(*grey(2, 2, t277=65535))
    yield "jpeg-inside.tif", tiff(*grey(*NINE_MEGAPIXELS, t259=7))
    big = struct.pack("<HHIQ", 0x4949, 43, 8, 16) + struct.pack("<Q", 2**60)
    yield "big.tif", big + bytes(40)


def bmp_bombs() -> Iterator[tuple[str, bytes]]:
    def bmp(
        width: int, height: int, packed: int = 0, bits: int = 24, colours: int = 0, tail: bytes = b""
    ) -> bytes:
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packed, 0, 0, 0, colours, 0)
        return b"BM" + struct.pack("<IHHI", 54 + len(tail), 0, 0, 54) + info + tail

    yield "claims.bmp", bmp(2**31 - 1, 2**31 - 1)
    yield "upside-down.bmp", bmp(20_000, -(2**31))
    yield "within-limit.bmp", bmp(*NINE_MEGAPIXELS)
    yield "negative.bmp", bmp(-5, 5)
    yield "run-lengths.bmp", bmp(*NINE_MEGAPIXELS, 1, 8, 256, bytes(1024) + b"\xff\x01" * 50_000)
    yield "jumps.bmp", bmp(*NINE_MEGAPIXELS, 1, 8, 256, bytes(1024) + b"\0\x02\xff\xff" * 50_000)
    yield "colours.bmp", bmp(4, 4, 0, 8, 2**32 - 1)
    yield "bits.bmp", bmp(4, 4, 0, 77)


def webp_bombs() -> Iterator[tuple[str, bytes]]:
    def webp(*chunks: tuple[bytes, bytes]) -> bytes:
        body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in chunks)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    def canvas(width: int, height: int, flags: int = 0x10) -> tuple[bytes, bytes]:
        return b"VP8X", bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(
            3, "little"
        )

    dot = io.BytesIO()
    PIL.Image.new("RGBA", (2, 2)).save(dot, "WEBP", lossless=True)
    lossless = dot.getvalue()[20:]
    claims = bytearray(lossless)
    claims[1:5] = struct.pack("<I", 16382 | 16382 << 14)
    yield "claims.webp", webp((b"VP8L", bytes(claims)))
    yield "canvas.webp", webp(canvas(2**24, 255), (b"VP8L", lossless))
    yield "canvas-within-limit.webp", webp(canvas(*NINE_MEGAPIXELS), (b"VP8L", lossless))
    place = bytes(6) + (1).to_bytes(3, "little") * 2 + bytes(4)
    frame = b"ANMF", place + b"VP8L" + struct.pack("<I", len(lossless)) + lossless
    yield "frames.webp", webp(canvas(2, 2, 0x12), (b"ANIM", bytes(6)), *[frame] * 20_000)
    yield "large-frames.webp", webp(canvas(16383, 16383, 0x12), (b"ANIM", bytes(6)), *[frame] * 200)
    yield "chunks.webp", webp(canvas(2, 2), *[(b"abcd", b"")] * 50_000, (b"VP8L", lossless))


def ppm_bombs() -> Iterator[tuple[str, bytes]]:
    yield "claims.ppm", b"P6 99999999 99999999 255\n"
    yield "within-limit.ppm", b"P6 3000 3000 255\n\0\0\0"
    yield "long-number.ppm", b"P6 " + b"9" * 100_000 + b" 1 255\n"
    yield "comment.pgm", b"P5 #" + b"x" * MEGABYTE
    yield "plain.pgm", b"P2 3000 3000 255\n" + b"1 " * 100_000
    yield "long-token.pgm", b"P2 3000 3000 255\n" + b"1" * MEGABYTE
    yield "no-levels.pgm", b"P5 3 3 0\n" + bytes(9)
    yield "many-levels.pgm", b"P5 3 3 99999999\n" + bytes(9)
    yield "negative.ppm", b"P6 -3 -3 255\n" + bytes(27)
    yield "infinite.pfm", b"Pf\n3 3\ninf\n" + bytes(36)
    yield "floats.pfm", b"Pf\n3000 3000\n-1.0\n" + bytes(36)


def jpeg(size: tuple[int, int] = (32, 32), **options: object) -> bytes:
    out = io.BytesIO()
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[::-1]).astype(np.uint8)
    PIL.Image.fromarray(ramp).save(out, "JPEG", **options)
    return out.getvalue()


def jpeg_bombs() -> Iterator[tuple[str, bytes]]:
    sound = jpeg()
    frame = sound.index(b"\xff\xc0") + 5
    for name, size in {"claims": (65535, 65535), "within-limit": NINE_MEGAPIXELS, "empty": (0, 0)}.items():
        yield f"{name}.jpg", sound[:frame] + struct.pack(">HH", *size) + sound[frame + 4 :]
    many = jpeg(NINE_MEGAPIXELS, progressive=True)
    yield "scans.jpg", with_scans(many, 20_000)
    yield "few-large-scans.jpg", with_scans(many, 90)
    comment = b"\xff\xfe" + struct.pack(">H", 65535) + b"x" * 65533
    yield "comments.jpg", sound[:2] + comment * 100 + sound[2:]
    yield "markers.jpg", sound[:2] + b"\xff\xdd\0\4\0\0" * 200_000 + sound[2:]
    yield "padding.jpg", sound[:2] + b"\xff" * MEGABYTE + sound[2:]
    profile = b"ICC_PROFILE\0\1\xff" + bytes(60_000)
    part = b"\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile
    yield "profiles.jpg", sound[:2] + part * 100 + sound[2:]


def with_scans(progressive: bytes, count: int) -> bytes:
    """The last scan again and again: each goes through the whole picture."""
    start = progressive.rindex(b"\xff\xda")
    scan = progressive[start : start + 2 + int.from_bytes(progressive[start + 2 : start + 4], "big")]
    return progressive[:-2] + scan * count + b"\xff\xd9"


def avif_bombs() -> Iterator[tuple[str, bytes]]:
    out = io.BytesIO()
    PIL.Image.new("RGB", (32, 32), "teal").save(out, "AVIF", speed=10)
    sound = out.getvalue()
    size = sound.index(b"ispe") + 8
    for name, claimed in {"claims": (65535, 65535), "within-limit": NINE_MEGAPIXELS, "empty": (0, 0)}.items():
        yield f"{name}.avif", sound[:size] + struct.pack(">II", *claimed) + sound[size + 8 :]
    yield "long-box.avif", sound[:4] + sound[4:].replace(b"meta", b"meta", 1).replace(b"mdat", b"free", 1)
    nested = b"".join(struct.pack(">I", 8 * depth) + b"meta" for depth in range(2_000, 0, -1))
    yield "nested.avif", sound[: sound.index(b"meta") - 4] + nested

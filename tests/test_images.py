from __future__ import annotations

import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slip.errors import ImageError, SlipWarning, UsageError
from slip.images import encode_jpeg, encode_png, load_image, load_with_alpha, resize

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
FRAMES = [PIL.Image.new("RGB", (9, 6), colour) for colour in ("red", "lime", "blue")]


def encoded(picture: PIL.Image.Image | np.ndarray, format_: str = "PNG", **options: object) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = PIL.Image.fromarray(picture)
    out = BytesIO()
    picture.save(out, format_, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def grey(level: int) -> tuple[int, int, int]:
    return (level, level, level)


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a picture é.png"
    path.write_bytes(encoded(COLOUR))
    with PIL.Image.open(path) as lazy:
        for source in (path, str(path), path.read_bytes(), COLOUR, lazy):
            image = load_image(source)
            np.testing.assert_array_equal(image, COLOUR)
            assert image.dtype == np.uint8 and image.flags.c_contiguous


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LA", "RGBA", "PA", "La", "RGBa"]
)
def test_pillow_modes_that_hold_white_give_white(mode: str) -> None:
    picture = PIL.Image.new("RGBA" if mode == "RGBa" else "LA" if mode == "La" else "RGB", (4, 3), "white")
    image = load_image(picture.convert(mode))
    assert image.shape == (3, 4, 3) and image.min() >= 253


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(format_: str) -> None:
    levels = np.array([[0, 255, 256, 257 * 100, 65535]], np.uint16)
    image = load_image(encoded(levels, format_))
    np.testing.assert_array_equal(image[0, :, 0], [0, 0, 1, 100, 255])


def test_32_bit_integers_in_the_16_bit_range_are_16_bit_grey() -> None:
    levels = PIL.Image.fromarray(np.array([[0, 65535]], np.int32))
    np.testing.assert_array_equal(load_image(levels), [[grey(0), grey(255)]])


@pytest.mark.parametrize("value", [np.int32(70_000), np.int32(-1), np.float32(0.5)])
def test_grey_beyond_16_bit_is_refused(value: np.generic) -> None:
    with pytest.raises(ImageError, match="convert it to 8 or 16 bit"):
        load_image(PIL.Image.fromarray(np.array([[value]])))


def test_transparent_16_bit_grey_becomes_white() -> None:
    picture = PIL.Image.fromarray(np.array([[1000, 2000]], np.uint16))
    np.testing.assert_array_equal(load_image(encoded(picture, transparency=1000)), [[grey(255), grey(7)]])


def test_colours_hidden_under_alpha_do_not_show() -> None:
    rgba = np.array([[[200, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    expected = [[grey(255), (200, 0, 0), grey(127)]]
    for source in (rgba, encoded(rgba), encoded(rgba, "WEBP", lossless=True, exact=True)):
        np.testing.assert_allclose(load_image(source), expected, atol=1)
    la = PIL.Image.fromarray(np.array([[[9, 0], [9, 255]]], np.uint8))
    np.testing.assert_array_equal(load_image(encoded(la)), [[grey(255), grey(9)]])


def test_transparent_palette_entry_becomes_white() -> None:
    picture = PIL.Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    picture.putpalette([200, 0, 0, 0, 0, 200])
    for format_ in ("PNG", "GIF"):
        image = load_image(encoded(picture, format_, transparency=0))
        np.testing.assert_array_equal(image, [[grey(255), (0, 0, 200)]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(orientation: int, format_: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(COLOUR, format_, exif=exif, **({"lossless": True} if format_ == "WEBP" else {}))
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(BytesIO(data)))
    np.testing.assert_array_equal(load_image(data), np.asarray(expected))
    np.testing.assert_array_equal(load_image(PIL.Image.open(BytesIO(data))), np.asarray(expected))
    assert load_image(data).shape == ((30, 20, 3) if orientation >= 5 else (20, 30, 3))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_cost_the_picture(format_: str) -> None:
    assert load_image(encoded(COLOUR, format_, exif=b"Exif\0\0garbage")).shape == COLOUR.shape


def test_a_pillow_image_is_left_as_it_was() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = PIL.Image.open(BytesIO(encoded(COLOUR, exif=exif)))
    load_image(picture)
    assert picture.size == (30, 20) and picture.getexif()[0x0112] == 6


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_used_and_said_so(format_: str) -> None:
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(FRAMES[0], format_, save_all=True, append_images=FRAMES[1:], **options)
    with pytest.warns(SlipWarning, match="first is used"):
        image = load_image(data)
    np.testing.assert_array_equal(image, np.asarray(FRAMES[0]))


def test_of_a_pillow_image_the_frame_it_stands_at_is_used() -> None:
    picture = PIL.Image.open(BytesIO(encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:])))
    picture.seek(1)
    np.testing.assert_array_equal(load_image(picture), np.asarray(FRAMES[1]))


def test_a_photograph_with_a_preview_is_no_animation() -> None:
    data = encoded(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:])
    assert load_image(data).shape == (6, 9, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_one_pixel_wide_or_high(size: tuple[int, int], format_: str) -> None:
    assert load_image(encoded(PIL.Image.new("RGB", size), format_)).shape == (size[1], size[0], 3)


SAVED = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", SAVED)
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40)
def test_a_truncated_file_is_an_error_never_half_a_picture(kind: str, share: float) -> None:
    format_, options = SAVED[kind]
    data = encoded(COLOUR, format_, **options)
    try:
        image = load_image(data[: int(share * len(data))])
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        np.testing.assert_array_equal(image, load_image(data))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"BM", b"II*\0"]),
)
@settings(max_examples=150)
def test_noise_is_an_image_error_or_a_picture(noise: bytes, head: bytes) -> None:
    try:
        image = load_image(head + noise)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.ndim == 3 and image.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"a text named .jpg\n" * 9, "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
    ],
)
def test_files_that_are_no_pictures(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=expected) as caught:
        load_image(path)
    assert "x.jpg" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=expected):
        load_image(content)


def test_paths_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="'.*absent.png' does not exist; check the path"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="is a folder; name a picture in it"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="cannot read"):
        load_image("x" * 5000)
    with pytest.raises(ImageError, match="cannot read"):
        load_image("nul\0byte.png")
    (tmp_path / "a\nb").touch()
    with pytest.raises(ImageError) as caught:
        load_image(tmp_path / "a\nb")
    assert "\n" not in str(caught.value)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match="no permission to read"):
        load_image(tmp_path / "secret.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_read_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(COLOUR))
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission to read"):
        load_image(path)


@pytest.mark.parametrize(("width", "height", "told"), [(10_001, 10_000, "100"), (60_000, 60_000, "3600")])
def test_the_size_limit_is_judged_by_the_header(width: int, height: int, told: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ImageError, match=f"{width} x {height}, {told} megapixels.*limit is 100;"
        ) as caught:
            load_image(png_header(width, height))
    assert "--max-megapixels" in str(caught.value) and "of load_image" in str(caught.value)


def test_the_limit_guards_what_is_decoded() -> None:
    for source in (encoded(COLOUR), PIL.Image.open(BytesIO(encoded(COLOUR)))):
        assert load_image(source, max_megapixels=0.0006).shape == COLOUR.shape
        with pytest.raises(ImageError, match="limit is 0.0005"):
            load_image(source, max_megapixels=0.0005)


def test_what_is_in_memory_has_no_limit() -> None:
    large = np.zeros((1, 100_000_001, 3), np.uint8)
    assert load_image(large) is large
    assert load_image(PIL.Image.fromarray(COLOUR), max_megapixels=0.0005).shape == COLOUR.shape


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_pillows_own_limit_neither_warns_nor_refuses(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(COLOUR, format_)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(data).shape == COLOUR.shape
        with ThreadPoolExecutor(4) as pool:
            assert {image.shape for image in pool.map(load_image, [data] * 40)} == {COLOUR.shape}
    assert PIL.Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_is_no_size_is_a_usage_error(limit: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        load_image(COLOUR, max_megapixels=limit)


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.zeros((4, 5, 3)), r"\* 255\)\.round\(\)\.astype"),
        (np.zeros((4, 5), np.uint16), ">> 8"),
        (np.zeros((4, 5), bool), r"\* 255"),
        (np.zeros((4, 5), np.int64), "scale it"),
        (np.zeros((4, 5, 2), np.uint8), r"shape \(4, 5, 2\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"shape \(2, 4, 5, 3\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
    ],
)
def test_arrays_that_are_no_picture_name_the_remedy(array: np.ndarray, remedy: str) -> None:
    with pytest.raises(ImageError, match=remedy):
        load_image(array)


def test_arrays_come_back_contiguous() -> None:
    flipped = load_image(COLOUR[:, ::-1])
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flipped, COLOUR[:, ::-1])
    np.testing.assert_array_equal(load_image(COLOUR[..., 0]), np.dstack([COLOUR[..., 0]] * 3))


@pytest.mark.parametrize("source", [None, 3, [1, 2], BytesIO()])
def test_what_is_no_source_is_named(source: object) -> None:
    with pytest.raises(ImageError, match=f"{type(source).__name__} is not a picture"):
        load_image(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pixels",
    [
        COLOUR,
        COLOUR[::-1, ::2],
        COLOUR[..., 0],
        np.dstack([COLOUR, COLOUR[..., :1]]),
        RNG.integers(0, 65536, (5, 4), dtype=np.uint16),
        np.zeros((1, 1), np.uint8),
    ],
)
def test_png_keeps_every_value(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(BytesIO(encode_png(pixels)))), pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_png_refuses_other_arrays(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="as PNG; give uint8"):
        encode_png(pixels)


def alpha_of(*levels: int) -> np.ndarray:
    """Alternating red and green with these levels of alpha."""
    rows = [[200 * (index % 2), 200 * (1 - index % 2), 0, level] for index, level in enumerate(levels)]
    return np.array([rows], np.uint8)


def test_alpha_above_half_is_the_mask() -> None:
    rgba = alpha_of(0, 127, 128, 255)
    for source in (rgba, encoded(rgba), PIL.Image.fromarray(rgba), encoded(rgba, "TIFF")):
        image, mask = load_with_alpha(source)
        np.testing.assert_array_equal(image, load_image(source))
        assert mask is not None and mask.dtype == bool
        np.testing.assert_array_equal(mask, [[False, False, True, True]])


@pytest.mark.parametrize("levels", [(255, 255), (128, 255), (0, 0), (127, 3)])
def test_a_mask_that_is_full_or_empty_is_none(levels: tuple[int, int]) -> None:
    assert load_with_alpha(encoded(alpha_of(*levels)))[1] is None


@pytest.mark.parametrize("source", [COLOUR, COLOUR[..., 0], encoded(COLOUR), encoded(COLOUR, "JPEG")])
def test_without_alpha_there_is_no_mask(source: object) -> None:
    image, mask = load_with_alpha(source)  # type: ignore[arg-type]
    np.testing.assert_array_equal(image, load_image(source))  # type: ignore[arg-type]
    assert mask is None


def test_a_transparent_palette_entry_or_grey_is_outside_the_mask() -> None:
    picture = PIL.Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    picture.putpalette([200, 0, 0, 0, 0, 200])
    deep = PIL.Image.fromarray(np.array([[1000, 2000]], np.uint16))
    for data in (
        encoded(picture, transparency=0),
        encoded(picture, "GIF", transparency=0),
        encoded(deep, transparency=1000),
    ):
        np.testing.assert_array_equal(load_with_alpha(data)[1], [[False, True]])


def test_the_mask_is_turned_with_the_picture() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image, mask = load_with_alpha(encoded(alpha_of(0, 255, 255), exif=exif))
    assert image.shape == (3, 1, 3)
    np.testing.assert_array_equal(mask, [[False], [True], [True]])


def test_with_alpha_an_animation_does_not_warn() -> None:
    image, _ = load_with_alpha(encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]))
    np.testing.assert_array_equal(image, np.asarray(FRAMES[0]))


def test_with_alpha_bad_input_is_refused_alike() -> None:
    with pytest.raises(ImageError, match="the picture is not a picture"):
        load_with_alpha(b"text")
    with pytest.raises(ImageError, match="limit is 0.0005"):
        load_with_alpha(encoded(COLOUR), max_megapixels=0.0005)
    with pytest.raises(UsageError, match="above 0"):
        load_with_alpha(COLOUR, max_megapixels=0)


def test_jpeg_for_people():
    gradient = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    small, large = encode_jpeg(gradient, 30), encode_jpeg(gradient, 95)
    with PIL.Image.open(BytesIO(large)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (64, 64))
        assert np.abs(np.asarray(picture).astype(int) - gradient).mean() < 3
    assert len(small) < len(large)


@pytest.mark.parametrize("shape", [(8, 12, 3), (8, 12)])
def test_resize_averages_when_it_shrinks(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    blocks = pixels.reshape(4, 2, 4, 3, *shape[2:]).mean(axis=(1, 3))
    assert np.abs(resize(pixels, 4, 4) - blocks).max() <= 0.5


def test_resize_goes_its_own_way_on_each_axis():
    edge = np.zeros((4, 8), np.uint8)
    edge[:, 4:] = 200
    assert (resize(edge, 2, 9) == [0, 200]).all()
    assert resize(edge, 16, 2).shape == (2, 16)
    assert resize(edge, 16, 2).max() > 200, "bicubic overshoots at an edge"
    assert (resize(edge, 8, 4) == edge).all()

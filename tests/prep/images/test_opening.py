"""Which files are opened as images, what the others are called, and that no image file starts a program."""

import ast
import re
import struct
import subprocess
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

import feedline
from feedline.prep.images.check import decode_problem, quick_problem, refusal
from feedline.prep.images.opening import (
    FORMATS,
    UNREADABLE,
    allowed_format,
    description,
    foreign_format,
    open_image,
    pixel_size,
)
from feedline.prep.images.rgb import read_rgb
from feedline.prep.shards.encode import EncodeSpec, encode_image

from ..encoded_images import encode
from ..foreign_files import EPS, FOREIGN
from ..image_modes import COLOUR, MODES

IMAGE = Image.fromarray(np.ascontiguousarray(COLOUR))
PACKAGE = Path(feedline.__file__).parent
FLOORS = ("prep", "loaders", "train", "benchmarks", "cli")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_is_opened(kind: str) -> None:
    data = encode(IMAGE, kind)

    assert open_image(data).format == kind
    assert allowed_format(data) == kind
    assert foreign_format(data) is None


def test_a_photograph_of_several_images_is_its_first() -> None:
    """Phones write such JPEGs (multi-picture format)."""
    out = BytesIO()
    IMAGE.resize((16, 16)).save(out, "MPO", save_all=True, append_images=[IMAGE])

    assert read_rgb(out.getvalue()).size == (16, 16)


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_refused_by_their_names(name: str) -> None:
    """Not as "cannot identify image file <_io.BytesIO object at 0x7f...>"."""
    data = FOREIGN[name]
    with pytest.raises(OSError, match=f"^the file is {name}.*; feedline opens BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP$"):
        open_image(data)

    assert str(decode_problem(data)).startswith(f"does not decode: the file is {name}")
    assert str(quick_problem(data)).startswith(f"is no image of a format that feedline opens: it is {name}")


@pytest.mark.parametrize("name", FOREIGN)
def test_resize_counts_other_files_by_another_kind_than_damage(name: str) -> None:
    found = encode_image(FOREIGN[name], EncodeSpec(encode="resize"))

    assert (found.data, found.size, found.passed_through) == (FOREIGN[name], (0, 0), "foreign")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (bytes(300), "begins with 0000000000000000 and holds nothing but 300 zeros"),
        (b"hello, this is text", "begins with 68656c6c6f2c2074"),
    ],
)
def test_files_without_a_name_are_described(data: bytes, words: str) -> None:
    assert description(data) == words
    with pytest.raises(OSError, match=f"^the file {words}"):
        open_image(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_prep_takes_every_format_that_is_opened(kind: str) -> None:
    assert quick_problem(encode(IMAGE, kind)) is None
    assert pixel_size(encode(IMAGE, kind)) == IMAGE.size


@pytest.mark.parametrize("start", [b"\0\0\0\x20ftypavif", b"\0\0\0\x20ftypheic", b"\0\0\0\x0cJXL \r\n\x87\n"])
def test_a_format_that_is_not_opened_is_refused_with_the_command_that_converts_it(start: bytes) -> None:
    assert re.search(
        r"it is an? (AVIF|HEIF|JPEG XL) file; convert it, for example with: magick", refusal(start + bytes(50)) or ""
    )


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about the TIFF before it gives up
def test_a_damaged_header_is_damage_and_not_another_format(kind: str) -> None:
    data = encode(IMAGE, kind)[:14]
    with pytest.raises(UNREADABLE, match=r"(?i)header|trunc|data|EOF|WEBP|read|tile"):
        read_rgb(data)

    assert foreign_format(data) is None


def test_a_kind_of_tiff_that_pillow_does_not_read_says_so() -> None:
    data = MODES["I;16 tiff, 0 is white"](1)[0]
    at = data.index(struct.pack("<HHL", 258, 3, 1)) + 8
    with pytest.raises(OSError, match=r"^its TIFF header cannot be read: unknown pixel mode$"):
        open_image(data[:at] + b"\x0d" + data[at + 1 :])  # 13 bits


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60)
@given(st.data())
def test_damage_raises_nothing_else(name: str, data: st.DataObject) -> None:
    """A decoder's KeyError or struct.error would end a loader, or be taken for a sample without an image."""
    file = bytearray(data.draw(st.sampled_from(_files_of(name))))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(file)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for damaged in (bytes(file), bytes(file[:cut])):
            try:
                image = read_rgb(damaged)
            except UNREADABLE:
                continue
            assert image.mode == "RGB"


@cache
def _files_of(name: str) -> list[bytes]:
    files = [encode(IMAGE, name), *(mode(1)[0] for mode in MODES.values())]
    return [data for data in files if allowed_format(data) == name]


@pytest.mark.parametrize(
    "data",
    [
        b"P6\n65000 65000\n255\n",
        b"GIF89a" + struct.pack("<HHBBB", 65000, 65000, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 65000, 65000, 0),
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 100, 0, 54, 40, 65000, 65000, 1, 24, 0, 0, 0, 0, 0, 0),
    ],
    ids=["ppm", "gif", "bmp"],
)
def test_sizes_are_bounded(data: bytes) -> None:
    """A header may claim any size; nothing of it is allocated."""
    with pytest.raises(Image.DecompressionBombError, match="178956970 pixels"):
        read_rgb(data + bytes(64))


def test_an_eps_file_starts_no_program(ghostscript: Path) -> None:
    """Pillow would start Ghostscript, whatever the file's name is."""
    with Image.open(BytesIO(EPS)) as image, pytest.raises((OSError, subprocess.SubprocessError)):
        image.load()
    assert ghostscript.exists()  # the test would notice
    ghostscript.unlink()
    for read in (decode_problem, quick_problem, lambda data: encode_image(data, EncodeSpec(encode="resize"))):
        read(EPS)
    with pytest.raises(OSError, match="is an EPS file"):
        read_rgb(EPS)

    assert not ghostscript.exists()


def test_every_image_is_opened_with_a_list_of_formats() -> None:
    """In the whole package: who opens an image calls ``open_image``, or gives Pillow the list."""
    calls = [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", {keyword.arg for keyword in node.keywords})
        for floor in FLOORS
        for path in sorted((PACKAGE / floor).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open")
    ]

    assert calls
    assert [place for place, keywords in calls if "formats" not in keywords] == []

"""The parser of JPEG headers and the geometry of tiles: what they say is true, and what they refuse has a kind."""

import contextlib
import math

import numpy as np
import pytest
import simplejpeg
import skimage.data
from hypothesis import given, settings, strategies as st
from PIL import Image

from feedline.prep import SampleError
from feedline.prep.images.geometry import choose_restart_interval, read_geometry
from feedline.prep.images.headers import SOS
from feedline.prep.images.jpeg import Jpeg, UnsupportedJpeg
from feedline.prep.images.parse import parse_jpeg
from feedline.prep.images.restart import add_restart_markers

from ..encoded_images import encode

PHOTOGRAPH = Image.fromarray(skimage.data.astronaut())


SMALL = encode(PHOTOGRAPH.resize((97, 61)), quality=90)


def kind_of(data: bytes) -> str:
    """Return the kind of the refusal of ``data``."""
    with pytest.raises(UnsupportedJpeg) as caught:
        parse_jpeg(data)
    return caught.value.kind


def patched(data: bytes, marker: int, offset: int, value: bytes) -> bytes:
    """Return ``data`` with ``value`` written ``offset`` bytes after the first such marker."""
    start = data.index(bytes((0xFF, marker))) + offset
    return data[:start] + value + data[start + len(value) :]


@pytest.mark.parametrize(
    ("name", "sampling"),
    [
        ("444", ((1, 1), (1, 1), (1, 1))),
        ("422", ((2, 1), (1, 1), (1, 1))),
        ("420", ((2, 2), (1, 1), (1, 1))),
        ("440", ((1, 2), (1, 1), (1, 1))),
        ("411", ((4, 1), (1, 1), (1, 1))),
    ],
)
def test_size_sampling_and_mcus_are_those_of_the_image(name: str, sampling: object) -> None:
    """Width, height, sampling factors and MCU counts agree with what was encoded."""
    pixels = np.ascontiguousarray(np.asarray(PHOTOGRAPH)[:61, :97])
    jpeg = parse_jpeg(simplejpeg.encode_jpeg(pixels, 90, "RGB", name))

    assert (jpeg.width, jpeg.height) == (97, 61)
    assert jpeg.sampling == sampling
    assert jpeg.columns == math.ceil(97 / jpeg.mcu_width)
    assert jpeg.rows == math.ceil(61 / jpeg.mcu_height)


def test_greyscale_mcu_is_one_block_whatever_its_sampling_factors() -> None:
    """A lone component is not interleaved: its MCU is 8x8 (T.81 A.2.2), even when its factors say 2x2."""
    data = patched(encode(PHOTOGRAPH.convert("L")), 0xC0, 11, b"\x22")
    jpeg = parse_jpeg(data)

    assert jpeg.components[0].horizontal == 2
    assert (jpeg.mcu_width, jpeg.mcu_height, jpeg.sampling) == (8, 8, ((1, 1),))


def test_quantisation_tables_of_16_bits_are_read_in_zig_zag_order() -> None:
    """The table in the file is the table that was given, with values above 255."""
    table = list(range(300, 364))
    zig_zag_start = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]
    found = parse_jpeg(encode(PHOTOGRAPH, qtables=[table, table])).quantisation[0]

    assert found.dtype == np.uint16
    assert found[:10].tolist() == [300 + index for index in zig_zag_start]
    assert sorted(found.tolist()) == table


def test_segments_are_the_header_word_for_word() -> None:
    """Joining the segments gives the file up to its scan, comments and EXIF included."""
    data = encode(PHOTOGRAPH, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + SMALL, comment=b"a comment")
    jpeg = parse_jpeg(data)

    assert b"\xff\xd8" + b"".join(s.to_bytes() for s in jpeg.segments) == data[: jpeg.scan[0]]
    assert data[jpeg.scan[1] :] == b"\xff\xd9"
    assert jpeg.segments[-1].marker == SOS


def test_fill_bytes_before_a_marker_are_allowed() -> None:
    """Any number of 0xFF may precede a marker (T.81 B.1.1.2)."""
    data = SMALL.replace(b"\xff\xc0", b"\xff\xff\xff\xc0")

    assert parse_jpeg(data).width == 97


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "not-jpeg"),
        (b"\x89PNG\r\n\x1a\n" + SMALL, "not-jpeg"),
        (encode(PHOTOGRAPH, progressive=True), "progressive"),
        (encode(PHOTOGRAPH.convert("CMYK")), "cmyk"),
        (SMALL.replace(b"\xff\xc0", b"\xff\xc9"), "arithmetic"),
        (SMALL.replace(b"\xff\xc0", b"\xff\xc3"), "lossless"),
        (SMALL.replace(b"\xff\xc0", b"\xff\xc5"), "hierarchical"),
        (patched(SMALL, 0xC0, 4, b"\x0c"), "12-bit"),
        (patched(SMALL, 0xC0, 4, b"\x07"), "damaged"),
        (patched(SMALL, 0xC0, 5, b"\0\0"), "damaged"),
        (patched(SMALL, 0xC0, 5, b"\xff\xff\xff\xff"), "too-large"),
        (patched(SMALL, 0xC0, 11, b"\x55"), "damaged"),
        (patched(SMALL, 0xC0, 11, b"\x44"), "damaged"),
        (patched(SMALL, 0xC0, 12, b"\x03"), "damaged"),
        (patched(SMALL, 0xDA, 4, b"\x01"), "multi-scan"),
        (patched(SMALL, 0xDA, 5, b"\x09"), "damaged"),
        (patched(SMALL, 0xDA, 6, b"\x33"), "damaged"),
        (patched(SMALL, 0xDA, 6, b"\x44"), "damaged"),
        (patched(SMALL, 0xDA, 11, b"\x01"), "damaged"),
        (patched(SMALL, 0xC4, 5, b"\xff"), "damaged"),
        (patched(SMALL, 0xDB, 4, b"\x20"), "damaged"),
        (SMALL.replace(b"\xff\xc0", b"\xff\xc8"), "damaged"),
        (SMALL.replace(b"\xff\xc0", b"\xff\xfe"), "damaged"),
        (SMALL[:-2], "damaged"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_by_kind(data: bytes, kind: str) -> None:
    """Each kind of file that is passed through has its name, so that it can be counted."""
    assert kind_of(data) == kind


def test_a_refusal_is_a_sample_error_in_one_sentence() -> None:
    """Callers that know nothing of JPEG can catch SampleError and print it."""
    with pytest.raises(SampleError, match=r"not-jpeg.*starts with 474946.*decode it whole"):
        parse_jpeg(b"GIF89a")


def test_every_truncation_is_refused() -> None:
    """A file cut anywhere is refused, never half read."""
    for length in range(len(SMALL) - 1):
        with pytest.raises(UnsupportedJpeg):
            parse_jpeg(SMALL[:length])


@given(st.data())
@settings(max_examples=300)
def test_damaged_headers_give_a_jpeg_or_a_refusal(data: st.DataObject) -> None:
    """Overwritten, inserted and removed bytes never give another exception."""
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, 700))
        damaged[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(UnsupportedJpeg):
        assert isinstance(parse_jpeg(bytes(damaged)), Jpeg)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_random_bytes_after_soi_are_refused(data: bytes) -> None:
    """Two hundred bytes cannot be a JPEG with all its tables."""
    kind_of(b"\xff\xd8" + data)


@given(columns=st.integers(1, 500), mcu_width=st.sampled_from([8, 16, 32]), mcu_bytes=st.floats(0, 500))
def test_a_tile_divides_the_row_and_is_worth_its_marker(columns: int, mcu_width: int, mcu_bytes: float) -> None:
    """The interval divides the row; unless it is the row, it has 32 pixels and 192 bytes and is the least such."""
    k = choose_restart_interval(columns, mcu_width, mcu_bytes)

    assert columns % k == 0
    if k < columns:
        assert k * mcu_width >= 32
        assert k * mcu_bytes >= 192


@pytest.mark.parametrize(
    ("columns", "expected"), [(32, 2), (24, 2), (21, 3), (25, 5), (19, 19), (31, 31), (1, 1), (26, 2)]
)
def test_tiles_of_usual_widths(columns: int, expected: int) -> None:
    """Rows of 16-pixel MCUs are cut into two of them where that divides, and rows of a prime number not at all."""
    assert choose_restart_interval(columns, 16, 100.0) == expected


def test_geometry_read_from_a_file_is_the_one_that_was_made() -> None:
    """Scanning for RSTn markers gives the size, interval and offsets that add_restart_markers returned."""
    data, made = add_restart_markers(encode(PHOTOGRAPH, quality=95))
    read = read_geometry(data)

    assert read.offsets.dtype == np.uint32
    np.testing.assert_array_equal(read.offsets, made.offsets)
    assert (read.width, read.height, read.mcu_width, read.mcu_height, read.restart_interval) == (512, 512, 16, 16, 4)
    assert len(read.offsets) == read.rows * read.columns // read.restart_interval + 1


def test_geometry_reads_markers_that_others_wrote() -> None:
    """A file that Pillow wrote with restart markers every two MCUs needs no rewriting."""
    data = encode(PHOTOGRAPH, restart_marker_blocks=2)
    geometry = read_geometry(memoryview(data))

    assert geometry.restart_interval == 2
    assert len(geometry.offsets) == 32 * 32 // 2 + 1
    assert geometry.offsets[-1] == len(data)


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 5}])
def test_geometry_refuses_files_without_tiles(options: dict[str, int]) -> None:
    """No restart markers, or markers that wander from row to row, are no tiles."""
    with pytest.raises(UnsupportedJpeg, match=r"no-tiles.* 32 MCUs"):
        read_geometry(encode(PHOTOGRAPH, **options))


def test_geometry_refuses_markers_that_are_missing_or_out_of_order() -> None:
    """A lost or renumbered RSTn is damage."""
    data, geometry = add_restart_markers(SMALL)
    marker = int(geometry.offsets[1]) - 2
    for broken in (data[:marker] + data[marker + 2 :], data[: marker + 1] + b"\xd5" + data[marker + 2 :]):
        with pytest.raises(UnsupportedJpeg, match=r"damaged.*restart markers"):
            read_geometry(broken)

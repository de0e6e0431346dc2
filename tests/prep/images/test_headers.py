"""The walk over JPEG segments: lenient by itself, strict where a caller compares what it returns."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from feedline.prep.base.compiled import compiled
from feedline.prep.images.check import image_problem, odd_kind
from feedline.prep.images.headers import MOST_SEGMENTS, components_and_scan, image_size, segments
from feedline.prep.images.jpeg import UnsupportedJpeg
from feedline.prep.images.parse import parse_jpeg

from ..encoded_images import encode

PLAIN = encode(Image.new("RGB", (40, 30), "red"), quality=90)
CMYK = encode(Image.new("CMYK", (40, 30)), quality=90)
PNG = encode(Image.new("RGB", (40, 30)), "PNG")


_compiled_segments = compiled(segments)


def test_segments_follow_each_other_up_to_the_scan() -> None:
    """Each begins with 0xFF and its marker where the one before ended; fill bytes are passed over."""
    found = segments(PLAIN, len(PLAIN))

    assert [start for _, start, _ in found[1:]] == [end for *_, end in found[:-1]]
    assert all(PLAIN[start] == 0xFF and PLAIN[start + 1] == marker for marker, start, _ in found)
    assert found[0][1] == 2 and found[-1][0] == 0xDA
    assert segments(PLAIN, found[3][1]) == found[:3]
    filled = PLAIN[:2] + b"\xff\xff" + PLAIN[2:]
    assert segments(filled, len(filled)) == [(marker, start + 2, end + 2) for marker, start, end in found]


def test_size_and_components_are_read_from_the_frame() -> None:
    """Of JPEG and PNG; nothing of a file that is neither."""
    assert image_size(PLAIN) == image_size(CMYK) == image_size(PNG) == (40, 30)
    assert (components_and_scan(PLAIN)[0], components_and_scan(CMYK)[0]) == (3, 4)
    assert (odd_kind(PLAIN), odd_kind(CMYK), odd_kind(PNG)) == (None, "cmyk", "png")
    assert image_size(b"") == image_size(b"GIF89a" * 10) == image_size(b"\xff\xd8") == (0, 0)


@pytest.mark.parametrize("odd", [b"\xff\x01", b"\xff\xd0", b"\xff\xff"])
def test_what_a_reader_passes_over_a_rewriter_refuses(odd: bytes) -> None:
    """A marker without a length has no place in a header: the image counts as good, and is not cut into tiles."""
    data = PLAIN[:2] + odd + PLAIN[2:]

    assert image_size(data) == (40, 30) and components_and_scan(data)[0] == 3
    assert image_problem(data, decode=False) is None
    if odd == b"\xff\xff":
        assert parse_jpeg(data).width == 40
    else:
        with pytest.raises(UnsupportedJpeg, match=f"marker 0xFF{odd[1]:02X} at offset 2 has no place in a header"):
            parse_jpeg(data)


def test_a_file_of_nothing_but_markers_takes_little_memory() -> None:
    """A hostile file cannot make the list of segments as long as itself."""
    data = b"\xff\xd8" + b"\xff\xd0" * 100_000

    assert len(segments(data, len(data))) == MOST_SEGMENTS
    assert image_size(data) == (0, 0)


def test_a_damaged_length_ends_the_parser_alone() -> None:
    """A length of 0 or beyond the file is damage to the parser."""
    for length in (b"\0\0", b"\0\1", b"\xff\xff"):
        data = PLAIN[:4] + length + PLAIN[6:]
        with pytest.raises(UnsupportedJpeg, match="the segment at offset 2 ends beyond the file"):
            parse_jpeg(data)


@settings(max_examples=200)
@given(position=st.integers(2, len(PLAIN)), new=st.binary(max_size=6) | st.just(b"\xff\xff"), cut=st.integers(0, 400))
def test_compiled_and_plain_walk_alike(position: int, new: bytes, cut: int) -> None:
    """Whatever the bytes: the same segments, ascending, that begin within the file; the data are released."""
    data = (PLAIN[:position] + new + PLAIN[position:])[: len(PLAIN) - cut]
    source = np.frombuffer(data, np.uint8)
    references = sys.getrefcount(source)
    found = segments(data, len(data))

    assert _compiled_segments(source, len(data)) == found
    assert sys.getrefcount(source) == references
    assert all(2 <= start <= len(data) - 4 and start + 2 <= end for _, start, end in found)

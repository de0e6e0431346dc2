"""The splice: a smaller JPEG that decodes to the very pixels of the crop."""

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
import skimage.data
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from feedline.prep import SampleError
from feedline.prep.images.geometry import Geometry, read_geometry
from feedline.prep.images.parse import parse_jpeg
from feedline.prep.images.restart import add_restart_markers
from feedline.prep.images.splice import splice, splice_rows
from feedline.prep.images.tiles import Box

from ..encoded_images import SUBSAMPLINGS, encode

CHINA = Image.fromarray(load_sample_image("china.jpg"))
COFFEE = Image.fromarray(skimage.data.coffee())


def tiled(image: Image.Image, subsampling: str) -> tuple[bytes, Geometry]:
    """Return a JPEG with restart markers, at a subsampling that simplejpeg names."""
    grey = subsampling == "Gray"
    pixels = np.ascontiguousarray(np.atleast_3d(np.asarray(image.convert("L" if grey else "RGB"))))
    return add_restart_markers(simplejpeg.encode_jpeg(pixels, 90, "GRAY" if grey else "RGB", subsampling))


def pillow(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode with Pillow."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def assert_crop(data: bytes, geometry: Geometry, full: npt.NDArray[np.uint8], box: Box) -> bytes:
    """Splice ``box``, decode strictly (a warning is an error) and compare with the crop; return the splice."""
    left, top, width, height = box
    cut, (x, y) = splice(data, geometry, box)
    decoded = simplejpeg.decode_jpeg(cut)
    np.testing.assert_array_equal(
        decoded[y : y + height, x : x + width], full[top : top + height, left : left + width], err_msg=str(box)
    )
    return cut


def random_boxes(width: int, height: int, count: int) -> list[Box]:
    """Return boxes of every size, with the corners and edges of the image among them."""
    random = np.random.default_rng(width * height)
    boxes: list[Box] = [(0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, 1, 1)]
    for _ in range(count):
        left, right = np.sort(random.integers(0, width + 1, 2)).tolist()
        top, bottom = np.sort(random.integers(0, height + 1, 2)).tolist()
        if left < right and top < bottom:
            boxes.append((left, top, right - left, bottom - top))
    return boxes


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(1, 1), (17, 9), (300, 225), (333, 500), (500, 375), (640, 427)])
def test_every_box_equals_the_crop_of_the_full_decode(subsampling: str, size: tuple[int, int]) -> None:
    """Bit for bit, at every subsampling, at odd sizes and at rows of a prime number of MCUs."""
    data, geometry = tiled(CHINA.resize(size), subsampling)
    full = simplejpeg.decode_jpeg(data)

    for box in random_boxes(*size, 60):
        assert_crop(data, geometry, full, box)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_every_pair_of_edges_equals_the_crop_where_tiles_are_one_mcu(subsampling: int) -> None:
    """All left and right edges, and all top and bottom edges, of an image with the smallest possible tiles."""
    data = encode(COFFEE.resize((53, 53)), quality=90, subsampling=subsampling, restart_marker_blocks=1)
    geometry = read_geometry(data)
    full = simplejpeg.decode_jpeg(data)

    for start in range(53):
        for stop in range(start + 1, 54):
            across = (start * 7 + stop) % 53
            assert_crop(data, geometry, full, (start, across, stop - start, 1))
            assert_crop(data, geometry, full, (across, start, 1, stop - start))


@pytest.mark.parametrize("options", [{}, {"keep_rgb": True}, {"subsampling": "4:2:2", "optimize": True}], ids=str)
def test_pillow_decodes_the_same_crop(options: dict[str, Any]) -> None:
    """Pillow reads the splice too, and gets the colours right where only APP14 or the identifiers tell them."""
    data, geometry = add_restart_markers(encode(CHINA.resize((400, 300)), quality=92, **options))
    full = pillow(data)

    for left, top, width, height in random_boxes(400, 300, 25):
        cut, (x, y) = splice(data, geometry, (left, top, width, height))
        np.testing.assert_array_equal(
            pillow(cut)[y : y + height, x : x + width], full[top : top + height, left : left + width]
        )


def test_a_splice_is_a_jpeg_with_tiles_of_its_own() -> None:
    """Its header, its markers and its end are those of a whole JPEG, so that a splice can be spliced."""
    data, geometry = tiled(CHINA, "420")
    full = simplejpeg.decode_jpeg(data)
    cut, (x, y) = splice(data, geometry, (200, 100, 300, 200))
    inner = read_geometry(cut)

    assert inner.restart_interval == geometry.restart_interval
    assert re.findall(b"\xff[\xd0-\xd9]", cut[inner.offsets[0] :])[-1] == b"\xff\xd9"
    assert_crop(cut, inner, full[100 - y : 300 + 16, 200 - x :], (x + 10, y + 20, 150, 80))


def test_only_the_tiles_that_the_box_needs_are_taken() -> None:
    """A box well inside one tile gives this tile; one beside its edge takes the neighbour whose chroma it needs."""
    data, geometry = tiled(CHINA, "420")
    tile = geometry.restart_interval * geometry.mcu_width

    assert (geometry.mcu_width, tile) == (16, 64)
    for box, size in [
        ((66, 18, 60, 12), (64, 16)),
        ((65, 18, 60, 12), (128, 16)),
        ((66, 18, 61, 12), (128, 16)),
        ((66, 17, 60, 12), (64, 32)),
        ((66, 18, 60, 13), (64, 32)),
        ((639, 426, 1, 1), (64, 11)),
    ]:
        cut = parse_jpeg(splice(data, geometry, box)[0])
        assert (cut.width, cut.height) == size, box


def test_without_subsampling_no_neighbour_is_taken() -> None:
    """At 4:4:4 no pixel depends on another block, so a box of exactly one tile takes one tile."""
    data, geometry = tiled(CHINA, "444")
    tile = geometry.restart_interval * 8
    cut = parse_jpeg(splice(data, geometry, (tile, 8, tile, 8))[0])

    assert (cut.width, cut.height) == (tile, 8)


def test_what_does_not_change_the_pixels_is_dropped() -> None:
    """EXIF, ICC profile, comment and trailing bytes stay behind; JFIF stays."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + encode(COFFEE.resize((160, 120)))
    data, geometry = add_restart_markers(
        encode(COFFEE, exif=exif, icc_profile=bytes(500), comment=b"a comment") + b"trailing"
    )
    cut, _ = splice(data, geometry, (0, 0, 600, 400))

    markers = [segment.marker for segment in parse_jpeg(cut).segments]
    assert 0xE0 in markers
    assert not {0xE1, 0xE2, 0xFE} & set(markers)
    assert cut.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(cut), simplejpeg.decode_jpeg(data))


def test_fill_bytes_in_a_foreign_header_do_no_harm() -> None:
    """A file of another writer, with fill bytes before markers, is spliced like any other."""
    data = encode(COFFEE, restart_marker_blocks=2).replace(b"\xff\xdb", b"\xff\xff\xff\xdb")

    assert_crop(data, read_geometry(data), simplejpeg.decode_jpeg(data), (100, 100, 50, 50))


def test_bytes_and_memoryview_give_the_same() -> None:
    """A slice of a larger buffer, as a shard in memory is, needs no copy."""
    data, geometry = tiled(COFFEE, "420")
    shard = bytearray(b"before" + data + b"after")

    assert splice(memoryview(shard)[6 : 6 + len(data)], geometry, (50, 60, 70, 80)) == splice(
        data, geometry, (50, 60, 70, 80)
    )


def by_rows(
    data: bytes, geometry: Geometry, lengths: npt.NDArray[np.uint16], box: Box
) -> tuple[bytes, tuple[int, int]]:
    """Splice as ``threaded`` does, from the lengths of the MCU rows alone."""
    grid = (geometry.width, geometry.height, geometry.mcu_width, geometry.mcu_height, geometry.restart_interval)
    source = np.frombuffer(data, np.uint8)
    cut, x, y = splice_rows(source, int(geometry.offsets[0]), lengths, grid, box)
    return cut.tobytes(), (x, y)


def row_lengths(geometry: Geometry) -> npt.NDArray[np.uint16]:
    """Return the bytes of each MCU row, as a shard's index keeps them."""
    return np.diff(geometry.offsets[:: geometry.columns // geometry.restart_interval]).astype(np.uint16)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(1, 1), (17, 9), (333, 500), (640, 427)])
def test_the_rows_alone_give_the_same_splice(subsampling: str, size: tuple[int, int]) -> None:
    """The tiles within a row are found by their markers: same bytes, same place of the box."""
    data, geometry = tiled(CHINA.resize(size), subsampling)
    for box in random_boxes(*size, 60):
        assert by_rows(data, geometry, row_lengths(geometry), box) == splice(data, geometry, box)


@given(st.data())
@settings(max_examples=300)
def test_wrong_rows_or_damaged_files_give_nothing_or_bytes(data: st.DataObject) -> None:
    """Whatever an index claims and a file holds, nothing outside the file is read and nothing hangs."""
    right, geometry = tiled(COFFEE.resize((160, 96)), "420")
    damaged = bytearray(right)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    lengths = row_lengths(geometry)
    for _ in range(data.draw(st.integers(0, 2))):
        lengths[data.draw(st.integers(0, len(lengths) - 1))] = data.draw(st.integers(0, 65535))
    lengths = lengths[: data.draw(st.integers(len(lengths) - 1, len(lengths)))]
    kept = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    cut, (x, y) = by_rows(kept, geometry, lengths, (40, 30, 50, 40))

    assert cut == b"" or (cut.startswith(b"\xff\xd8") and cut.endswith(b"\xff\xd9") and 0 <= x < 48 and 0 <= y < 16)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 5, -5), (596, 0, 5, 5), (0, 396, 5, 5)])
def test_a_box_that_leaves_the_image_is_an_error(box: Box) -> None:
    """The message names the box and the image's size."""
    data, geometry = tiled(COFFEE, "420")

    with pytest.raises(SampleError, match=r"box \(.*\) is not within the image of 600 by 400 pixels"):
        splice(data, geometry, box)


def test_a_geometry_of_another_file_is_an_error() -> None:
    """A stale index gives a sentence with the command that renews it, not a broken image."""
    data, geometry = tiled(COFFEE, "420")
    wrong = [
        replace(geometry, width=599),
        replace(geometry, height=399),
        replace(geometry, restart_interval=1),
        replace(geometry, restart_interval=0),
        replace(geometry, offsets=geometry.offsets + np.uint32(1)),
        replace(geometry, offsets=geometry.offsets - geometry.offsets[0]),
        replace(geometry, offsets=geometry.offsets[:-1]),
        replace(geometry, offsets=geometry.offsets[::-1].copy()),
        replace(geometry, offsets=geometry.offsets[:0]),
        tiled(COFFEE.rotate(180), "420")[1],
    ]

    for other in wrong:
        with pytest.raises(SampleError, match="feedline shard --index-only"):
            splice(data, other, (300, 200, 200, 100))
    with pytest.raises(SampleError):
        splice(data[: len(data) // 2], geometry, (0, 300, 600, 100))


@given(st.data())
@settings(max_examples=300)
def test_damaged_files_and_offsets_give_bytes_or_an_error(data: st.DataObject) -> None:
    """Damage in the file or its index never crashes the process and never gives more than the file holds."""
    whole = bytearray(SMALL)
    offsets = SMALL_GEOMETRY.offsets.copy()
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for _ in range(data.draw(st.integers(0, 2))):
        offsets[data.draw(st.integers(0, len(offsets) - 1))] = data.draw(
            st.one_of(st.integers(0, 2**32 - 1), st.integers(0, len(whole) + 2))
        )
    try:
        cut, _ = splice(bytes(whole), replace(SMALL_GEOMETRY, offsets=offsets), (20, 20, 30, 30))
    except SampleError:
        return
    assert cut.startswith(b"\xff\xd8")
    assert cut.endswith(b"\xff\xd9")
    assert len(cut) <= len(whole)


SMALL = encode(COFFEE.resize((90, 60)), quality=85, restart_marker_blocks=2)
SMALL_GEOMETRY = read_geometry(SMALL)

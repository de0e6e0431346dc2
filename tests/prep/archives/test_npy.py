"""Images as arrays: what is written is numpy's own form, and what is read is nothing but an image."""

from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, strategies as st

from feedline.prep.archives import npy
from feedline.prep.images.opening import UNREADABLE, allowed_format, description, open_image, pixel_size
from feedline.prep.images.rgb import read_rgb

IMAGE = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)


def saved(array: np.ndarray) -> bytes:
    out = BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (375, 500), (3, 12345)])
def test_the_file_is_the_one_that_numpy_writes(shape: tuple[int, int]) -> None:
    """Byte for byte, with the pixels at a multiple of 64."""
    pixels = np.arange(3 * shape[0] * shape[1], dtype=np.uint8).reshape(*shape, 3)

    assert npy.to_npy(pixels) == saved(pixels)
    assert npy.first_pixel(npy.to_npy(pixels)) == npy.HEADER
    assert npy.HEADER % 64 == 0


def test_an_image_is_opened_as_all_images_are() -> None:
    data = npy.to_npy(IMAGE)

    assert np.array_equal(np.asarray(read_rgb(data)), IMAGE)
    assert (allowed_format(data), pixel_size(data), open_image(data).size) == ("NPY", (9, 6), (9, 6))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_other_versions_of_the_format_are_read(version: tuple[int, int]) -> None:
    """Their header is longer, so they are read in full and not by their place."""
    out = BytesIO()
    np.lib.format.write_array(out, IMAGE, version=version)

    assert np.array_equal(np.asarray(read_rgb(out.getvalue())), IMAGE)
    assert npy.first_pixel(out.getvalue()) == (npy.HEADER if version == (1, 0) else 0)


@pytest.mark.parametrize(
    "array",
    [
        IMAGE.astype(np.float32),
        IMAGE.transpose(2, 0, 1).copy(),
        IMAGE[..., 0].copy(),
        np.asfortranarray(IMAGE),
        np.zeros((0, 4, 3), np.uint8),
        np.array([print, None], object),
    ],
    ids=["floats", "planes first", "grey", "columns first", "empty", "objects"],
)
def test_other_arrays_are_refused_by_their_type(array: np.ndarray) -> None:
    """Objects would have to be unpickled, which runs code."""
    data = saved(array)

    assert "NumPy file" in description(data)
    with pytest.raises(UNREADABLE, match=r"NumPy file of .*reads arrays of uint8 \(height, width, 3\)"):
        open_image(data)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[:128]])
def test_a_file_of_another_size_is_damaged(change: object) -> None:
    """With both sizes in the message."""
    with pytest.raises(UNREADABLE, match=r"it has \d+ bytes, and 290 are needed for 9 x 6 pixels"):
        open_image(change(npy.to_npy(IMAGE)))  # type: ignore[operator]


@given(st.binary(max_size=140), st.integers(0, 127))
def test_a_damaged_header_raises_what_other_damage_raises(junk: bytes, place: int) -> None:
    """Never anything else, and never a call into what the header holds."""
    data = npy.to_npy(IMAGE)
    damaged = data[:place] + junk + data[place + len(junk) :]
    with suppress(UNREADABLE):
        open_image(damaged)
    assert npy.first_pixel(damaged) in (0, npy.HEADER)


def test_a_header_of_a_gigabyte_is_not_read() -> None:
    """The length in a header of version 2 has four bytes."""
    data = npy.MAGIC + b"\2\0" + (2**30).to_bytes(4, "little") + b"{" * 20_000

    assert npy.read_header(data) is None
    assert description(data) == "is a NumPy file whose header cannot be read"

"""The RGB pixels of images of every mode, against numbers that are known beforehand."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from feedline.prep.images.rgb import read_rgb
from feedline.prep.shards.encode import EncodeSpec, encode_image

from ..image_modes import MODES, SIDE, plain_pillow

# The modes that were right before: their pixels stay as they were.
WIDER = ("I", "F")


@pytest.mark.parametrize("mode", MODES)
def test_pixels_are_what_a_viewer_shows(mode: str) -> None:
    """No warning either: warnings are errors in the tests."""
    data, expected = MODES[mode](1)
    image = read_rgb(data)

    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.startswith((*WIDER, "La"))])
def test_modes_of_8_bits_keep_their_pixels(mode: str) -> None:
    data, expected = MODES[mode](1)

    assert np.array_equal(plain_pillow(data), expected)


@pytest.mark.parametrize("mode", MODES)
def test_resize_writes_the_same_pixels(mode: str) -> None:
    """As a JPEG of the best quality: within what its colour conversion rounds, in the middle of each patch."""
    data, expected = MODES[mode](32)
    found = encode_image(data, EncodeSpec(encode="resize", short_side=32 * SIDE, quality=100))
    pixels = np.asarray(Image.open(BytesIO(found.data)), np.int16)[16::32, 16::32]

    assert found.passed_through is None
    assert np.abs(pixels - expected).max() <= 2


def test_resize_makes_16_bits_smaller() -> None:
    """The average of a patch is the average of its levels, not white."""
    levels = np.full((64, 96), 30000, np.uint16)
    levels[:, :48] = 10000
    out = BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    found = encode_image(out.getvalue(), EncodeSpec(encode="resize", short_side=16, quality=100))
    pixels = np.asarray(Image.open(BytesIO(found.data)), np.int16)

    assert pixels.shape == (16, 24, 3)
    assert np.abs(pixels[:, :8] - (10000 >> 8)).max() <= 2
    assert np.abs(pixels[:, -8:] - (30000 >> 8)).max() <= 2

"""The fused decoder's pixels: libjpeg-turbo's and Pillow's, bit for bit, for every sampling and every place."""

import platform
from collections.abc import Callable

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings, strategies as st

from feedline.loaders.pixels.cuts import Cut
from feedline.loaders.pixels.fused.blocks.idct import invert
from feedline.loaders.pixels.fused.decode import decode_many
from feedline.loaders.pixels.fused.plan import FIELDS
from feedline.loaders.pixels.fused_calls import fit
from feedline.loaders.support.encoded import EncodedImage

from .images import (
    CHINA,
    SAMPLINGS,
    SCRATCH,
    SECOND,
    SIZE,
    Part,
    as_it_is,
    decoded,
    encoded,
    expected,
    plan_of,
    with_tiles,
)

FIRST_ROW = {0, 1, 5, 6, 14, 15, 27, 28}  # of a block, in zigzag order


def boxes(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Boxes of the sample's own size at all corners, and larger and smaller ones: no resize hides an error there."""
    right, bottom = width - SIZE, height - SIZE
    same = [(x, y, SIZE, SIZE) for x in (0, right // 2 + 1, right) for y in (0, bottom // 2 + 1, bottom)]
    return [*same, (0, 0, width, height), (3, 5, width - 4, height - 9), (width - 9, height - 7, 9, 7)]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", [(427, 640), (173, 90), (161, 41), (40, 129)])
@pytest.mark.parametrize("encode", [with_tiles, as_it_is])
def test_pixels_are_those_of_libjpeg_and_pillow(
    encode: Callable[[bytes], EncodedImage], sampling: str, size: tuple[int, int]
) -> None:
    """At image edges too, where MCUs are padded and chroma has no neighbour."""
    height, width = size
    image = encode(encoded(CHINA[-height:, -width:], sampling))
    for box in boxes(width, height):
        for flip in (False, True):
            part = Part(box, flip=flip)
            np.testing.assert_array_equal(decoded(image, part), expected(image, part))


@settings(max_examples=60)
@given(st.sampled_from(SAMPLINGS), st.integers(5, 300), st.integers(1, 300), st.integers(40, 99), st.data())
def test_pixels_of_any_size(sampling: str, width: int, height: int, quality: int, data: st.DataObject) -> None:
    """An image of any size, any part of it, resized to any size of which the sample is a part."""
    encode = data.draw(st.sampled_from([with_tiles, as_it_is]))
    image = encode(encoded(CHINA[:height, :width], sampling, quality))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    target = data.draw(st.integers(SIZE, 90)), data.draw(st.integers(SIZE, 90))
    offset = data.draw(st.integers(0, target[0] - SIZE)), data.draw(st.integers(0, target[1] - SIZE))
    part = Part(box, target, offset, data.draw(st.booleans()))

    np.testing.assert_array_equal(decoded(image, part), expected(image, part))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(5, 200), st.integers(1, 200)), max_size=7))
@settings(max_examples=40)
def test_images_that_are_decoded_at_the_same_time(kinds: list[tuple[int, bool, int, int]]) -> None:
    """Images without tiles are decoded two at a time: each has the pixels that it has alone."""
    images: list[EncodedImage] = []
    parts: list[Part] = []
    for sampling, tiled, width, height in kinds:
        jpeg = encoded(CHINA[:height, :width], SAMPLINGS[sampling])
        images.append(with_tiles(jpeg) if tiled else as_it_is(jpeg))
        parts.append(Part((width // 3, height // 4, width - width // 3, (height + 2) // 3)))
    plans = np.zeros((len(images), FIELDS), np.int64)
    for plan, image, part in zip(plans, images, parts, strict=True):
        plan[:] = plan_of(image, part)
    rows, taken = np.zeros((len(images), SIZE, SIZE, 3), np.uint8), np.zeros(len(images), np.uint8)
    decode_many(plans, False, SCRATCH, SECOND, rows.reshape(-1), taken)

    assert taken.all()
    for row, image, part in zip(rows, images, parts, strict=True):
        np.testing.assert_array_equal(row, expected(image, part))


def test_a_damaged_image_leaves_the_others_as_they_are() -> None:
    """Of images without tiles, which share their memory: cut short, with a marker too many, and with bits changed."""
    good = encoded(CHINA[:200, :300], "420")
    scan = good.index(b"\xff\xda") + 14
    bad = [
        good[:-500],
        good[:-500] + good[-2:],
        good[:scan] + b"\xff\xd0" + good[scan:],
        good[: scan + 900] + bytes(50) + good[scan + 950 :],
    ]
    images = [as_it_is(jpeg) for other in bad for jpeg in (good, other)]
    part = Part((10, 20, 200, 180))
    plans = np.concatenate([plan_of(image, part) for image in images])
    rows, taken = np.zeros((len(images), SIZE, SIZE, 3), np.uint8), np.zeros(len(images), np.uint8)
    decode_many(plans, False, SCRATCH, SECOND, rows.reshape(-1), taken)

    assert taken.tolist() == [1, 0] * len(bad)
    for row in rows[::2]:
        np.testing.assert_array_equal(row, expected(images[0], part))


def test_noise_has_the_same_pixels() -> None:
    """Noise of full contrast: every coefficient counts, and colours are clipped everywhere."""
    noise = np.random.default_rng(0).integers(0, 2, (96, 96, 3), np.uint8) * np.uint8(255)
    for quality in (1, 10, 100):
        image = with_tiles(encoded(noise, "420", quality))
        part = Part((17, 23, SIZE, SIZE))
        np.testing.assert_array_equal(decoded(image, part), expected(image, part))


@pytest.mark.parametrize("sampling", ["420", "444", "422", "440", "411"])
def test_the_planar_order_is_near(sampling: str) -> None:
    """Mean 0.5 and 27 grey levels at most; without a resize, only the rounding of colours is left."""
    image = with_tiles(encoded(CHINA, sampling))
    for box in boxes(640, 427):
        sample = decoded(image, Part(box), planar=True)
        assert sample is not None
        error = np.abs(sample.astype(int) - expected(image, Part(box)))
        assert error.mean() <= 0.5
        assert error.max() <= (27 if box[2:] != (SIZE, SIZE) else 3)


def test_images_that_the_decoder_does_not_take() -> None:
    """Wrong numbers of any kind: no crash, and the caller decodes such an image in another way."""
    image = with_tiles(encoded(CHINA[:60, :70], "420"))
    good = plan_of(image, Part((0, 0, 50, 40)))[0]
    for column in range(len(good)):
        if column in (0, 3):  # addresses
            continue
        for value in (-(2**62), -1, 0, 1, 65536, 2**31, 2**62):
            if column in (1, 4) and value > good[column]:  # lengths of the memory itself
                continue
            plan = good.copy()
            plan[column] = value
            row, taken = np.zeros(SIZE * SIZE * 3, np.uint8), np.zeros(1, np.uint8)
            decode_many(plan[None], False, SCRATCH, SECOND, row, taken)


def test_pixels_that_another_decoder_made_are_resized_alike() -> None:
    """So an image that the fused decoder leaves to others has the sample that it would have had."""
    image = with_tiles(encoded(CHINA, "444"))
    pixels = simplejpeg.decode_jpeg(image.data, "RGB")
    for box in boxes(640, 427):
        for flip in (False, True):
            row = np.zeros((SIZE, SIZE, 3), np.uint8)
            assert fit(pixels, Cut(image.data, (640, 427), box, 1, (SIZE, SIZE), (0, 0), flip), row)
            np.testing.assert_array_equal(row, decoded(image, Part(box, flip=flip)))


def test_extreme_blocks_saturate() -> None:
    """Coefficients beyond any image: 16 bits saturate between the passes, and 8 bits at the end."""
    work, out = np.zeros(512, np.int16), np.zeros(512, np.uint8)
    for value, level in ((2047, 255), (-2047, 0)):
        coefficients = np.zeros((64, 8), np.int16)
        coefficients[0] = value
        coefficients[1] = 1
        extreme = np.zeros(16, np.int32)
        invert(coefficients.reshape(-1), 0, np.full(512, 16, np.uint16), 0, work, extreme, out, 0, 64, False)
        assert (extreme[:8] < 0).all()  # of the even columns
        assert (out == level).all()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="libjpeg-turbo wraps differently elsewhere")
@pytest.mark.parametrize("sampling", ["420", "444", "gray"])
def test_extreme_coefficients_wrap_and_saturate_as_in_libjpeg(sampling: str) -> None:
    """Divisors of 255 on noise at quality 100: dequantised numbers leave the 16 bits that libjpeg-turbo has.

    Only the first row of a block stays: the decoder does not take images with extreme numbers there.
    """
    noise = np.random.default_rng(0).integers(0, 2, (64, 64, 3), np.uint8) * np.uint8(255)
    jpeg = bytearray(encoded(noise, sampling, 100))
    start = -1
    while (start := jpeg.find(b"\xff\xdb\x00\x43", start + 1)) >= 0:
        for i in set(range(64)) - FIRST_ROW:
            jpeg[start + 5 + i] = 255
    image = with_tiles(bytes(jpeg))

    part = Part((9, 11, SIZE, SIZE))
    np.testing.assert_array_equal(decoded(image, part), expected(image, part))


def test_an_image_without_its_own_memory_is_not_taken() -> None:
    """No tiles, an empty file."""
    image = with_tiles(encoded(CHINA[:60, :70], "420"))
    assert image.tiles is not None
    assert decoded(EncodedImage(image.data[:0], image.tiles), Part((0, 0, 50, 40))) is None
    assert decoded(EncodedImage(image.data, image.tiles._replace(interval=0)), Part((0, 0, 50, 40))) is None

"""The fused decoder at 1/2, 1/4 and 1/8, and with bicubic resizes: the pixels of libjpeg-turbo and Pillow, bit for bit.

At a smaller size the resize is that of ``dct_scaling``, in the order of its own code.
"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from feedline.loaders.pixels.cuts import Cut
from feedline.loaders.pixels.dct_scaling import dct_scale, dct_shift
from feedline.loaders.pixels.fused_calls import fit
from feedline.loaders.support.encoded import EncodedImage

from .images import CHINA, SAMPLINGS, SIZE, Part, as_it_is, decoded, encoded, expected, scaled, with_tiles


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("encode", [with_tiles, as_it_is])
def test_scaled_pixels_are_those_of_libjpeg(encode: Callable[[bytes], EncodedImage], shift: int, sampling: str) -> None:
    """Boxes of just the sample's size, where nothing hides an error, and larger ones, at all edges of odd sizes."""
    side = SIZE << shift
    for height, width in ((side + 1, side + 7), (side + 5 * (1 << shift), 2 * side - 3), (421, 639)):
        image = encode(encoded(CHINA[:height, :width], sampling))
        right, bottom = width - side, height - side
        boxes = [(x, y, side, side) for x in (0, right // 2 + 1, right) for y in (0, bottom // 2, bottom)]
        for box in [*boxes, (0, 0, width, height), (3, 1, width - 4, height - 1)]:
            part = Part(box, shift=shift, flip=box[0] > 0)
            np.testing.assert_array_equal(decoded(image, part), expected(image, part))


@settings(max_examples=60)
@given(st.sampled_from(SAMPLINGS), st.integers(1, 3), st.integers(20, 99), st.data())
def test_scaled_pixels_of_any_size(sampling: str, shift: int, quality: int, data: st.DataObject) -> None:
    """An image of any size, any part of it that is large enough, resized to any size of which the sample is a part."""
    side = SIZE << shift
    width, height = data.draw(st.integers(side, 640)), data.draw(st.integers(side, 420))
    encode = data.draw(st.sampled_from([with_tiles, as_it_is]))
    image = encode(encoded(CHINA[:height, :width], sampling, quality))
    left, top = data.draw(st.integers(0, width - side)), data.draw(st.integers(0, height - side))
    box = left, top, data.draw(st.integers(side, width - left)), data.draw(st.integers(side, height - top))
    target = data.draw(st.integers(SIZE, box[2] >> shift)), data.draw(st.integers(SIZE, box[3] >> shift))
    offset = data.draw(st.integers(0, target[0] - SIZE)), data.draw(st.integers(0, target[1] - SIZE))
    part = Part(box, target, offset, data.draw(st.booleans()), shift)

    np.testing.assert_array_equal(decoded(image, part), expected(image, part))


@pytest.mark.parametrize("sampling", ["420", "444", "440"])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_scaled_noise_has_the_same_pixels(sampling: str, shift: int) -> None:
    """Noise of full contrast: every coefficient counts, and samples are clipped everywhere."""
    noise = np.random.default_rng(0).integers(0, 2, (300, 290, 3), np.uint8) * np.uint8(255)
    for quality in (1, 10, 100):
        image = with_tiles(encoded(noise, sampling, quality))
        part = Part((17, 23, SIZE << shift, SIZE << shift), shift=shift)
        np.testing.assert_array_equal(decoded(image, part), expected(image, part))


def test_a_part_smaller_than_the_sample_is_not_scaled() -> None:
    """A plan that requests it is not taken, so that no resize enlarges a scaled image."""
    image = with_tiles(encoded(CHINA, "420"))

    assert decoded(image, Part((0, 0, 2 * SIZE - 1, 2 * SIZE), shift=1)) is None
    assert decoded(image, Part((0, 0, 2 * SIZE, 2 * SIZE), shift=1)) is not None
    assert decoded(image, Part((0, 0, 640, 427), shift=4)) is None


@given(st.tuples(*[st.integers(1, 3000)] * 2), st.tuples(*[st.integers(1, 400)] * 2))
def test_the_scale_of_a_plan_is_that_of_a_cut(crop: tuple[int, int], target: tuple[int, int]) -> None:
    """So an image that the compiled decoder does not take is decoded at the same size."""
    assert dct_scale((5, 7, *crop), target) == 1 << dct_shift(*crop, *target)


def test_scaled_pixels_that_another_decoder_made_are_resized_alike() -> None:
    """So an image that the fused decoder leaves to libjpeg-turbo has the sample that it would have had."""
    image = with_tiles(encoded(CHINA, "422"))
    for shift in (1, 2, 3):
        for box in ((0, 0, 640, 427), (5, 3, 300, 270), (341, 160, 299, 267)):
            row = np.zeros((SIZE, SIZE, 3), np.uint8)
            cut = Cut(image.data, (640, 427), box, 1 << shift, (SIZE, SIZE), (0, 0), True)
            assert fit(scaled(image, shift), cut, row)
            np.testing.assert_array_equal(row, decoded(image, Part(box, flip=True, shift=shift)))


@settings(max_examples=40)
@given(st.sampled_from(SAMPLINGS), st.integers(5, 300), st.integers(1, 300), st.data())
def test_bicubic_pixels_of_any_size(sampling: str, width: int, height: int, data: st.DataObject) -> None:
    """Larger and smaller ones; the weights are negative at places, and each pass is clipped."""
    encode = data.draw(st.sampled_from([with_tiles, as_it_is]))
    image = encode(encoded(CHINA[:height, :width], sampling))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    target = data.draw(st.integers(SIZE, 90)), data.draw(st.integers(SIZE, 90))
    part = Part(box, target, (target[0] - SIZE, 0), data.draw(st.booleans()), cubic=True)

    np.testing.assert_array_equal(decoded(image, part), expected(image, part))


def test_bicubic_pixels_of_black_and_white_are_clipped() -> None:
    """Noise of full contrast overshoots in both directions."""
    noise = np.random.default_rng(1).integers(0, 2, (200, 200, 3), np.uint8) * np.uint8(255)
    image = with_tiles(encoded(noise, "444", 100))
    for box in ((0, 0, 200, 200), (9, 9, 20, 20), (50, 3, 150, 40)):
        part = Part(box, cubic=True)
        np.testing.assert_array_equal(decoded(image, part), expected(image, part))

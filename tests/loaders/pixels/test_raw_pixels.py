"""Raw images in compiled code: the samples are Pillow's for every size and crop, and nothing but an image is taken."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st

from feedline.loaders import LoaderSpec
from feedline.loaders.pixels.crops import draw_crops
from feedline.loaders.pixels.fused.plan import SIZE
from feedline.loaders.pixels.fused_calls import decode_rows, plan_images
from feedline.loaders.pixels.reference import read_pixels
from feedline.loaders.support.encoded import EncodedImage
from feedline.prep.archives import npy

U8 = npt.NDArray[np.uint8]
GUARD = 4096  # bytes on each side of the rows


def encoded(data: bytes) -> EncodedImage:
    return EncodedImage(np.frombuffer(data, np.uint8), None)


def taken(images: list[bytes], spec: LoaderSpec, draws: npt.NDArray[np.float64]) -> tuple[U8, list[int]]:
    """Return the rows, and which images were not taken; the memory around the rows must stay as it was."""
    size, held = spec.image_size, [encoded(data) for data in images]
    memory = np.full(2 * GUARD + len(images) * size * size * 3, 173, np.uint8)
    rows = memory[GUARD:-GUARD].reshape(len(images), size, size, 3)
    left = decode_rows(plan_images(held), draws, rows, spec)
    assert (memory[:GUARD] == 173).all() and (memory[-GUARD:] == 173).all()
    return rows, left


@settings(max_examples=60)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(2, 40), st.booleans(), st.integers(0, 99))
def test_every_size_and_crop_is_pillows(width: int, height: int, size: int, train: bool, seed: int) -> None:
    """Within one level, as for JPEGs: Pillow chooses which direction it resizes first."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    spec = LoaderSpec(root=Path(), image_size=size, transform="train" if train else "eval")
    draws = draw_crops(np.array([seed]), seed=1, epoch=0) if train else np.empty((1, 0))
    data = npy.to_npy(pixels)
    rows, left = taken([data], spec, draws)
    expected = read_pixels(data, draws[0].tolist(), spec)

    assert left == []
    assert np.abs(rows[0].astype(int) - expected.astype(int)).max() <= 1


@given(st.integers(0, 127), st.integers(0, 255))
def test_one_other_byte_in_the_header_is_not_taken(place: int, value: int) -> None:
    """Neither is a shorter or a longer file. What is taken beside them stays right."""
    good = npy.to_npy(np.full((20, 30, 3), 7, np.uint8))
    bad = good[:place] + bytes([value]) + good[place + 1 :]
    spec = LoaderSpec(root=Path(), image_size=8, transform="eval")
    rows, left = taken([good, bad, good[:-1], good + b"\0", good], spec, np.empty((5, 0)))

    assert left == ([2, 3] if bad == good else [1, 2, 3])
    assert (rows[[0, 4]] == 7).all()


@pytest.mark.parametrize("change", [-1, 1, 300, -1790])
def test_an_index_with_another_size_is_not_taken(change: int) -> None:
    """The place of an image comes from the index, and its header has to agree with it."""
    data = npy.to_npy(np.zeros((20, 30, 3), np.uint8))
    plans = plan_images([EncodedImage(np.frombuffer(data + bytes(300), np.uint8)[: len(data)], None)])
    plans[0, SIZE] += change
    draws = draw_crops(np.zeros(1, np.int64), seed=1, epoch=0)
    spec = LoaderSpec(root=Path(), image_size=8)

    assert decode_rows(plans, draws, np.empty((1, 8, 8, 3), np.uint8), spec) == [0]

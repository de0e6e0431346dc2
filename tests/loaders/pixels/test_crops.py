"""The crop plan follows torchvision's RandomResizedCrop in distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from feedline.loaders.pixels.crops import draw_crops, eval_offset, eval_size, train_crop
from feedline.prep import permutation, uniforms

COUNT = 4000


@pytest.mark.parametrize(("width", "height"), [(500, 375), (333, 500), (64, 64), (1200, 100), (30, 400)])
def test_boxes_are_distributed_as_torchvision_distributes_them(width: int, height: int) -> None:
    """Left, top, width and height: the largest gap between the two empirical distributions is that of chance."""
    torch.manual_seed(0)
    image = Image.new("RGB", (width, height))
    theirs = np.array([RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(COUNT)])
    draws = draw_crops(np.arange(COUNT), seed=0, epoch=0).tolist()
    ours = np.array([(c.top, c.left, c.height, c.width) for c in (train_crop(row, width, height) for row in draws)])
    # Two-sample Kolmogorov-Smirnov, critical value at 0.1 %; both samples are fixed by their seeds.
    limit = 1.95 * np.sqrt(2 / COUNT)
    for column in range(4):
        values = np.union1d(theirs[:, column], ours[:, column])
        gap = np.searchsorted(np.sort(theirs[:, column]), values, "right") - np.searchsorted(
            np.sort(ours[:, column]), values, "right"
        )

        assert np.abs(gap).max() / COUNT < limit


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**40), st.integers(0, 2**31), st.integers(0, 90))
def test_a_box_always_lies_inside_the_image(width: int, height: int, index: int, seed: int, epoch: int) -> None:
    """For any size, also where all ten tries miss."""
    crop = train_crop(draw_crops(np.array([index]), seed=seed, epoch=epoch)[0].tolist(), width, height)

    assert crop.width > 0
    assert crop.height > 0
    assert 0 <= crop.left <= crop.left + crop.width <= width
    assert 0 <= crop.top <= crop.top + crop.height <= height


def test_half_of_the_samples_are_flipped() -> None:
    """Within five standard deviations, for a fixed seed."""
    flips = sum(train_crop(row, 100, 100).flip for row in draw_crops(np.arange(COUNT), seed=1, epoch=0).tolist())

    assert abs(flips - COUNT / 2) < 5 * np.sqrt(COUNT / 4)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (64, 64), (501, 333)])
@pytest.mark.parametrize("image_size", [64, 112, 224])
def test_the_eval_size_is_torchvisions(size: tuple[int, int], image_size: int) -> None:
    """Resize(size * 256 / 224) then CenterCrop(size), on the same image."""
    from torchvision.transforms import v2

    resized = v2.functional.resize(Image.new("RGB", size), [round(image_size * 256 / 224)])
    assert eval_size(*size, image_size) == resized.size
    assert eval_offset(resized.width, image_size) == round((resized.width - image_size) / 2.0)


def test_random_numbers_depend_on_their_purpose_only() -> None:
    """A sample's draws do not change with the batch it is in; seeds, epochs and samples give others."""
    together = uniforms(np.arange(10), 5, 1, 2)
    alone = np.concatenate([uniforms(np.array([index]), 5, 1, 2) for index in range(10)])

    assert np.array_equal(together, alone)
    assert len(np.unique(together)) == together.size
    assert not np.array_equal(together, uniforms(np.arange(10), 5, 1, 3))
    assert not np.array_equal(together, uniforms(np.arange(10), 5, 2, 2))


def test_draws_are_uniform_and_uncorrelated() -> None:
    """Mean, variance and neighbour correlation of 200,000 draws lie within five standard errors."""
    draws = uniforms(np.arange(50_000), 4, 7)

    assert abs(draws.mean() - 0.5) < 5 / np.sqrt(12 * draws.size)
    assert abs(draws.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / draws.size)
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 5 / np.sqrt(draws.size)


def test_a_permutation_is_the_same_for_ever() -> None:
    """Shards and resumes of years ago stay readable: the numbers are written down here."""
    assert permutation(10, 1, 2).tolist() == [7, 5, 2, 8, 9, 0, 3, 6, 1, 4]
    assert sorted(permutation(1000, 9)) == list(range(1000))

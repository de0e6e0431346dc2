"""Each appearance of a chosen sample has a crop of its own, and comes as often as its weight says."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feedline.loaders import Loader, open_loader

from ..contract import open_named, spec_of
from .choices import SAMPLES, WEIGHTS, appearances, indexes_of, rows_of


def test_a_chosen_sample_has_the_crops_that_it_has_in_the_whole_split(
    name: str, root: Path, opened: list[Loader]
) -> None:
    """So choosing changes nothing else; the first of its appearances too."""
    for fields in ({"classes": [1]}, {"repeat": 3}):
        if name == "webdataset" and "repeat" in fields:
            continue
        opened += [open_named(name, spec_of(root)), open_named(name, spec_of(root, **fields))]
        whole = dict(rows_of(opened[-2]))
        for index, image in reversed(rows_of(opened[-1])):
            whole[-1 - index] = image  # the first appearance stays
        assert all(torch.equal(whole[index], whole[-1 - index]) for index in range(SAMPLES) if -1 - index in whole)


@pytest.mark.parametrize("fields", [{"indices": [7] * 4}, {"sampler": [7] * 4}, {"repeat": 4, "indices": [7, 7, 7, 7]}])
def test_each_appearance_of_a_sample_has_a_crop_of_its_own(
    in_any_order: str, fields: dict[str, Any], root: Path, opened: list[Loader]
) -> None:
    """In one batch and over ranks."""
    seen = Counter[tuple[int, bytes]]()
    for rank in range(2):
        opened.append(open_named(in_any_order, spec_of(root, rank=rank, world_size=2, **fields)))
        seen += appearances(iter(rows_of(opened[-1])))
    assert len(seen) == 4 and {index for index, _ in seen} == {7}


def with_noise(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return image.float() + torch.rand(image.shape, generator=generator)


def test_each_appearance_of_a_sample_has_a_sample_transform_of_its_own(
    in_any_order: str, root: Path, opened: list[Loader]
) -> None:
    """Its generator is seeded by the appearance, also if nothing is cropped; the first is that of the sample alone."""
    fields = {"transform": "eval", "shuffle": False, "sample_transform": with_noise}
    opened += [open_named(in_any_order, spec_of(root, indices=indices, **fields)) for indices in ([7] * 4, [7])]
    found, alone = rows_of(opened[0]), rows_of(opened[1])
    assert len(appearances(iter(found))) == 4
    assert torch.equal(found[0][1], alone[0][1])


def test_repeated_samples_are_spread_over_epochs_and_ranks(root: Path, opened: list[Loader]) -> None:
    """Three epochs together have each sample three times; the copies of one go to different ranks."""
    seen = [list[list[int]]() for _ in range(3)]
    for rank in range(3):
        opened.append(open_loader("threaded", spec_of(root, repeat=3, rank=rank, world_size=3)))
        for epoch in range(3):
            seen[epoch].append(indexes_of(opened[-1]))
    assert all(ranks[0] == ranks[1] == ranks[2] for ranks in seen)  # 84 is a multiple of 3
    assert all(len(set(ranks[0])) == len(ranks[0]) == 28 for ranks in seen)
    assert sorted(index for ranks in seen for index in ranks[0]) == list(range(SAMPLES))


def test_weighted_samples_come_as_often_as_they_should(root: Path, opened: list[Loader]) -> None:
    """Never without weight, and by chi-square over 20 epochs of a fixed seed in proportion to it."""
    opened.append(open_loader("threaded", spec_of(root, weights=WEIGHTS, image_size=8)))
    seen = Counter(index for _ in range(20) for index in indexes_of(opened[-1]))
    expected = {index: 20 * SAMPLES * weight / sum(WEIGHTS) for index, weight in enumerate(WEIGHTS) if weight}

    assert set(seen) <= set(expected) and sum(seen.values()) == 20 * SAMPLES
    assert 35 < sum((seen[index] - mean) ** 2 / mean for index, mean in expected.items()) < 96  # 62 degrees: 0.5 %


def test_class_balanced_weights(root: Path, opened: list[Loader]) -> None:
    """As the documentation shows them: of three classes of 21, 7 and 1 samples, each comes a third of the time."""
    opened.append(open_loader("threaded", spec_of(root)))
    labels = opened[-1].dataset.labels
    assert labels.dtype == np.int64 and labels.tolist() == [index // 21 for index in range(SAMPLES)]
    indices = [*range(21), *range(21, 28), 63]
    counts = np.bincount(labels[indices], minlength=4)
    weights = 1 / np.maximum(counts, 1)[labels]
    opened.append(open_loader("threaded", spec_of(root, indices=indices, weights=weights, image_size=8)))
    seen = Counter(label for _ in range(20) for batch in opened[-1] for label in batch.labels.tolist())
    assert sum(seen.values()) == 20 * 29
    assert all(150 < seen[label] < 237 for label in (0, 1, 3))  # 193 each, within 4 standard deviations

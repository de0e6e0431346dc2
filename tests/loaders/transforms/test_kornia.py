"""kornia's transforms in a loader: their numbers depend on the seed, the epoch and the samples only."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.loaders import Loader

from ..contract import open_named, spec_of

kornia = pytest.importorskip("kornia.augmentation", reason="kornia is not installed: pip install 'feedline[loops]'")
auto = pytest.importorskip("kornia.augmentation.auto")

Transform = Callable[..., Any]


def of_images(*parts: Any) -> Transform:
    """Return a batch transform of the images alone, from uint8 to floats of 0 to 1."""
    together = kornia.AugmentationSequential(*parts, data_keys=["input"])
    return lambda images, labels: (together(images / 255), labels)


def mixing(mixer: Any) -> Transform:
    """Return a batch transform that mixes; the labels become (N, 3): two classes and the share of the second."""
    return lambda images, labels: mixer(images / 255, labels)


BATCHES: dict[str, Transform] = {
    "RandAugment": of_images(auto.RandAugment(2, 9)),
    "TrivialAugment": of_images(auto.TrivialAugment()),
    "several": of_images(
        kornia.ColorJitter(0.4, 0.4, 0.4, 0.1), kornia.RandomAffine(20), kornia.RandomGaussianNoise(p=0.5)
    ),
    "MixUp": mixing(kornia.RandomMixUpV2(data_keys=["input", "class"])),
}


def drawn(loader: Loader) -> list[torch.Tensor]:
    return [tensor for batch in loader for tensor in (batch.images, batch.labels)]


@pytest.mark.parametrize("transform", BATCHES.values(), ids=BATCHES)
def test_batch_transforms_do_not_depend_on_workers_or_resumes(
    transform: Transform, root: Path, opened: list[Loader]
) -> None:
    """The batches are equal, bit for bit; another epoch has others, and the global generator stays where it is."""
    opened += [open_named("threaded", spec_of(root, workers=w, batch_transform=transform)) for w in (0, 2, 2)]
    alone, ahead, resumed = opened
    before = torch.random.get_rng_state()
    wanted, found = drawn(alone), drawn(ahead)
    again = drawn(ahead)
    batches = iter(alone)
    for _ in range(3):
        next(batches)
    resumed.load_state_dict(json.loads(json.dumps(alone.state_dict())))

    assert all(map(torch.equal, wanted, found))
    assert not all(map(torch.equal, wanted, again))
    assert all(map(torch.equal, again[6:], drawn(resumed)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_sample_transform_keeps_the_dimensions(root: Path, opened: list[Loader]) -> None:
    """With keepdim=True; threads that share the modules do not disturb one another."""
    together = kornia.AugmentationSequential(
        kornia.ColorJitter(0.4, 0.4, 0.4, 0.1), kornia.RandomAffine(20), data_keys=["input"], keepdim=True
    )
    fields = {"sample_transform": lambda image: together(image / 255)}
    opened += [open_named("threaded", spec_of(root, workers=w, **fields)) for w in (0, 3)]
    alone, threads = map(drawn, opened)

    assert alone[0].shape == (10, 3, 32, 32)
    assert all(map(torch.equal, alone, threads))

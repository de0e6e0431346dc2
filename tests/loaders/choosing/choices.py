"""The ways to choose samples that the tests here share, and what is read of a loader."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import RandomSampler, Sampler, WeightedRandomSampler

from feedline.loaders import Batch, Loader

from ..contract import COVERING, open_named, require_loader, spec_of

SAMPLES = 84
ODD = list(range(1, SAMPLES, 2))
PRIMES = [83, 2, 61, 3, 5, 7, 47, 11, 13, 79, 17, 19, 23, 29, 31, 37, 41, 43, 53, 59, 67, 71, 73]  # in no order
WEIGHTS = [index % 4 for index in range(SAMPLES)]  # a quarter has none
ANY_ORDER = [name for name in COVERING if name != "webdataset"]

Rows = list[tuple[int, torch.Tensor]]


class EpochSampler(Sampler[int]):
    """A sampler whose order depends on ``set_epoch``, as that of DistributedSampler does."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter([(index * 5 + self.epoch) % SAMPLES for index in range(33)])


# Each way to choose: the fields, and how often each sample comes in an epoch, if that is certain.
CHOICES: dict[str, tuple[dict[str, Any], list[int] | None]] = {
    "indices": ({"indices": PRIMES}, PRIMES),
    "a mask": ({"indices": np.isin(np.arange(SAMPLES), PRIMES)}, PRIMES),
    "classes": ({"classes": [1, 3]}, [*range(21, 42), *range(63, 84)]),
    "both": ({"classes": [0, 2], "indices": PRIMES}, [2, 3, 5, 7, 11, 13, 17, 19, 43, 47, 53, 59, 61]),
    "duplicates": ({"indices": PRIMES * 2}, PRIMES * 2),
    "weights": ({"weights": WEIGHTS}, None),
    "weighted classes": ({"weights": WEIGHTS, "classes": [1]}, None),
    "repeat": ({"repeat": 3}, None),
    "repeated weights": ({"repeat": 3, "weights": WEIGHTS, "indices": PRIMES}, None),
    "a list as sampler": ({"sampler": PRIMES * 2}, PRIMES * 2),
    "RandomSampler": ({"sampler": RandomSampler(range(SAMPLES))}, list(range(SAMPLES))),
    "WeightedRandomSampler": ({"sampler": WeightedRandomSampler(WEIGHTS, 50)}, None),
    "a sampler without length": ({"sampler": EpochSampler()}, None),
}
SETS = ("indices", "a mask", "classes", "both")
CASES = [(name, what) for name in COVERING for what in CHOICES if name != "webdataset" or what in SETS]


def rows_of(batches: Iterator[Batch] | Loader) -> Rows:
    return [row for batch in batches for row in zip(batch.indexes.tolist(), batch.images, strict=True)]


def indexes_of(batches: Iterator[Batch] | Loader) -> list[int]:
    return [index for batch in batches for index in batch.indexes.tolist()]


def open_choice(name: str, what: str, root: Path, opened: list[Loader], **changes: Any) -> Loader:
    opened.append(open_named(require_loader(name), spec_of(root, **CHOICES[what][0], **changes)))
    return opened[-1]


def appearances(rows: Iterator[tuple[int, torch.Tensor]]) -> Counter[tuple[int, bytes]]:
    """Count the different pixels of each sample."""
    return Counter((index, image.contiguous().numpy().tobytes()) for index, image in rows)

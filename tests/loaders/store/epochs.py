"""Epochs of roots, as values that tests compare, and what a cache holds."""

import json
import os
from pathlib import Path
from typing import Any

from feedline.loaders import LoaderSpec, open_loader

Epoch = list[tuple[list[int], list[int], int]]


def epoch_of(root: Any, name: str = "threaded", **fields: Any) -> Epoch:
    """Return the batches of one epoch: sample indexes, labels, and the sum of all pixels."""
    spec = LoaderSpec.train(root, **{"batch_size": 8, "image_size": 32, "drop_last": False, **fields})
    with open_loader(name, spec) as loader:
        return [(batch.indexes.tolist(), batch.labels.tolist(), int(batch.images.sum())) for batch in loader]


def shards_in(cache: Path) -> list[Path]:
    """Return the shards in a cache."""
    return sorted(cache.glob("roots/*/shards/*.tar"))


def leased(cache: Path) -> list[str]:
    """Return the files that this process uses."""
    (lease,) = (cache / "leases").glob(f"{os.getpid()}-*.json")
    return json.loads(lease.read_text())

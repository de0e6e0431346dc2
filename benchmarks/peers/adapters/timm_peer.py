"""timm's WebDataset reader with timm's own transforms and loader, as its training script combines them.

The reader yields one number with each image, from the shard's ``.cls``. Here that is the sample's index, and the label
is looked up. In training it fills the last batch of every worker with repeated samples.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from torch.utils.data import default_collate

from ....loaders import LoaderSpec
from ....prep.roots.samples import Sample
from .epochs import Item, PeerEpochs

PER_SHARD = 64  # ImageNet's shards hold 1000 and more; each worker needs a shard, also of a small data set


def convert(samples: Sequence[Sample], place: Path) -> None:
    """Write shards and timm's ``_info.json`` into ``place``, in random order because the reader's shuffle is local."""
    order = np.random.default_rng(0).permutation(len(samples)).tolist()
    parts = [order[first : first + PER_SHARD] for first in range(0, len(order), PER_SHARD)]
    names = [f"train-{number:06d}.tar" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        with tarfile.open(place / name, "w") as shard:
            for index in part:
                _add(shard, f"{index:08d}.jpg", samples[index].path.read_bytes())
                _add(shard, f"{index:08d}.cls", str(index).encode("ascii"))
    train = {
        "name": "train",
        "num_samples": len(samples),
        "filenames": names,
        "shard_lengths": [len(part) for part in parts],
    }
    (place / "_info.json").write_text(json.dumps({"splits": {"train": train}}), encoding="utf-8")


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    shard.addfile(info, io.BytesIO(data))


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return timm's epochs over its shards."""
    dataset: Any = create_dataset(
        "wds/feedline", root=str(place), split="train", is_training=True, batch_size=spec.batch_size, seed=spec.seed
    )
    loader: Any = create_loader(
        dataset,
        input_size=(3, spec.side, spec.side),
        batch_size=spec.batch_size,
        is_training=True,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        hflip=0.5,
        color_jitter=cast(Any, None),
        interpolation="bilinear",
        num_workers=spec.workers,
        persistent_workers=spec.workers > 0,
        collate_fn=_collate,
        device=torch.device("cpu"),
    )
    labels = torch.tensor([sample.label for sample in samples])

    def begin(epoch: int) -> Iterator[Item]:
        dataset.set_epoch(epoch)
        for images, indexes in loader.loader:  # without timm's prefetcher, which makes floats of it for the device
            yield images, labels[indexes], indexes

    return PeerEpochs(begin)


def _collate(rows: list[tuple[torch.Tensor, int]]) -> Any:
    """Stack uint8 (3, H, W) tensors to (N, H, W, 3), in the workers and not in the caller's thread."""
    return default_collate([(image.permute(1, 2, 0), index) for image, index in rows])

"""Grain as in its guide for map-style data: ArrayRecord, shuffle, random_map, batch, mp_prefetch.

Grain has no transforms for images. Pillow decodes, and torchvision crops, as for the other peers with PyTorch.
"""

# pyright: reportMissingImports=false
# The library is installed in this peer's own environment, and not where the code is checked.

import io
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import grain
import numpy as np
import torch
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from ....loaders import LoaderSpec
from ....prep.images.opening import FORMATS
from ....prep.roots.samples import Sample
from .crops import crop_and_flip
from .epochs import Item, PeerEpochs

FILE = "images.array_record"
AHEAD = 2  # batches that wait in each worker, as in torch's DataLoader
HEADER = 16  # label and index, int64 each, before the JPEG


def convert(samples: Sequence[Sample], place: Path) -> None:
    """Write ``place/images.array_record`` with one record per group, the size for random access."""
    writer: Any = ArrayRecordWriter(str(place / FILE), "group_size:1")
    for index, sample in enumerate(samples):
        writer.write(np.array([sample.label, index], "<i8").tobytes() + sample.path.read_bytes())
    writer.close()


class _Crop:
    """Converts a record to a sample; a class, so that it can be sent to worker processes."""

    def __init__(self, size: int) -> None:
        self._crop = crop_and_flip(size)

    def __call__(self, record: bytes, random: np.random.Generator) -> dict[str, Any]:
        torch.manual_seed(
            int(random.integers(2**63))
        )  # torchvision draws from torch's generator, and Grain passes each sample its own
        label, index = np.frombuffer(record[:HEADER], "<i8")
        with Image.open(io.BytesIO(record[HEADER:]), formats=FORMATS) as opened:
            image = self._crop(opened.convert("RGB"))
        return {"image": np.ascontiguousarray(image), "label": label, "index": index}


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return Grain's epochs over the converted file."""
    source: Any = grain.sources.ArrayRecordDataSource([str(place / FILE)])
    rows: Any = grain.MapDataset.source(source).seed(spec.seed).shuffle().random_map(_Crop(spec.side))
    # Repeated without end: worker processes then outlive an epoch, and each epoch has a new order and new crops.
    batches: Any = rows.batch(spec.batch_size, drop_remainder=False).repeat()
    reading = grain.ReadOptions(num_threads=min(spec.workers, 1), prefetch_buffer_size=min(spec.workers, 1) * AHEAD)
    batches = batches.to_iter_dataset(reading)
    if spec.workers:
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=spec.workers, per_worker_buffer_size=AHEAD)
        )
    endless: Any = iter(batches)

    def begin(epoch: int) -> Iterator[Item]:
        for batch in islice(endless, math.ceil(len(samples) / spec.batch_size)):
            images, labels, indexes = (torch.from_numpy(batch[name]) for name in ("image", "label", "index"))
            yield images, labels, indexes

    return PeerEpochs(begin)

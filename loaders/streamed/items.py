"""What a worker sends for a turn of a stream: pixels, labels and indexes, and how turns become batches."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch

from ..pixels.reference import Pixels
from ..spec import LoaderSpec
from ..support.damage import DamagedSample
from ..transforms.calls import Raised
from ..transforms.samples import SampleTransform, join

Images = torch.Tensor | list[torch.Tensor]  # (N, H, W, 3), N images (H, W, 3), or what the sample transform made
Item = tuple[Images, torch.Tensor, torch.Tensor]  # images, labels (N,), indexes (N,)
Answer = tuple[Item | None, Sequence[DamagedSample | Raised]]  # None if a turn is over; a damaged sample stays in place


class Filling:
    """The images of a batch while they are read."""

    def __init__(self, count: int, spec: LoaderSpec, transform: SampleTransform | None) -> None:
        self._transform = transform
        self._rows = transform.rows(count) if transform else None
        self._images: Images | None = None
        if transform is None and spec.image_size is None:
            self._images = [torch.zeros((1, 1, 3), dtype=torch.uint8, device="cpu")] * count
        elif transform is None:
            self._images = torch.empty((count, spec.side, spec.side, 3), dtype=torch.uint8, device="cpu")

    def put(self, row: int, pixels: Pixels, seed: int, name: Callable[[], str]) -> None:
        """Add one sample, transformed. Raises TransformError."""
        if self._transform and self._rows:
            self._rows.put(row, self._transform(pixels, seed, name), name)
        elif self._images is not None:
            self._images[row] = torch.from_numpy(pixels)

    def images(self) -> Images:
        """Return the batch's images."""
        if self._rows:
            return self._rows.tensor()
        assert self._images is not None
        return self._images


def rebatch(items: Iterator[Item], batch_size: int) -> Iterator[Item]:
    """Yield the samples of ``items`` in batches of ``batch_size``, the last one smaller; whole items are not copied."""
    pending: list[Item] = []
    for item in items:
        pending.append(item)
        while sum(len(indexes) for _, _, indexes in pending) >= batch_size:
            batch, rest = _split(_joined(pending), batch_size)
            pending = [rest] if len(rest[2]) else []
            yield batch
    if pending:
        yield _joined(pending)


def _joined(items: list[Item]) -> Item:
    if len(items) == 1:
        return items[0]
    parts, labels, indexes = zip(*items, strict=True)
    images = join(parts) if isinstance(parts[0], torch.Tensor) else list(chain.from_iterable(parts))
    return images, torch.cat(labels), torch.cat(indexes)


def _split(item: Item, count: int) -> tuple[Item, Item]:
    images, labels, indexes = item
    return (images[:count], labels[:count], indexes[:count]), (
        images[count:],
        labels[count:],
        indexes[count:],
    )

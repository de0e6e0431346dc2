"""``Batch``: the images, labels and sample indexes that a loader yields at a time.

A batch is checked when it is made, so that a backend cannot return another layout or another dtype unnoticed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch

from ..prep import LoaderError


@dataclass(frozen=True)
class Batch:
    """One batch: N images, their labels and their sample indexes. It unpacks as ``images, labels = batch``.

    N is the batch size and at least 1. It is smaller in an epoch's last batch and after damaged samples were skipped.
    """

    images: torch.Tensor
    """uint8 (N, 3, H, W), RGB, channels_last in memory, on the spec's device."""
    labels: torch.Tensor
    """int64 (N,): class indexes, on the spec's device."""
    indexes: torch.Tensor
    """int64 (N,), on the CPU: position of each sample in the split, sorted by class index, then by file name."""
    columns: Mapping[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    """The values of ``LoaderSpec.columns``, by name: N JSON values each, None if a sample has none."""
    key_of: Callable[[int], str] | None = field(default=None, repr=False, compare=False)
    """Returns the key of a sample index; see ``keys``."""

    def __post_init__(self) -> None:
        count = len(self.indexes)
        if self.images.dtype != torch.uint8 or self.images.shape[:2] != (count, 3):
            raise LoaderError(f"images must be uint8 ({count}, 3, H, W), got {_describe(self.images)}")
        if not self.images.is_contiguous(memory_format=torch.channels_last):
            raise LoaderError("images must be channels_last in memory")
        for name, values in (("labels", self.labels), ("indexes", self.indexes)):
            if values.dtype != torch.int64 or values.shape != (count,):
                raise LoaderError(f"{name} must be int64 ({count},), got {_describe(values)}")
        for name, values in self.columns.items():
            if len(values) != count:
                raise LoaderError(f"the column {name!r} must have {count} values, got {len(values)}")

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yield the images, then the labels, as a tuple of torch's DataLoader does."""
        yield self.images
        yield self.labels

    @property
    def keys(self) -> list[str]:
        """The key of each sample: its name in a shard, or that of its file without the extension."""
        if self.key_of is None:
            raise LoaderError("this batch was not made by a loader, so its samples have no keys")
        return [self.key_of(index) for index in self.indexes.tolist()]

    def to(self, device: str | torch.device, *, non_blocking: bool = False) -> Self:
        """Return the batch with images and labels on ``device``. The indexes stay on the CPU."""
        images, labels = (part.to(device, non_blocking=non_blocking) for part in (self.images, self.labels))
        return replace(self, images=images, labels=labels)

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory, from which a copy to a GPU can run beside other work."""
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())

    def contiguous(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images uint8 (N, 3, H, W), contiguous in this order, and labels: for code that calls ``view``.

        The images are copied. A convolution of a GPU reads channels_last faster.
        """
        return self.images.contiguous(), self.labels


def to_batch(images: torch.Tensor, labels: torch.Tensor, indexes: torch.Tensor, device: str) -> Batch:
    """Return a Batch on ``device`` from images uint8 (N, H, W, 3), labels int64 (N,), indexes int64 (N,).

    Pinned memory is copied asynchronously, on the current stream. The channels_last layout costs nothing, because it
    is (N, H, W, 3) with other strides.
    """
    images, labels = (tensor.to(device, non_blocking=True) for tensor in (images, labels))
    return Batch(images.permute(0, 3, 1, 2), labels, indexes)


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

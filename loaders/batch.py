"""``Batch``: the images, labels and sample indexes that a loader yields at a time.

A batch is checked when it is made, so that a backend cannot return another layout or another dtype unnoticed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import torch

from ..prep import LoaderError


@dataclass(frozen=True)
class Batch:
    """One batch: N images, their labels and their sample indexes. It unpacks as ``images, labels = batch``.

    N is the batch size. It is smaller in an epoch's last batch and after damaged samples were skipped. It is 0 only if
    the spec has ``empty_batches``.
    """

    images: torch.Tensor
    """uint8 (N, 3, H, W), RGB, channels_last in memory, on the spec's device; or what the spec's transforms made.

    With ``image_size=None`` and without transforms, a list of N tensors uint8 (3, H, W).
    """
    labels: torch.Tensor
    """int64 (N,): class indexes, on the spec's device; or what ``batch_transform`` made, such as floats (N, C)."""
    indexes: torch.Tensor
    """int64 (N,), on the CPU: position of each sample in the split, sorted by class index, then by file name."""
    columns: Mapping[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    """The values of ``LoaderSpec.columns``, by name: N JSON values each, None if a sample has none."""
    key_of: Callable[[int], str] | None = field(default=None, repr=False, compare=False)
    """Returns the key of a sample index; see ``keys``."""
    transformed: bool = field(default=False, repr=False, compare=False)
    """Whether transforms of the user made images and labels, which then may have any shape and type."""

    def __post_init__(self) -> None:
        count = len(self.indexes)
        if self.indexes.dtype != torch.int64 or self.indexes.shape != (count,):
            raise LoaderError(f"indexes must be int64 ({count},), got {_describe(self.indexes)}")
        if not self.transformed:
            self._check_decoded(count)
        for name, values in self.columns.items():
            if len(values) != count:
                raise LoaderError(f"the column {name!r} must have {count} values, got {len(values)}")

    def _check_decoded(self, count: int) -> None:
        """Check the images and labels of a loader, before transforms of the user."""
        if isinstance(self.images, list):
            self._check_list(cast(list[torch.Tensor], self.images), count)
        elif self.images.dtype != torch.uint8 or self.images.shape[:2] != (count, 3):
            raise LoaderError(f"images must be uint8 ({count}, 3, H, W), got {_describe(self.images)}")
        elif not self.images.is_contiguous(memory_format=torch.channels_last):
            raise LoaderError("images must be channels_last in memory")
        if self.labels.dtype != torch.int64 or self.labels.shape != (count,):
            raise LoaderError(f"labels must be int64 ({count},), got {_describe(self.labels)}")

    def _check_list(self, images: list[torch.Tensor], count: int) -> None:
        if len(images) != count:
            raise LoaderError(f"images must be {count}, got {len(images)}")
        for image in images:
            if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
                raise LoaderError(f"each image must be uint8 (3, H, W), got {_describe(image)}")

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
        return self._mapped(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory, from which a copy to a GPU can run beside other work."""
        return self._mapped(lambda part: part.pin_memory())

    def contiguous(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images uint8 (N, 3, H, W), contiguous in this order, and labels: for code that calls ``view``.

        The images are copied. A convolution of a GPU reads channels_last faster.
        """
        return _mapped(self.images, lambda part: part.contiguous()), self.labels

    def _mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        return replace(self, images=_mapped(self.images, change), labels=_mapped(self.labels, change))


def to_batch(
    images: Any,
    labels: torch.Tensor,
    indexes: torch.Tensor,
    device: str,
    *,
    transformed: bool = False,
) -> Batch:
    """Return a Batch on ``device`` from images uint8 (N, H, W, 3), labels int64 (N,), indexes int64 (N,).

    The images may also be a list of N images uint8 (H, W, 3) or, if ``transformed``, what a sample transform made.
    Pinned memory is copied asynchronously, on the current stream. The channels_last layout costs nothing, because it
    is (N, H, W, 3) with other strides.
    """
    images, labels = (_mapped(part, lambda part: part.to(device, non_blocking=True)) for part in (images, labels))
    if not transformed:
        images = _mapped(images, lambda part: part.movedim(-1, -3))
    return Batch(images, labels, indexes, transformed=transformed)


def _mapped(part: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return the changed tensor, or a list of the changed tensors."""
    return [change(one) for one in part] if isinstance(part, list) else change(part)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

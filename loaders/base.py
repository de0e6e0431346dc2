"""The interface of all loaders: a loader takes a spec and yields batches.

``LoaderSpec`` means the same to every loader. A loader that cannot honour a field raises LoaderError and never
ignores the field, because only then can two loaders be compared or exchanged. ``Batch`` is checked when it is
made, so that a backend cannot return another layout or another dtype unnoticed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from ..prep import LoaderError

Transform = Literal["train", "eval"]
Decode = Literal["cpu", "gpu"]
Order = Literal["exact", "planar"]


@dataclass(frozen=True, kw_only=True)
class LoaderSpec:
    """What to load and how. Raises LoaderError for an invalid value."""

    root: Path
    """The root: the directory with ``manifest.json``, ``train/``, ``val/`` and ``shards/``."""
    split: str = "train"
    batch_size: int = 64
    image_size: int = 224
    """Height and width of the loaded images, in pixels."""
    transform: Transform = "train"
    """``train``: RandomResizedCrop and a flip. ``eval``: resize to size * 256 / 224, centre crop."""
    workers: int = 0
    """Number of worker processes or threads; with 0 the caller's own thread loads."""
    shuffle: bool = True
    drop_last: bool = False
    """Whether to drop the last, smaller batch, so that every rank has the same number of batches."""
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    device: str = "cpu"
    decode: Decode = "cpu"
    """Where JPEGs are decoded: ``gpu`` decodes with nvJPEG and needs a CUDA device."""
    dct_scaling: bool = False
    """Whether to decode at 1/2, 1/4 or 1/8 if the crop is that much larger than the sample: faster, other pixels."""
    pixels: Order = "exact"
    """``planar``: resize train images before the colour conversion: faster, other pixels. Evaluation is exact."""
    on_error: Literal["raise", "skip"] = "raise"
    """What happens to a sample that cannot be decoded: it ends the epoch with SampleError, or is skipped and logged."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("image_size", 1), ("workers", 0), ("world_size", 1)):
            if getattr(self, name) < least:
                raise LoaderError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.rank < self.world_size:
            raise LoaderError(f"rank must be in 0..{self.world_size - 1}, got {self.rank}")
        if self.decode == "gpu" and self.dct_scaling:
            raise LoaderError("nvJPEG decodes at full size; choose either decode 'gpu' or dct_scaling")
        if self.pixels == "planar" and (self.decode == "gpu" or self.dct_scaling):
            raise LoaderError(
                "pixels 'planar' are decoded on the CPU at full size; leave out decode 'gpu' and dct_scaling"
            )


@dataclass(frozen=True)
class Batch:
    """One batch: N images, their labels and their sample indexes.

    N is the batch size and at least 1. It is smaller in an epoch's last batch and after damaged samples were skipped.
    """

    images: torch.Tensor
    """uint8 (N, 3, H, W), RGB, channels_last in memory, on the spec's device."""
    labels: torch.Tensor
    """int64 (N,): class indexes, on the spec's device."""
    indexes: torch.Tensor
    """int64 (N,), on the CPU: position of each sample in the split, sorted by wnid, then by file name."""

    def __post_init__(self) -> None:
        count = len(self.indexes)
        if self.images.dtype != torch.uint8 or self.images.shape[:2] != (count, 3):
            raise LoaderError(f"images must be uint8 ({count}, 3, H, W), got {_describe(self.images)}")
        if not self.images.is_contiguous(memory_format=torch.channels_last):
            raise LoaderError("images must be channels_last in memory")
        for name, values in (("labels", self.labels), ("indexes", self.indexes)):
            if values.dtype != torch.int64 or values.shape != (count,):
                raise LoaderError(f"{name} must be int64 ({count},), got {_describe(values)}")


class Loader(Protocol):
    """Batches of one rank's share of a split, one epoch per iteration. ``close`` ends its workers."""

    def __len__(self) -> int:
        """Return the exact number of batches in this rank's epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Yield one epoch, or the rest of an epoch after ``load_state_dict`` in the middle of it."""
        ...

    @property
    def skipped(self) -> Mapping[int, str]:
        """The damaged samples skipped so far: name and reason by sample index. Each was logged once."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields, from its first batch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the position in it: the samples before it were yielded and are not yielded again."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken: the next iteration begins with the batch that followed."""
        ...

    def close(self) -> None:
        """End every worker and release every file and memory segment. A second call does nothing."""
        ...


class Stages(Protocol):
    """The functions that a loader calls to make a batch, separated so that each can be timed.

    A caller calls ``fetch``, ``decode`` and ``transform`` for each image, then ``collate`` once for the batch. They run
    in the caller's thread. ``draws`` are the sample's random numbers from ``draws_of``.
    """

    def fetch(self, index: int, /) -> Any:
        """Return one encoded image: bytes, or an ``EncodedImage`` whose pages may not be in memory yet."""
        ...

    def decode(self, encoded: Any, draws: Sequence[float]) -> Any:
        """Return the pixels of an image that ``fetch`` returned."""
        ...

    def transform(self, decoded: Any, draws: Sequence[float], row: torch.Tensor) -> Any:
        """Return the sample made from what ``decode`` returned, or write it to ``row``, uint8 (H, W, 3)."""
        ...

    def collate(self, samples: Sequence[Any], images: torch.Tensor) -> torch.Tensor:
        """Return the batch, uint8 (N, H, W, 3): ``images``, whose rows ``transform`` received, or a new tensor."""
        ...

    def close(self) -> None:
        """Release every file and mapping. A second call does nothing."""
        ...


def to_batch(images: torch.Tensor, labels: torch.Tensor, indexes: torch.Tensor, device: str) -> Batch:
    """Return a Batch on ``device`` from images uint8 (N, H, W, 3), labels int64 (N,), indexes int64 (N,).

    Pinned memory is copied asynchronously, on the current stream. The channels_last layout costs nothing, because it
    is (N, H, W, 3) with other strides.
    """
    images, labels = (tensor.to(device, non_blocking=True) for tensor in (images, labels))
    return Batch(images.permute(0, 3, 1, 2), labels, indexes)


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

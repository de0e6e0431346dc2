"""The interface of all loaders: a loader takes a spec and yields batches.

``LoaderSpec`` means the same to every loader. A loader that cannot honour a field raises LoaderError and never
ignores the field, because only then can two loaders be compared or exchanged. ``Batch`` is checked when it is
made, so that a backend cannot return another layout or another dtype unnoticed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args

import torch

from ..prep import LoaderError
from .fields import OF_PROCESS, choice_of, device_of, flag_of, integer_of, names_of, path_of, ranks_of, text_of

Transform = Literal["train", "eval"]
Decode = Literal["cpu", "gpu"]
OnError = Literal["raise", "skip"]
PixelOrder = Literal["exact", "planar"]


@dataclass(frozen=True, kw_only=True)
class LoaderSpec:
    """What to load and how.

    Raises LoaderError for a value that means nothing. A root may be given as text, a device as a torch.device.
    """

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
    rank: int = OF_PROCESS
    """By default rank and world size are those of torch.distributed or torchrun, and 0 of 1 in a process alone."""
    world_size: int = OF_PROCESS
    device: str = "cpu"
    decode: Decode = "cpu"
    """Where JPEGs are decoded: ``gpu`` decodes with nvJPEG and needs a CUDA device."""
    dct_scaling: bool = False
    """Whether to decode at 1/2, 1/4 or 1/8 if the crop is that much larger than the sample: faster, other pixels."""
    pixels: PixelOrder = "exact"
    """``planar``: resize train images before the colour conversion: faster, other pixels. Evaluation is exact."""
    on_error: OnError = "raise"
    """What happens to a sample that cannot be decoded: it ends the epoch with SampleError, or is skipped and logged."""
    columns: tuple[str, ...] = ()
    """The names of further values of each sample, such as ("caption",), to yield as ``Batch.columns``."""

    def __post_init__(self) -> None:
        rank, world_size = ranks_of(self.rank, self.world_size)
        for name, value in (
            ("root", path_of("root", self.root)),
            ("split", text_of("split", self.split)),
            ("batch_size", integer_of("batch_size", self.batch_size, 1)),
            ("image_size", integer_of("image_size", self.image_size, 1)),
            ("transform", choice_of("transform", self.transform, get_args(Transform))),
            ("workers", integer_of("workers", self.workers, 0)),
            ("shuffle", flag_of("shuffle", self.shuffle)),
            ("drop_last", flag_of("drop_last", self.drop_last)),
            ("seed", integer_of("seed", self.seed)),
            ("rank", rank),
            ("world_size", world_size),
            ("device", device_of(self.device)),
            ("decode", choice_of("decode", self.decode, get_args(Decode))),
            ("dct_scaling", flag_of("dct_scaling", self.dct_scaling)),
            ("pixels", choice_of("pixels", self.pixels, get_args(PixelOrder))),
            ("on_error", choice_of("on_error", self.on_error, get_args(OnError))),
            ("columns", names_of("columns", self.columns)),
        ):
            object.__setattr__(self, name, value)  # the spec is frozen, and this is its construction
        if self.decode == "gpu" and self.dct_scaling:
            raise LoaderError("nvJPEG decodes at full size; choose either decode 'gpu' or dct_scaling")
        if self.pixels == "planar" and (self.decode == "gpu" or self.dct_scaling):
            raise LoaderError(
                "pixels 'planar' are decoded on the CPU at full size; leave out decode 'gpu' and dct_scaling"
            )

    @classmethod
    def train(cls, root: str | PathLike[str], **fields: Any) -> Self:
        """Return the spec of training: random crops and flips, shuffled, whole batches only.

        ``fields`` are further fields, and replace these.
        """
        preset: dict[str, Any] = {"split": "train", "transform": "train", "shuffle": True, "drop_last": True}
        return cls(root=Path(root), **{**preset, **fields})

    @classmethod
    def eval(cls, root: str | PathLike[str], **fields: Any) -> Self:
        """Return the spec of evaluation on ``val``: centre crops, in order, each sample once.

        ``fields`` are further fields, and replace these.
        """
        preset: dict[str, Any] = {"split": "val", "transform": "eval", "shuffle": False, "drop_last": False}
        return cls(root=Path(root), **{**preset, **fields})


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


class SampleView(Protocol):
    """A split as a map from sample index to sample, for a look at single samples; batches are what is fast."""

    def __len__(self) -> int:
        """Return the number of samples in the split, of all ranks."""
        ...

    def __getitem__(self, index: int, /) -> tuple[torch.Tensor, int]:
        """Return (image, label): the image uint8 (3, H, W) as in the loader's epoch under way; IndexError beyond."""
        ...

    def key(self, index: int, /) -> str:
        """Return the key of a sample."""
        ...


class Loader(Protocol):
    """Batches of one rank's share of a split, one epoch per iteration. ``close`` ends its workers.

    A loader is a context manager that closes itself.
    """

    @property
    def classes(self) -> Sequence[str]:
        """The ids of the classes by class index."""
        ...

    @property
    def batch_size(self) -> int:
        """The batch size of the spec."""
        ...

    @property
    def dataset(self) -> SampleView:
        """The split's samples one by one: ``loader.dataset[7]`` is ``(image, label)``."""
        ...

    def __len__(self) -> int:
        """Return the exact number of batches in this rank's epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Begin the next epoch, or the rest of an epoch after ``load_state_dict`` in the middle of it.

        An epoch counts as begun when its first batch is yielded. An iteration that was left early is not repeated.
        When a new iteration begins, or ``set_epoch``, ``load_state_dict`` or ``close`` is called, the iteration before
        ends: its next batch raises LoaderError.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

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

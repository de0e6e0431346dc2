"""``LoaderSpec``: what to load and how. It means the same to every loader.

Every field is checked when the spec is made. A loader that cannot honour a field raises LoaderError and never ignores
the field, because only then can two loaders be compared or exchanged.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, Any, Literal, Self, cast, get_args

import numpy.typing as npt
import torch

from ..prep import LoaderError
from .choice_fields import IN_DOCUMENT, classes_of, indices_of, require_agreement, sampler_of, weights_of
from .fields import OF_PROCESS, choice_of, device_of, flag_of, integer_of, names_of, ranks_of, root_path_of, text_of
from .store.roots import Root
from .transform_fields import (
    FLIP,
    RATIO,
    SCALE,
    callable_of,
    check_together,
    probability_of,
    range_of,
    size_of,
)  # fmt: skip

Transform = Literal["train", "eval", "resize"]
Interpolation = Literal["bilinear", "bicubic"]
"""How images are resized: the values of ``LoaderSpec.interpolation``."""
Decode = Literal["cpu", "gpu"]
"""Where JPEGs are decoded: the values of ``LoaderSpec.decode``."""
OnError = Literal["raise", "skip"]
"""What a sample that cannot be decoded does: the values of ``LoaderSpec.on_error``."""
PixelOrder = Literal["exact", "planar"]
"""The order of resize and colour conversion: the values of ``LoaderSpec.pixels``."""
Values = Sequence[int] | Sequence[float] | npt.NDArray[Any] | torch.Tensor
"""Many numbers, or a mask; a spec keeps them as a read-only sequence."""


@dataclass(frozen=True, kw_only=True)
class LoaderSpec:
    """What to load and how.

    Raises LoaderError for a value that means nothing, StoreError for a URL whose manifest cannot be
    fetched. A root may be given as text, a device as a torch.device.
    """

    root: Root
    """The root: the directory with ``manifest.json``, ``train/``, ``val/`` and ``shards/``, or the URL of one with
    shards, such as "s3://bucket/data"."""
    split: str = "train"
    """The name of a split of the root, such as "train" or "val"; it must have classes."""
    batch_size: int = 64
    image_size: int | None = 224
    """Height and width of the loaded images, in pixels. None: each image as it is decoded, not cropped or flipped."""
    transform: Transform = "train"
    """``train``: RandomResizedCrop and a flip. ``eval``: resize of the short side, centre crop. ``resize``: the whole
    image, squeezed to a square."""
    scale: tuple[float, float] = SCALE
    """``train``: the least and the largest share of the image's area in a crop."""
    ratio: tuple[float, float] = RATIO
    """``train``: the least and the largest width / height of a crop."""
    flip: float = FLIP
    """``train``: the probability that a sample is mirrored left to right."""
    interpolation: Interpolation = "bilinear"
    """How images are resized, always antialiased."""
    resize_size: int | None = None
    """``eval``: the short side after the resize, in pixels. None: image_size * 256 / 224, rounded."""
    sample_transform: Callable[..., Any] | None = None
    """Applied to each image, uint8 (3, H, W), in the loader's threads or workers; returns a tensor. A parameter called
    ``generator`` gets the sample's own torch.Generator."""
    batch_transform: Callable[..., Any] | None = None
    """Applied to ``(images, labels)`` of each batch on its device, one batch ahead; returns the two. A parameter called
    ``generator`` gets the batch's own torch.Generator, of that device."""
    workers: int = 0
    """Number of worker processes or threads; with 0 the caller's own thread loads."""
    shuffle: bool = True
    """Whether each epoch has another order, which depends on ``seed`` and the epoch only."""
    drop_last: bool = False
    """Whether to drop the last, smaller batch, so that every rank has the same number of batches."""
    seed: int = 0
    """What orders, crops, flips and the random numbers of transforms follow from."""
    rank: int = OF_PROCESS
    """By default rank and world size are those of torch.distributed or torchrun, and 0 of 1 in a process alone."""
    world_size: int = OF_PROCESS
    device: str = "cpu"
    """Where the batches go: "cpu", or a CUDA device such as "cuda:0"."""
    decode: Decode = "cpu"
    """Where JPEGs are decoded: ``gpu`` decodes with nvJPEG and needs a CUDA device."""
    dct_scaling: bool = False
    """Whether to decode at 1/2, 1/4 or 1/8 if the crop is that much larger than the sample: faster, other pixels."""
    pixels: PixelOrder = "exact"
    """``planar``: resize train images before the colour conversion: faster, other pixels. Evaluation is exact."""
    on_error: OnError = "raise"
    """What happens to a sample that cannot be decoded: it ends the epoch with SampleError, or is skipped and logged."""
    empty_batches: bool = False
    """Whether a batch whose samples were all skipped comes without samples, as the loop expects; else SampleError."""
    columns: tuple[str, ...] = ()
    """The names of further values of each sample, such as ("caption",), to yield as ``Batch.columns``."""
    indices: Annotated[Values | None, IN_DOCUMENT] = None
    """The sample indexes to load, in this order without ``shuffle``; or a mask, one True or False per sample."""
    classes: Annotated[Sequence[str | int] | Values | None, IN_DOCUMENT] = None
    """The classes to load: ids as text, class indexes as integers. Labels stay those of the manifest."""
    weights: Annotated[Values | None, IN_DOCUMENT] = None
    """One weight per sample of the split: an epoch draws as many samples as are chosen, with replacement."""
    sampler: Annotated[Iterable[int] | None, IN_DOCUMENT] = None
    """A torch Sampler, or another iterable of sample indexes, which decides the order instead of ``shuffle``."""
    repeat: int = 1
    """Repeated augmentation: each sample comes ``repeat`` times, in as many times fewer epochs, other crops each."""

    def __post_init__(self) -> None:
        rank, world_size = ranks_of(self.rank, self.world_size)
        for name, value in (
            ("root", root_path_of("root", self.root)),
            ("split", text_of("split", self.split)),
            ("batch_size", integer_of("batch_size", self.batch_size, 1)),
            ("image_size", size_of("image_size", self.image_size)),
            ("transform", choice_of("transform", self.transform, get_args(Transform))),
            ("scale", range_of("scale", self.scale, 1.0)),
            ("ratio", range_of("ratio", self.ratio)),
            ("flip", probability_of("flip", self.flip)),
            ("interpolation", choice_of("interpolation", self.interpolation, get_args(Interpolation))),
            ("resize_size", size_of("resize_size", self.resize_size)),
            ("sample_transform", callable_of("sample_transform", self.sample_transform)),
            ("batch_transform", callable_of("batch_transform", self.batch_transform)),
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
            ("empty_batches", flag_of("empty_batches", self.empty_batches)),
            ("columns", names_of("columns", self.columns)),
            ("indices", indices_of("indices", self.indices)),
            ("classes", classes_of("classes", self.classes)),
            ("weights", weights_of("weights", self.weights)),
            ("sampler", sampler_of("sampler", self.sampler)),
            ("repeat", integer_of("repeat", self.repeat, 1)),
        ):
            object.__setattr__(self, name, value)  # the spec is frozen, and this is its construction
        require_agreement(self)
        if self.decode == "gpu" and self.dct_scaling:
            raise LoaderError("nvJPEG decodes at full size; choose either decode 'gpu' or dct_scaling")
        if self.pixels == "planar" and (self.decode == "gpu" or self.dct_scaling):
            raise LoaderError(
                "pixels 'planar' are decoded on the CPU at full size; leave out decode 'gpu' and dct_scaling"
            )
        check_together(self)

    @property
    def side(self) -> int:
        """Height and width of the samples. Raises LoaderError if they have no common size."""
        if self.image_size is None:
            raise LoaderError("with image_size=None the samples have no common size; give an image_size")
        return self.image_size

    @property
    def crops_at_random(self) -> bool:
        """Whether random numbers are drawn for the crop and the flip of each sample."""
        return self.transform == "train" and self.image_size is not None

    @classmethod
    def train(cls, root: str | PathLike[str], **fields: Any) -> Self:
        """Return the spec of training: random crops and flips, shuffled, whole batches only.

        ``fields`` are further fields, and replace these.
        """
        preset: dict[str, Any] = {"split": "train", "transform": "train", "shuffle": True, "drop_last": True}
        return cls(root=cast(Any, root), **{**preset, **fields})

    @classmethod
    def eval(cls, root: str | PathLike[str], **fields: Any) -> Self:
        """Return the spec of evaluation on ``val``: centre crops, in order, each sample once.

        ``fields`` are further fields, and replace these.
        """
        preset: dict[str, Any] = {"split": "val", "transform": "eval", "shuffle": False, "drop_last": False}
        return cls(root=cast(Any, root), **{**preset, **fields})

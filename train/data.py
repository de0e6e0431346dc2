"""The data of a run: the classes and splits of a root, and the open loaders of its splits."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..loaders import LOADERS, Loader, LoaderEntry, LoaderSpec, most_workers, open_loader, readable_loaders
from ..prep import (
    MANIFEST,
    SHARDS,
    ClassEntry,
    TrainingError,
    read_manifest,
    read_shard_manifest,
    usable_cpus,
)
from ..prep.base.shell import shell_word
from .augment.mixing import Mix
from .augment.transform import Augment
from .config import TrainConfig
from .ranks import Ranks
from .schedule import image_size
from .settings.policy import parse_policy

SplitName = Literal["train", "val"]


@dataclass(frozen=True, kw_only=True)
class OpenData:
    """The open loaders of one rank, and the classes of the data set."""

    class_ids: tuple[str, ...]
    """The id of each class, in the order of class indexes."""
    train: "TrainSplit"
    """Augmented, shuffled, whole batches only."""
    val: Loader | None
    """Each sample once, in order; None without a labelled val split."""


class TrainSplit:
    """The loader of the train split, which is opened again for an epoch with another image size."""

    def __init__(self, open_size: Callable[[int], Loader], size_of: Callable[[int], int]) -> None:
        """``open_size`` opens a loader of images of a size; ``size_of`` returns the size of an epoch, from 0."""
        self._open, self._size_of = open_size, size_of
        self._size = size_of(0)
        self._skipped: set[int] = set()
        self.loader = open_size(self._size)
        """The loader of the epoch under way."""

    def at(self, epoch: int) -> Loader:
        """Return the loader of an epoch, counted from 0. The one of another image size is closed first."""
        size = self._size_of(epoch)
        if size != self._size:
            self._skipped.update(self.loader.skipped)
            self.loader.close()
            self.loader, self._size = self._open(size), size
        return self.loader

    @property
    def skipped(self) -> int:
        """The number of damaged samples that were left out so far."""
        return len(self._skipped.union(self.loader.skipped))

    def close(self) -> None:
        """Close the loader under way."""
        self.loader.close()


@contextmanager
def open_data(config: TrainConfig, ranks: Ranks) -> Generator[OpenData, None, None]:
    """Open the loaders of this rank's share, and close them when the block ends or raises.

    Raises TrainingError for a loader that does not cover the epoch and for less than one batch of images, and the
    errors of the loaders.
    """
    contents = read_contents(config.root, config.loader)
    with ExitStack() as stack:
        train = stack.enter_context(closing(_open_train(config, ranks, len(contents.classes))))
        if len(train.loader) == 0:
            raise TrainingError(
                f"the train split of {config.root} is smaller than one batch of {config.batch_size * ranks.size}; "
                "use a smaller --batch-size"
            )
        val = None
        if "val" in contents.labelled:
            val = stack.enter_context(open_split(config.loader, loader_spec(config, ranks, "val")))
        yield OpenData(class_ids=contents.class_ids, train=train, val=val)


def _open_train(config: TrainConfig, ranks: Ranks, classes: int) -> TrainSplit:
    spec = replace(loader_spec(config, ranks, "train"), batch_transform=augmentation(config, classes))
    return TrainSplit(
        lambda size: open_loader(config.loader, replace(spec, image_size=size)), lambda epoch: image_size(config, epoch)
    )


def augmentation(config: TrainConfig, classes: int) -> Augment | None:
    """Return what a run does to its train batches, as a ``batch_transform``; None if it leaves them as they are."""
    mix = Mix(
        mixup=config.mixup,
        cutmix=config.cutmix,
        probability=config.mix_probability,
        switch=config.mix_switch,
        mode=config.mix_mode,
    )
    augment = Augment(
        classes=classes,
        colour_jitter=config.colour_jitter,
        policy=parse_policy(config.augment),
        erase=config.erase,
        mix=mix if (config.mixup or config.cutmix) and config.mix_probability else None,
    )
    return augment if augment.changes else None


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The classes and labelled splits of a root, from the manifest that the loader reads."""

    classes: tuple[ClassEntry, ...]
    labelled: tuple[str, ...]
    """The splits with labels: those that can be trained and evaluated on."""

    @property
    def class_ids(self) -> tuple[str, ...]:
        """The id of each class, in the order of class indexes."""
        return tuple(entry.id for entry in self.classes)


def read_contents(root: Path, loader: str) -> Contents:
    """Return the contents of ``root`` for ``loader``. Raises TrainingError if the loader does not cover the epoch."""
    needs = _trainable_entry(loader).needs
    if needs == "folders" or (needs == "either" and (root / MANIFEST).is_file()):
        manifest = read_manifest(root)
        labelled = tuple(name for name, split in manifest.splits.items() if split.per_class)
    else:
        manifest = read_shard_manifest(root / SHARDS)
        labelled = tuple(name for name, held in manifest.splits.items() if held.labelled)
    return Contents(classes=manifest.classes, labelled=labelled)


@contextmanager
def open_split(loader: str, spec: LoaderSpec) -> Generator[Loader, None, None]:
    """Open one split for evaluation: eval transform, in order, each sample once. Close it when the block ends.

    ``spec.workers`` is lowered to the number that the split can supply with work. Raises TrainingError for a split
    without labels.
    """
    labelled = read_contents(spec.root, loader).labelled
    if spec.split not in labelled:
        raise TrainingError(
            f"{spec.root} has no labelled split {spec.split!r}; use --split with one of: {', '.join(labelled)}"
        )
    spec = replace(
        spec, transform="eval", shuffle=False, drop_last=False, decode="cpu", dct_scaling=False, pixels="exact"
    )
    with closing(open_loader(loader, _with_usable_workers(loader, spec))) as opened:
        yield opened


def undecodable(what: str, root: Path) -> TrainingError:
    """Return the error of damaged images that leave nothing to compute with; ``what`` is "val has no image"."""
    command = f"feedline verify {shell_word(root)} --decode"
    return TrainingError(f"{what} that can be decoded; check the data with: {command}")


def trainable_loaders(root: Path) -> list[str]:
    """Return the loaders that can read ``root`` and train, in table order; raise DatasetError if none can read it."""
    return [name for name in readable_loaders(root) if LOADERS[name].covers_epoch]


def default_loader(root: Path) -> str:
    """Return the first loader of the table that can read ``root`` and train; raise DatasetError if none can."""
    return trainable_loaders(root)[0]


def default_workers(root: Path, loader: str, ranks: Ranks | None = None) -> int:
    """Return one worker per usable CPU of each rank, or fewer if the train split cannot supply so many with work."""
    _trainable_entry(loader)
    ranks = ranks or Ranks()
    cpus = max(1, usable_cpus() // ranks.local_size)
    spec = LoaderSpec(root=root, workers=cpus, rank=ranks.rank, world_size=ranks.size)
    return _with_usable_workers(loader, spec).workers


def loader_spec(config: TrainConfig, ranks: Ranks, split: SplitName) -> LoaderSpec:
    """Return what this rank's loader of a split needs: for ``train`` shuffled, with whole batches only.

    The augmentations of whole batches are not in it; see ``augmentation``.
    """
    spec = LoaderSpec(
        root=config.root,
        split=split,
        batch_size=config.batch_size,
        image_size=config.image_size,
        transform="train" if split == "train" else "eval",
        interpolation=config.interpolation,
        workers=config.workers or 0,  # never None once the loader is chosen
        seed=config.seed,
        rank=ranks.rank,
        world_size=ranks.size,
        device=ranks.device,
        on_error=config.on_error,
        empty_batches=True,  # the run leaves them out
    )
    if split == "val":
        return replace(spec, image_size=config.eval_image_size or config.image_size, resize_size=config.eval_resize)
    return replace(
        spec,
        scale=config.scale,
        ratio=config.ratio,
        flip=config.flip,
        repeat=config.repeat,
        drop_last=True,
        decode=config.decode,
        dct_scaling=config.dct_scaling,
        pixels=config.pixels,
    )


def _with_usable_workers(loader: str, spec: LoaderSpec) -> LoaderSpec:
    """Return the spec with at most as many workers as the loader can use for its split."""
    most = most_workers(loader, spec)
    return spec if most is None else replace(spec, workers=min(spec.workers, most))


def _trainable_entry(name: str) -> LoaderEntry:
    """Return the loader's entry in the table; raise TrainingError unless it is known and covers the epoch."""
    trainable = [name for name, entry in LOADERS.items() if entry.covers_epoch]
    if name not in trainable:
        why = "does not yield every sample once" if name in LOADERS else "is unknown"
        raise TrainingError(f"cannot train with loader {name!r}: it {why}; choose one of: {', '.join(trainable)}")
    return LOADERS[name]

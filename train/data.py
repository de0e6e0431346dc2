"""The data of a run: which classes there are, and the loaders of its splits."""

from collections.abc import Generator
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
from .config import TrainConfig
from .ranks import Ranks

SplitName = Literal["train", "val"]


@dataclass(frozen=True, kw_only=True)
class OpenData:
    """An open data set."""

    wnids: tuple[str, ...]
    """The classes, in the order of their indexes."""
    train: Loader
    """Augmented, shuffled, whole batches only."""
    val: Loader | None
    """Each sample once, in order; None where the data set has no labelled val split."""


@contextmanager
def open_data(config: TrainConfig, ranks: Ranks) -> Generator[OpenData, None, None]:
    """Open the loaders of this rank's share, and close them at the end whatever happens.

    Raises TrainingError for a loader that does not cover the epoch or for less than one batch of images,
    and what the loaders raise.
    """
    contents = read_contents(config.root, config.loader)
    with ExitStack() as stack:
        train = stack.enter_context(closing(open_loader(config.loader, _spec(config, ranks, "train"))))
        if len(train) == 0:
            raise TrainingError(
                f"the train split of {config.root} is smaller than one batch of {config.batch_size * ranks.size}; "
                "use a smaller --batch-size"
            )
        val = None
        if "val" in contents.labelled:
            val = stack.enter_context(open_split(config.loader, _spec(config, ranks, "val")))
        yield OpenData(wnids=contents.wnids, train=train, val=val)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a root holds, as the manifest that the loader reads has it."""

    classes: tuple[ClassEntry, ...]
    labelled: tuple[str, ...]
    """The splits that can be trained and evaluated on."""

    @property
    def wnids(self) -> tuple[str, ...]:
        return tuple(entry.wnid for entry in self.classes)


def read_contents(root: Path, loader: str) -> Contents:
    """Return what ``root`` holds for ``loader``. Raises TrainingError for a loader that does not cover the epoch."""
    needs = _entry(loader).needs
    if needs == "folders" or (needs == "either" and (root / MANIFEST).is_file()):
        manifest = read_manifest(root)
        labelled = tuple(name for name, split in manifest.splits.items() if split.per_class)
    else:
        manifest = read_shard_manifest(root / SHARDS)
        labelled = tuple(manifest.splits)
    return Contents(classes=manifest.classes, labelled=labelled)


@contextmanager
def open_split(loader: str, spec: LoaderSpec) -> Generator[Loader, None, None]:
    """Open one split to evaluate on: eval transform, in order, each sample once. Closes it whatever happens.

    ``spec.workers`` is lowered to what the split can feed. Raises TrainingError for a split without labels.
    """
    labelled = read_contents(spec.root, loader).labelled
    if spec.split not in labelled:
        raise TrainingError(
            f"{spec.root} has no labelled split {spec.split!r}; use --split with one of: {', '.join(labelled)}"
        )
    spec = replace(spec, transform="eval", shuffle=False, drop_last=False, decode="cpu", dct_scaling=False)
    with closing(open_loader(loader, _fed(loader, spec))) as opened:
        yield opened


def default_loader(root: Path) -> str:
    """Return the first loader of the table that can read ``root`` and train; raise DatasetError when none can."""
    return next(name for name in readable_loaders(root) if LOADERS[name].covers_epoch)


def default_workers(root: Path, loader: str, ranks: Ranks | None = None) -> int:
    """Return one worker per usable CPU of each rank, or fewer where the train split does not feed so many."""
    _entry(loader)
    ranks = ranks or Ranks()
    cpus = max(1, usable_cpus() // ranks.local_size)
    return _fed(loader, LoaderSpec(root=root, workers=cpus, rank=ranks.rank, world_size=ranks.size)).workers


def _fed(loader: str, spec: LoaderSpec) -> LoaderSpec:
    """Return the spec with no more workers than the loader can use for its split."""
    most = most_workers(loader, spec)
    return spec if most is None else replace(spec, workers=min(spec.workers, most))


def _entry(name: str) -> LoaderEntry:
    trainable = [name for name, entry in LOADERS.items() if entry.covers_epoch]
    if name not in trainable:
        why = "does not hand out every sample once" if name in LOADERS else "is unknown"
        raise TrainingError(f"cannot train with loader {name!r}, it {why}; choose one of: {', '.join(trainable)}")
    return LOADERS[name]


def _spec(config: TrainConfig, ranks: Ranks, split: SplitName) -> LoaderSpec:
    return LoaderSpec(
        root=config.root,
        split=split,
        batch_size=config.batch_size,
        image_size=config.image_size,
        workers=config.workers or 0,  # never None once the loader is chosen
        shuffle=True,
        drop_last=True,
        seed=config.seed,
        rank=ranks.rank,
        world_size=ranks.size,
        device=ranks.device,
        decode=config.decode,
        dct_scaling=config.dct_scaling,
    )

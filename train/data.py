"""The data of a run: which classes there are, and the loaders of its train and val splits."""

from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..loaders import LOADERS, Loader, LoaderEntry, LoaderSpec, most_workers, open_loader, readable_loaders
from ..prep import MANIFEST, SHARDS, TrainingError, read_manifest, read_shard_manifest, usable_cpus
from .config import TrainConfig

SplitName = Literal["train", "val"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """An open data set."""

    wnids: tuple[str, ...]
    """The classes, in the order of their indexes."""
    train: Loader
    """Augmented, shuffled, whole batches only."""
    val: Loader | None
    """Each sample once, in order; None where the data set has no labelled val split."""


@contextmanager
def open_data(config: TrainConfig) -> Generator[Data, None, None]:
    """Open the loaders, and close them at the end whatever happens.

    Raises TrainingError for a loader that does not cover the epoch or for less than one batch of pictures,
    and what the loaders raise.
    """
    contents = _read_contents(config.root, _entry(config.loader))
    with ExitStack() as stack:
        train = stack.enter_context(closing(open_loader(config.loader, _spec(config, "train"))))
        if len(train) == 0:
            raise TrainingError(
                f"the train split of {config.root} is smaller than one batch of {config.batch_size}; "
                "use a smaller --batch-size"
            )
        val = None
        if "val" in contents.labelled:
            spec = _fed(config.loader, _spec(config, "val"))
            val = stack.enter_context(closing(open_loader(config.loader, spec)))
        yield Data(wnids=contents.wnids, train=train, val=val)


def default_loader(root: Path) -> str:
    """Return the first loader of the table that can read ``root`` and train; raise DatasetError when none can."""
    return next(name for name in readable_loaders(root) if LOADERS[name].covers_epoch)


def default_workers(root: Path, loader: str) -> int:
    """Return one worker per usable CPU, or fewer where the train split does not feed so many."""
    _entry(loader)
    return _fed(loader, LoaderSpec(root=root, workers=usable_cpus())).workers


def _fed(loader: str, spec: LoaderSpec) -> LoaderSpec:
    """Return the spec with no more workers than the loader can use for its split."""
    most = most_workers(loader, spec)
    return spec if most is None else replace(spec, workers=min(spec.workers, most))


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """What a root holds, as the manifest that the loader reads has it."""

    wnids: tuple[str, ...]
    labelled: frozenset[str]
    """The splits that can be trained and evaluated on."""


def _read_contents(root: Path, entry: LoaderEntry) -> _Contents:
    if entry.needs == "folders" or (entry.needs == "either" and (root / MANIFEST).is_file()):
        manifest = read_manifest(root)
        labelled = frozenset(name for name, split in manifest.splits.items() if split.per_class)
    else:
        manifest = read_shard_manifest(root / SHARDS)
        labelled = frozenset(manifest.splits)
    return _Contents(wnids=tuple(entry.wnid for entry in manifest.classes), labelled=labelled)


def _entry(name: str) -> LoaderEntry:
    trainable = [name for name, entry in LOADERS.items() if entry.covers_epoch]
    if name not in trainable:
        why = "does not hand out every sample once" if name in LOADERS else "is unknown"
        raise TrainingError(f"cannot train with loader {name!r}, it {why}; choose one of: {', '.join(trainable)}")
    return LOADERS[name]


def _spec(config: TrainConfig, split: SplitName) -> LoaderSpec:
    training = split == "train"
    return LoaderSpec(
        root=config.root,
        split=split,
        batch_size=config.batch_size,
        image_size=config.image_size,
        transform="train" if training else "eval",
        workers=config.workers,
        shuffle=training,
        drop_last=training,
        seed=config.seed,
        device=config.device,
    )

"""The plan of a run: what its settings and its data set make of it, computed without training.

Every figure comes from the code that trains: the loader's number of batches, the schedule's function of the step, the
sizes of the epochs, the model that the run would build.
"""

import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from ...loaders import LoaderSpec, open_loader
from ...prep import TrainingError
from ..beginning import fresh_model
from ..config import AUTO, TrainConfig, resolved
from ..data import default_loader, read_contents
from ..ranks import Ranks
from ..schedule import image_size, learning_rate
from .memory import Memory, measure_memory

# Steps at which the schedule is searched for its peak; a warm-up of half a percent of a run is several of them.
SAMPLES = 20_000

Place = Literal["first", "peak", "quarter", "half", "three quarters", "last"]


@dataclass(frozen=True, kw_only=True)
class SizeSpan:
    """Epochs that train on images of one size; the first epoch is 1."""

    first_epoch: int
    last_epoch: int
    image_size: int


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """The learning rate of one step; the first step is 1."""

    place: Place
    step: int
    epoch: int
    lr: float


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes of the run directory's checkpoints."""

    checkpoint: int
    """One file, without the history."""
    kept: int
    """How many are there at the end of the run."""
    most: int
    """With the one that is being written: a file is replaced only when the next one is whole."""
    free: int
    """Free bytes where the run directory is, or will be."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run will do."""

    config: TrainConfig
    """The settings with everything filled in, except that ``loader`` may be ``auto``."""
    ranks: int
    classes: int
    images: int
    """In the train split."""
    val_images: int | None
    """None without a labelled val split."""
    batch: int
    """Images of a step over all ranks."""
    part: int
    """Images that are computed at once on a rank."""
    steps_per_epoch: int
    steps: int
    sizes: tuple[SizeSpan, ...]
    rates: tuple[RatePoint, ...]
    memory: Memory
    disk: Disk


def plan_run(config: TrainConfig, ranks: int = 1) -> RunPlan:
    """Return what ``train(config)`` would do on ``ranks`` ranks. It reads manifests and no image, and builds the model.

    Raises DatasetError and LoaderError for the data, and TrainingError for settings that the data or the model refuse.
    """
    alone = Ranks(size=ranks, local_size=ranks)
    loader = default_loader(config.root) if config.loader == AUTO else config.loader
    config = resolved(config, ranks)
    contents = read_contents(config.root, loader)
    length, images = _length(config, loader, "train", alone)
    if length == 0:
        raise TrainingError(
            f"the train split of {config.root} is smaller than one batch of {config.batch_size * ranks}; use a smaller "
            "--batch-size"
        )
    sizes = _sizes(config)
    model = fresh_model(config, len(contents.classes), lambda _: None)
    memory = measure_memory(model, config, image_size=max(span.image_size for span in sizes), ranks=ranks)
    return RunPlan(
        config=config,
        ranks=ranks,
        classes=len(contents.classes),
        images=images,
        val_images=_length(config, loader, "val", alone)[1] if "val" in contents.labelled else None,
        batch=config.batch_size * ranks,
        part=-(-config.batch_size // config.accumulate),
        steps_per_epoch=length,
        steps=config.epochs * length,
        sizes=sizes,
        rates=_rates(config, length),
        memory=memory,
        disk=_disk(config, memory),
    )


def _length(config: TrainConfig, loader: str, split: str, ranks: Ranks) -> tuple[int, int]:
    """Return (batches of an epoch on each rank, images of the split)."""
    spec = LoaderSpec(
        root=config.root,
        split=split,
        batch_size=config.batch_size,
        image_size=config.image_size,
        drop_last=split == "train",
        rank=ranks.rank,
        world_size=ranks.size,
        repeat=config.repeat if split == "train" else 1,
    )
    with closing(open_loader(loader, spec)) as opened:
        return len(opened), len(opened.dataset)


def _sizes(config: TrainConfig) -> tuple[SizeSpan, ...]:
    spans: list[SizeSpan] = []
    for epoch in range(config.epochs):
        size = image_size(config, epoch)
        if spans and spans[-1].image_size == size:
            spans[-1] = replace(spans[-1], last_epoch=epoch + 1)
        else:
            spans.append(SizeSpan(first_epoch=epoch + 1, last_epoch=epoch + 1, image_size=size))
    return tuple(spans)


def _rates(config: TrainConfig, length: int) -> tuple[RatePoint, ...]:
    steps = config.epochs * length
    sampled = (*range(0, steps, max(1, steps // SAMPLES)), min(round(config.warmup * steps), steps - 1))
    peak = max(sampled, key=lambda step: learning_rate(config, step, steps))
    named: tuple[tuple[Place, int], ...] = (
        ("first", 0),
        ("peak", peak),
        ("quarter", steps // 4),
        ("half", steps // 2),
        ("three quarters", 3 * steps // 4),
        ("last", steps - 1),
    )
    return tuple(
        RatePoint(place=place, step=step + 1, epoch=step // length + 1, lr=learning_rate(config, step, steps))
        for place, step in sorted(named, key=lambda pair: pair[1])
    )


def _disk(config: TrainConfig, memory: Memory) -> Disk:
    every = config.epochs // config.save_epochs if config.save_epochs else 0
    kept = 2 + every  # last.pt and best.pt
    place = next(path for path in (config.out.absolute(), *config.out.absolute().parents) if path.exists())
    return Disk(
        checkpoint=memory.checkpoint,
        kept=kept,
        most=(kept + 1) * memory.checkpoint,
        free=shutil.disk_usage(place).free,
    )

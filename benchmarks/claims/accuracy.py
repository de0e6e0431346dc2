"""Accuracy of a training through each loader, from the same seeds, on real images.

The rate of a loader counts only if training reaches the same accuracy with its images. The tests compare the loaders'
images pixel by pixel. This module compares the result of training: it trains with the same seeds through every loader
that can read the data. The data are scikit-learn's handwritten digits (1797 scans of 8x8, from UCI), written as a
Tiny-ImageNet of 64 px JPEGs, or a prepared root with shards that the user names. The loaders agree if their means
differ by at most as much as the accuracies of one loader differ from seed to seed.

    python -m feedline.benchmarks.claims.accuracy OUT
    python -m feedline.benchmarks.claims.accuracy OUT --root data
"""

import io
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, cast

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from ...loaders import LOADERS, readable_loaders
from ...prep import (
    FeedlineError,
    MeasurementError,
    prepare_tiny_imagenet,
    write_atomically,
    write_document,
    write_shards,
)
from ...train import TrainConfig, train
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code

SIDE = 64
VAL_EVERY = 5  # every fifth digit: val has 360, so one image is 0.3 points
# At 32 px, a run takes a minute on one core and ends above 95 %: far from where every model does the same.
IMAGE_SIZE, EPOCHS, BATCH_SIZE, LR = 32, 8, 64, 0.1


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """One training."""

    loader: str
    seed: int
    top1: float
    """On val, 0 to 1, after the last epoch."""
    loss: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class AccuracyRecord:
    """The document of all runs, with everything that is needed to repeat them."""

    format: Literal["feedline-accuracy"] = "feedline-accuracy"
    schema: Literal[1] = 1
    date: str
    """When the first run began, ISO 8601, UTC."""
    command: str
    code: Code
    environment: Environment
    config: TrainConfig
    """The settings of every run, except loader, seed and paths."""
    runs: tuple[TrainedRun, ...]


def write_digits(out: Path) -> Path:
    """Write scikit-learn's digits as ``tiny-imagenet-200.zip`` into ``out`` and return its path."""
    from sklearn import datasets  # here: an optional library

    digits = cast(Any, datasets.load_digits())
    path = out / "tiny-imagenet-200.zip"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        annotations: list[str] = []
        for index, (digit, label) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
            wnid, image = f"n{label:08d}", _jpeg(digit)
            if index % VAL_EVERY:
                archive.writestr(f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{index}.JPEG", image)
            else:
                archive.writestr(f"tiny-imagenet-200/val/images/val_{index}.JPEG", image)
                annotations.append(f"val_{index}.JPEG\t{wnid}\t0\t0\t{SIDE - 1}\t{SIDE - 1}\n")
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "".join(annotations))
        archive.writestr("tiny-imagenet-200/wnids.txt", "".join(f"n{label:08d}\n" for label in range(10)))
        archive.writestr("tiny-imagenet-200/words.txt", "".join(f"n{label:08d}\t{label}\n" for label in range(10)))
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, file.getvalue())
    return path


def _digits_root(out: Path) -> Path:
    root = out / "data"
    prepare_tiny_imagenet(write_digits(out), root)
    write_shards(root)
    return root


def _jpeg(digit: npt.NDArray[np.float64]) -> bytes:
    """Return a digit, float64 (8, 8) in 0 to 16, as a JPEG of 64 px."""
    small = Image.fromarray((digit * (255 / 16)).astype(np.uint8))
    file = io.BytesIO()
    small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB").save(file, "JPEG", quality=90)
    return file.getvalue()


def agreement(runs: Sequence[TrainedRun]) -> str:
    """Return the table of the runs in Markdown, with a sentence that says whether the loaders agree."""
    names = list(dict.fromkeys(run.loader for run in runs))
    seeds = sorted({run.seed for run in runs})
    top1 = {name: [100 * run.top1 for run in runs if run.loader == name] for name in names}
    lines = [
        f"| top-1 on val, % | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | standard deviation |",
        "|---|" + "---:|" * (len(seeds) + 2),
    ]
    for name, values in top1.items():
        cells = " | ".join(f"{value:.1f}" for value in values)
        lines.append(f"| `{name}` | {cells} | {mean(values):.2f} | {stdev(values):.2f} |")
    means = [mean(values) for values in top1.values()]
    apart, spread = max(means) - min(means), max(max(values) - min(values) for values in top1.values())
    verdict = "agree" if apart <= spread else "DISAGREE"
    lines += [
        "",
        f"The loaders {verdict}: their means differ by up to {apart:.2f} points, and the seeds of one loader by up to "
        f"{spread:.2f} points.",
    ]
    return "\n".join(lines)


def measure(out: Path, config: TrainConfig, seeds: Sequence[int]) -> list[TrainedRun]:
    """Train through every loader that can read ``config.root``, from each of the seeds, and return the runs.

    Each run has a directory in ``out``. Raises MeasurementError if the root has no val split.
    """
    names = [name for name in readable_loaders(config.root) if LOADERS[name].covers_epoch]
    runs: list[TrainedRun] = []
    for seed in seeds:
        for name in names:
            settings: dict[str, Any] = {"loader": name, "seed": seed, "out": out / f"{name}-{seed}"}
            result = train(TrainConfig(**{**vars(config), **settings}))
            if result.val is None:
                raise MeasurementError(f"{config.root} has no val split; prepare one with: feedline prep")
            rate = result.images_per_second
            runs.append(
                TrainedRun(loader=name, seed=seed, top1=result.val.top1, loss=result.val.loss, images_per_second=rate)
            )
            click.echo(f"{name}, seed {seed}: top-1 {result.val.top1:.1%}, {rate:.0f} images/s", err=True)
    return runs


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(min=2), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
@click.option("--root", type=click.Path(path_type=Path), help="A prepared root with shards.  [default: the digits]")
def main(out: Path, seeds: int, epochs: int, root: Path | None) -> None:
    """Train on the same images through every loader, and write OUT/accuracy.json."""
    config = TrainConfig(
        root=root or _digits_root(out),
        out=out,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        image_size=IMAGE_SIZE,
        lr=LR,
        stem="imagenet",
        workers=0,
        device="cpu",
    )
    record = AccuracyRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=f"python -m feedline.benchmarks.claims.accuracy OUT{f' --root {root}' if root else ''} "
        f"--seeds {seeds} --epochs {epochs}",
        code=running_code(),
        environment=capture(),
        config=config,
        runs=tuple(measure(out / "runs", config, range(seeds))),
    )
    write_document(out / "accuracy.json", record)
    click.echo(agreement(record.runs))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")

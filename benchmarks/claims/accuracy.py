"""Accuracy of a training through each loader, from the same seeds, on real images.

The rate of a loader counts only if training reaches the same accuracy with its images. The tests compare the loaders'
images pixel by pixel. This module compares the result of training: it trains with the same seeds in every way that can
read the data, each loader and each order of its pixels. Accuracies are compared by seed (``paired``), each loader with
the first, which is ``imagefolder``, and each other order of pixels with the exact pixels of the same loader, from the
same weights, order and crops. All intervals of a table hold together in 95 % of repetitions.

The data are scikit-learn's handwritten digits (1797 scans of 8x8, from UCI), written as a Tiny-ImageNet of 64 px JPEGs;
or variations of the free photographs in scikit-image and scikit-learn; or a prepared root with shards. Half of the
images or more are there to judge by, because a difference of half a point is one image of 200.

    python -m feedline.benchmarks.claims.accuracy OUT --seeds 4
    python -m feedline.benchmarks.claims.accuracy OUT --seeds 40
    python -m feedline.benchmarks.claims.accuracy OUT --data photographs
    python -m feedline.benchmarks.claims.accuracy OUT --root data

Begin with a few seeds: the last line names the number that decides about half a point. OUT/accuracy.json is written
after every seed, and a second run with more seeds goes on from there.
"""

import io
import shutil
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, cast

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from ...loaders import LOADERS, LoaderSpec, PixelOrder, honours, readable_loaders
from ...prep import (
    FeedlineError,
    MeasurementError,
    SyntheticSpec,
    prepare_tiny_imagenet,
    read_document,
    to_json,
    write_atomically,
    write_document,
    write_shards,
    write_synthetic,
)
from ...train import TrainConfig, train
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code
from ..results.paired import MARGIN, Difference, difference, seeds_for

SIDE = 64
VAL_EVERY = 2  # every second digit: val has 899, so one image is 0.1 points
CONFIDENCE = 0.95  # of all intervals of a table together
RECORD = "accuracy.json"
PHOTOGRAPHS = SyntheticSpec(layout="tiny-imagenet", classes=40, images_per_class=40)  # val has 1,600
# At 32 px, a run takes two minutes on one core and ends at 96 to 98 %. After 8 epochs it ends at 85 to 91 %, and the
# differences by seed spread more than twice as much, which takes five times the seeds.
IMAGE_SIZE, EPOCHS, BATCH_SIZE, LR = 32, 24, 64, 0.1


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """One training."""

    loader: str
    pixels: PixelOrder = "exact"
    seed: int
    top1: float
    """On val, 0 to 1, after the last epoch."""
    loss: float
    images_per_second: float
    seconds: float | None = None
    """The whole training with its evaluations; None before schema 2."""

    @property
    def way(self) -> str:
        """The loader, and the order of its pixels if it is not the exact one."""
        return self.loader if self.pixels == "exact" else f"{self.loader}, {self.pixels}"


@dataclass(frozen=True, kw_only=True)
class AccuracyRecord:
    """The document of all runs, with everything that is needed to repeat them."""

    format: Literal["feedline-accuracy"] = "feedline-accuracy"
    schema: Literal[1, 2] = 2
    date: str
    """When the first run began, ISO 8601, UTC."""
    command: str
    code: Code
    environment: Environment
    config: TrainConfig
    """The settings of every run, except loader, pixels, seed and paths."""
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


def _photographs_root(out: Path) -> Path:
    root = out / "data"
    write_synthetic(out / "archives", PHOTOGRAPHS)
    prepare_tiny_imagenet(out / "archives" / "tiny-imagenet-200.zip", root)
    write_shards(root)
    return root


MAKERS = {"digits": _digits_root, "photographs": _photographs_root}
"""What makes the root of each data set, in a folder."""


def _jpeg(digit: npt.NDArray[np.float64]) -> bytes:
    """Return a digit, float64 (8, 8) in 0 to 16, as a JPEG of 64 px."""
    small = Image.fromarray((digit * (255 / 16)).astype(np.uint8))
    file = io.BytesIO()
    small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB").save(file, "JPEG", quality=90)
    return file.getvalue()


def compare(runs: Sequence[TrainedRun]) -> dict[tuple[str, str], Difference]:
    """Return the difference of each way from the one that it is compared with, in points, over the seeds of both.

    There is none without two seeds that both have.
    """
    top1: dict[str, dict[int, float]] = {}
    for run in runs:
        top1.setdefault(run.way, {})[run.seed] = 100 * run.top1
    first = next(iter(top1))
    # A way with other pixels is compared with the exact pixels of the same loader: from the same order and crops.
    bases = {way: way.partition(",")[0] if way.partition(",")[0] != way else first for way in top1}
    pairs = [(way, base) for way, base in bases.items() if way != base and base in top1]
    found: dict[tuple[str, str], Difference] = {}
    for way, base in pairs:
        seeds = sorted(top1[way].keys() & top1[base].keys())
        if len(seeds) >= 2:
            values, others = ([top1[name][seed] for seed in seeds] for name in (way, base))
            found[way, base] = difference(values, others, 1 - (1 - CONFIDENCE) / len(pairs))
    return found


def agreement(runs: Sequence[TrainedRun]) -> str:
    """Return the tables of the ways and of their differences in Markdown, and a sentence that says which agree."""
    lines = ["| | seeds | top-1 on val, % | standard deviation |", "|---|---:|---:|---:|"]
    for way in dict.fromkeys(run.way for run in runs):
        values = [100 * run.top1 for run in runs if run.way == way]
        spread = f"{stdev(values):.2f}" if len(values) > 1 else "-"
        lines.append(f"| `{way}` | {len(values)} | {mean(values):.2f} | {spread} |")
    found = compare(runs)
    lines += ["", "| difference by seed | points | interval | standard deviation | |", "|---|---:|---:|---:|---|"]
    for (way, base), apart in found.items():
        cells = f"{apart.mean:+.2f} | {apart.low:+.2f} to {apart.high:+.2f} | {apart.deviation:.2f} | {apart.verdict}"
        lines.append(f"| `{way}` - `{base}` | {cells} |")
    return "\n".join([*lines, "", _sentence(found)])


def _sentence(found: dict[tuple[str, str], Difference]) -> str:
    named: dict[str, list[str]] = {"agree": [], "differ": [], "undecided": []}
    for (way, base), apart in found.items():
        named[apart.verdict].append(f"`{way}` and `{base}`")
    parts = [
        *([f"{', '.join(named['agree'])} agree within {MARGIN} points"] if named["agree"] else []),
        *([f"{', '.join(named['differ'])} differ"] if named["differ"] else []),
        *([f"undecided: {', '.join(named['undecided'])}{_needed(found)}"] if named["undecided"] else []),
    ]
    text = "; ".join(parts) or "a comparison needs 2 seeds"
    return f"{text[0].upper()}{text[1:]}."


def _needed(found: dict[tuple[str, str], Difference]) -> str:
    open_ones = [apart for apart in found.values() if apart.verdict == "undecided"]
    seeds = max(seeds_for(apart.deviation, apart.confidence) for apart in open_ones)
    if seeds <= min(apart.seeds for apart in open_ones):
        return ""
    return f" (by their standard deviations, {seeds} seeds decide about {MARGIN} points)"


def ways_of(root: Path) -> list[tuple[str, PixelOrder]]:
    """Return the loaders that can read ``root`` and train, with each order of pixels that they have."""
    names = [name for name in readable_loaders(root) if LOADERS[name].covers_epoch]
    orders: tuple[PixelOrder, ...] = ("exact", "planar")
    return [
        (name, pixels) for pixels in orders for name in names if honours(name, LoaderSpec(root=root, pixels=pixels))
    ]


def measure(record: AccuracyRecord, out: Path, seeds: Sequence[int]) -> AccuracyRecord:
    """Train in every way from each of the seeds that ``record`` lacks; write it after each seed, and return it.

    Raises MeasurementError if the root has no val split.
    """
    for seed in seeds:
        done = {(run.loader, run.pixels) for run in record.runs if run.seed == seed}
        missing = [way for way in ways_of(record.config.root) if way not in done]
        runs = [_train(record.config, out / "runs", loader, pixels, seed) for loader, pixels in missing]
        if runs:
            record = replace(record, runs=(*record.runs, *runs))
            write_document(out / RECORD, record)
    return record


def _train(config: TrainConfig, out: Path, loader: str, pixels: PixelOrder, seed: int) -> TrainedRun:
    place = out / f"{loader}-{pixels}-{seed}"
    shutil.rmtree(place, ignore_errors=True)  # of a run that was interrupted
    started = time.perf_counter()
    result = train(replace(config, loader=loader, pixels=pixels, seed=seed, out=place))
    seconds = time.perf_counter() - started
    shutil.rmtree(place / "checkpoints")  # 90 MB of each run
    if result.val is None:
        raise MeasurementError(f"{config.root} has no val split; prepare one with: feedline prep")
    run = TrainedRun(
        loader=loader,
        pixels=pixels,
        seed=seed,
        top1=result.val.top1,
        loss=result.val.loss,
        images_per_second=result.images_per_second,
        seconds=seconds,
    )
    click.echo(f"{run.way}, seed {seed}: top-1 {run.top1:.1%} in {seconds:.0f} s", err=True)
    return run


def _begun(out: Path, config: TrainConfig, command: str) -> AccuracyRecord:
    """Return the record in ``out``, or an empty one. Raises MeasurementError for one of other settings or code."""
    code = running_code()
    if not (out / RECORD).exists():
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return AccuracyRecord(date=date, command=command, code=code, environment=capture(), config=config, runs=())
    record = read_document(out / RECORD, AccuracyRecord)
    if to_json(record.config) != to_json(config) or record.code != code:
        raise MeasurementError(
            f"{out / RECORD} holds trainings of commit {record.code.commit} with other settings or other code; "
            "choose another OUT"
        )
    return replace(record, command=command)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(min=2), default=4, show_default=True, help="All seeds, finished ones too.")
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
@click.option("--data", type=click.Choice(list(MAKERS)), default="digits", show_default=True, help="What to train on.")
@click.option("--root", type=click.Path(path_type=Path), help="A prepared root with shards, instead of --data.")
def main(out: Path, seeds: int, epochs: int, data: str, root: Path | None) -> None:
    """Train on the same images in every way, and write OUT/accuracy.json."""
    if root is None:
        root = out / "data" if (out / RECORD).exists() else MAKERS[data](out)
        words = f"--data {data}"
    else:
        words = f"--root {root}"
    config = TrainConfig(
        root=root,
        out=out,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        image_size=IMAGE_SIZE,
        lr=LR,
        stem="imagenet",
        workers=0,
        device="cpu",
    )
    command = f"python -m feedline.benchmarks.claims.accuracy OUT {words} --seeds {seeds} --epochs {epochs}"
    record = measure(_begun(out, config, command), out, range(seeds))
    click.echo(agreement(record.runs))
    times = [run.seconds for run in record.runs if run.seconds is not None]
    if times:
        ways = len({run.way for run in record.runs})
        click.echo(f"A seed takes {ways * mean(times) / 60:.1f} minutes.", err=True)


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")

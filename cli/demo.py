"""``feedline demo``: every step from archives to a report, on synthetic images, in a few minutes on a laptop."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..prep import (
    MeasurementError,
    OutputError,
    Progress,
    SyntheticSpec,
    prepare_imagenet,
    to_json,
    verify,
    write_shards,
    write_synthetic,
)
from .console import echo_json, progress_bars, say
from .options import LocalPath, json_option, seed_option

if TYPE_CHECKING:
    from ..benchmarks import Fastest
    from ..train import TrainResult

CLASSES, IMAGES_PER_CLASS = 10, 100
# Short on purpose: the demo shows the steps. `feedline bench` is the command that measures.
SECONDS, REPEATS = 1.5, 2
EPOCHS, IMAGE_SIZE, BATCH_SIZE = 4, 64, 32


@click.command()
@click.option(
    "--out",
    type=LocalPath(path_type=Path),
    default="feedline-demo",
    show_default=True,
    help="Directory to write, new or empty.",
)
@seed_option
@json_option
def demo(out: Path, seed: int, as_json: bool) -> None:
    """Run every step on synthetic images of 10 classes.

    \b
    Example:
      feedline demo --out demo

    The steps make archives, class folders and shards, measure the loaders, train a model and write a report.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(f"{out} exists already; choose another directory with --out")
    with progress_bars() as progress:
        _make_data(out, seed, progress)
        fastest = _measure(out, seed, progress)
        result = _train(out, fastest, seed, progress)
        report = _report(out)
    say(fastest.sentence)
    say(f"training: {_accuracies(result)} after {EPOCHS} epochs of {IMAGE_SIZE} px; chance is {1 / CLASSES:.0%}")
    say(f"report: {report}")
    say("next, your own images: feedline prep imagefolder FOLDER --out data --val-fraction 0.1")
    if as_json:
        echo_json(
            {
                "fastest": {"loader": fastest.loader, "workers": fastest.workers},
                "train": to_json(result.train),
                "val": to_json(result.val) if result.val else None,
                "report": str(report),
            }
        )


def _make_data(out: Path, seed: int, progress: Progress) -> None:
    spec = SyntheticSpec(
        layout="ilsvrc2012", classes=CLASSES, images_per_class=IMAGES_PER_CLASS, seed=seed, odd_files=True
    )
    write_synthetic(out / "archives", spec, progress=progress)
    prepare_imagenet([out / "archives"], out / "data", progress=progress)
    write_shards(out / "data", progress=progress)
    for place in (out / "data", out / "data" / "shards"):
        for problem in verify(place, decode=False, progress=_renamed(progress, f"verify {place.name}")).problems:
            raise OutputError(
                f"{place} is damaged just after it was written: {problem}; choose another disk with --out"
            )


def _measure(out: Path, seed: int, progress: Progress) -> "Fastest":
    from ..benchmarks import Plan, bench

    plan = Plan(root=out / "data", seconds=SECONDS, repeats=REPEATS, seed=seed)
    result = bench(plan, out / "bench", progress)
    if result.table.verdict is None:
        raise MeasurementError(f"no loader could be measured: {result.failures[0].problem}")
    return result.table.verdict


def _train(out: Path, fastest: "Fastest", seed: int, progress: Progress) -> "TrainResult":
    from ..train import TrainConfig, train

    config = TrainConfig(
        root=out / "data",
        out=out / "run",
        loader=fastest.loader,
        workers=fastest.workers,
        epochs=EPOCHS,
        image_size=IMAGE_SIZE,
        batch_size=BATCH_SIZE,
        stem="imagenet",  # the stem for small images costs 15 times the compute
        seed=seed,
    )
    return train(config, progress)


def _report(out: Path) -> Path:
    from ..benchmarks import read_records, read_run, write_report

    report = out / "report.html"
    write_report(report, read_records([out / "bench"]), read_run(out / "run"))
    return report


def _accuracies(result: "TrainResult") -> str:
    parts = {"train": result.train, "val": result.val}
    return ", ".join(f"{name} top-1 {metrics.top1:.1%}" for name, metrics in parts.items() if metrics is not None)


def _renamed(progress: Progress, step: str) -> Callable[[str, int, int], None]:
    return lambda _, done, total: progress(step, done, total)

"""Training loops before and after: python -m feedline.benchmarks.claims.loops ROOT --out FILE.json

Each loop of ``docs/loops.md`` trains a model of next to nothing, once with torchvision's ImageFolder and torch's
DataLoader and once with feedline. The first epoch warms up; images/s are those of the other epochs, as the model
counts them. The runs are interleaved, and each must have taken whole epochs of ROOT's train split. Needs the libraries
of ``pip install 'feedline[loops]'``.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import click

from ...loaders import prepare_loader
from ...prep import FeedlineError, MeasurementError, OutputError, find_samples, usable_cpus, write_document
from ..machine.environment import Environment, capture
from ..measuring.interleaving import interleaved
from ..measuring.record import Code, running_code
from .loops_of_libraries import LOOPS, Kind, Meter, Setting, run_loop

KINDS: tuple[Kind, ...] = ("before", "after")
LIBRARIES = ("torch", "torchvision", "timm", "lightning", "accelerate", "transformers")


@dataclass(frozen=True, kw_only=True)
class LoopRun:
    """One training."""

    loop: str
    kind: Kind
    """``before``: torchvision and DataLoader. ``after``: feedline."""
    images: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LoopsRecord:
    """One measuring run."""

    format: Literal["feedline-loops"] = "feedline-loops"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    versions: dict[str, str]
    loader: str
    batch_size: int
    image_size: int
    workers: int
    runs: tuple[LoopRun, ...]


def measure_loops(setting: Setting, out: Path, loops: Sequence[str], repeats: int) -> LoopsRecord:
    """Measure, write the record to ``out`` and return it.

    Raises MeasurementError if a loop took other numbers of images than whole epochs.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = capture()
    images = len(find_samples(setting.root, ["train"]).splits["train"])
    batches = images // setting.batch_size
    if not batches:
        raise MeasurementError(f"{images} images are less than a batch; use a smaller --batch-size")
    prepare_loader(setting.loader)
    pairs: list[tuple[str, Kind]] = [(loop, kind) for loop in loops for kind in KINDS]
    runs = [
        _measured(loop, kind, run_loop(loop, setting, kind), batches, setting)
        for _, (loop, kind) in interleaved(pairs, repeats)
    ]
    record = LoopsRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=("python", "-m", "feedline.benchmarks.claims.loops", str(setting.root), "--out", str(out)),
        code=running_code(),
        environment=environment,
        versions={library: version(library) for library in LIBRARIES},
        loader=setting.loader,
        batch_size=setting.batch_size,
        image_size=setting.image_size,
        workers=setting.workers,
        runs=tuple(runs),
    )
    write_document(out, record)
    return record


def _measured(loop: str, kind: Kind, meter: Meter, batches: int, setting: Setting) -> LoopRun:
    """Return the run of all epochs but the first, from its last batch on."""
    if meter.counts != [setting.batch_size] * (batches * setting.epochs):
        raise MeasurementError(
            f"{loop}, {kind}: {sum(meter.counts)} images in {len(meter.counts)} batches instead of "
            f"{setting.epochs} epochs of {batches} batches; please report this"
        )
    last = batches - 1
    return LoopRun(
        loop=loop, kind=kind, images=sum(meter.counts[batches:]), seconds=meter.times[-1] - meter.times[last]
    )


def table(record: LoopsRecord) -> str:
    """Return the medians as Markdown; a spread is (largest - smallest) / median."""
    lines = [
        f"| {record.image_size} px, batch {record.batch_size}, {record.workers} workers | torchvision, images/s "
        "| spread | feedline, images/s | spread | times |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for loop in dict.fromkeys(run.loop for run in record.runs):
        rates = {
            kind: [run.images / run.seconds for run in record.runs if (run.loop, run.kind) == (loop, kind)]
            for kind in KINDS
        }
        before, after = (statistics.median(rates[kind]) for kind in KINDS)
        cells = [f"{middle:,.0f} | {(max(rates[kind]) - min(rates[kind])) / middle:.0%}" for kind, middle in
                 zip(KINDS, (before, after), strict=True)]  # fmt: skip
        lines.append(f"| {loop} | {' | '.join(cells)} | {after / before:.2f} |")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option("--loop", "loops", type=click.Choice([*LOOPS]), multiple=True, help="One loop; all by default.")
@click.option("--loader", default="threaded", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--image-size", type=click.IntRange(min=1), default=224, show_default=True, help="Pixels.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes before, threads after; one per CPU by default.")
@click.option("--epochs", type=click.IntRange(min=2), default=3, show_default=True, help="The first warms up.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
def main(
    root: Path,
    out: Path,
    loops: tuple[str, ...],
    loader: str,
    batch_size: int,
    image_size: int,
    workers: int | None,
    epochs: int,
    repeats: int,
) -> None:
    """Train on ROOT, with class folders and shards, in the loops of other projects, and compare images/s."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    setting = Setting(
        root=root,
        loader=loader,
        batch_size=batch_size,
        image_size=image_size,
        workers=usable_cpus() if workers is None else workers,
        epochs=epochs,
    )
    click.echo(table(measure_loops(setting, out, loops or [*LOOPS], repeats)))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")

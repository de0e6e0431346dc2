"""Costs and promises of ``threaded``: python -m feedline.benchmarks.claims.threaded ROOT --out FILE

ROOT needs shards with restart markers and at least some hundred images: feedline shard ROOT --encode restart. Each
promise is measured on its own (see ``threaded_costs``): the loader against its own serial work, the curve over 1, 2, 4,
8 and 16 threads as far as the machine has cores, Python per image, the calls of a sample transform and its random
numbers, what one process can yield, tiles against whole images, DCT scaling with its pixel error, memory, and the index
of ImageNet. The record holds the raw times. Each ratio
is taken between times of the same repeat. The table shows its median and range next to the promise.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Literal

import click
import torch

from ...loaders import LoaderSpec
from ...loaders.support.shard_samples import ShardSamples
from ...loaders.threaded import ThreadedLoader
from ...prep import FeedlineError, OutputError, usable_cpus, write_document
from ..machine.environment import Environment, capture
from ..measuring.dataset import MeasuredData, describe as describe_data
from ..measuring.record import Code, running_code
from .threaded_costs import (
    TRANSFORMS,
    OpenedIndex,
    Scaling,
    Timed,
    Transformed,
    compare_scaling,
    decode_serially,
    load_epochs,
    load_undecoded,
    open_index,
    peak_memory,
    run_interleaved,
)

SIZES = (64, 112, 128, 160, 224)
EPOCHS = 2  # of a loader in each repeat, so that starting and ending one take a small share of the time
TINY = 8  # pixels; the side of the samples when only Python is measured
BATCH = 256  # when only Python is measured: it is per batch, per chunk and per image
THREADS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class ThreadedRecord:
    """The document of one measurement. The image size is 224 pixels unless a field names another."""

    format: Literal["feedline-threaded"] = "feedline-threaded"
    schema: Literal[1, 2] = 2
    """2 measures Python without decoding, more numbers of threads, and what one process can yield."""
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    data: MeasuredData
    serial: Timed
    """One thread: read, splice, decode, resize, flip."""
    whole: Timed
    """The same without tiles."""
    loader: dict[int, Timed]
    """The loader, by number of threads."""
    python: Timed
    """CPU seconds of the process, with one thread: from schema 2 without decoding, before with images of 16 x 16 pixels
    and batches of 64."""
    transformed: dict[Transformed, Timed] = field(default_factory=dict[Transformed, Timed])
    """As ``python``, with a sample transform; empty in older records."""
    undecoded: dict[int, Timed] = field(default_factory=dict[int, Timed])
    """The loader without decoding, by number of threads; empty before schema 2."""
    scaling: tuple[Scaling, ...]
    peak_rss_bytes: int | None
    index: OpenedIndex


@dataclass(frozen=True, kw_only=True)
class CheckedPromise:
    """One promise and what was measured."""

    what: str
    measured: str
    target: str
    met: bool | None
    """None if nothing was promised, or nothing could be measured."""


def measure_threaded(root: Path, out: Path, *, images: int = 1000, repeats: int = 7) -> ThreadedRecord:
    """Measure, write the record to ``out`` and return it.

    Raises MeasurementError if the shards have no restart markers.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = capture()
    torch.set_num_threads(1)  # serial parts run in the caller's thread, in place of one of the loader's
    index = open_index(root, out.parent, repeats)
    seconds, images, errors = _time(root, images, repeats)
    epoch = EPOCHS * describe_data(root, "train").samples
    record = ThreadedRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=("python", "-m", "feedline.benchmarks.claims.threaded", str(root), "--out", str(out)),
        code=running_code(),
        environment=environment,
        data=describe_data(root, "train"),
        serial=Timed(images=images, seconds=seconds["serial"]),
        whole=Timed(images=images, seconds=seconds["whole"]),
        loader={count: Timed(images=epoch, seconds=seconds[f"loader {count}"]) for count in _thread_counts()},
        python=Timed(images=epoch, seconds=seconds["python"]),
        transformed={name: Timed(images=epoch, seconds=seconds[name]) for name in TRANSFORMS},
        undecoded={count: Timed(images=epoch, seconds=seconds[f"undecoded {count}"]) for count in _thread_counts()},
        scaling=tuple(
            Scaling(
                image_size=size,
                exact=Timed(images=images, seconds=seconds[f"exact {size}"]),
                scaled=Timed(images=images, seconds=seconds[f"scaled {size}"]),
                share=share,
                mean_error=mean,
                largest_error=largest,
            )
            for size, (share, mean, largest) in errors.items()
        ),
        peak_rss_bytes=peak_memory(root, usable_cpus()),
        index=index,
    )
    write_document(out, record)
    return record


def _thread_counts() -> list[int]:
    """Return 1 and 2, the further ``THREADS`` that have a core each, and the number of cores."""
    return sorted({1, 2, usable_cpus(), *(count for count in THREADS if count <= usable_cpus())})


def _time(
    root: Path, images: int, repeats: int
) -> tuple[dict[str, tuple[float, ...]], int, dict[int, tuple[float, float, int]]]:
    """Return seconds by part, how many images the serial parts had, and the errors of scaling by size."""
    spec = LoaderSpec(root=root)
    with ExitStack() as opened:
        samples = opened.enter_context(closing(ShardSamples(root, "train")))
        images = min(images, len(samples))
        parts = {
            "serial": decode_serially(samples, spec, images),
            "whole": decode_serially(samples, spec, images, whole=True),
        }
        for count in _thread_counts():
            loader = opened.enter_context(closing(ThreadedLoader(replace(spec, workers=count))))
            parts[f"loader {count}"] = load_epochs(loader, EPOCHS)
            loader = opened.enter_context(closing(ThreadedLoader(replace(spec, workers=count, batch_size=BATCH))))
            parts[f"undecoded {count}"] = load_undecoded(loader, EPOCHS)
        loader = ThreadedLoader(replace(spec, workers=1, image_size=TINY, batch_size=BATCH))
        parts["python"] = load_undecoded(opened.enter_context(closing(loader)), EPOCHS, time.process_time)
        for name, transform in TRANSFORMS.items():
            tiny = replace(spec, workers=1, image_size=TINY, batch_size=BATCH, sample_transform=transform)
            loader = opened.enter_context(closing(ThreadedLoader(tiny)))
            parts[name] = load_undecoded(loader, EPOCHS, time.process_time)
        sized = {size: replace(spec, image_size=size) for size in SIZES}
        for size, wanted in sized.items():
            parts[f"exact {size}"] = decode_serially(samples, wanted, images)
            parts[f"scaled {size}"] = decode_serially(samples, replace(wanted, dct_scaling=True), images)
        errors = {size: compare_scaling(samples, wanted, images) for size, wanted in sized.items()}
        return run_interleaved(parts, repeats), images, errors


def findings(record: ThreadedRecord) -> list[CheckedPromise]:
    """Return each promise with its measurement, in the order of the table."""
    cpus = max(record.loader)
    serial, one, two, all_cpus = (timed.rates for timed in (record.serial, *(record.loader[n] for n in (1, 2, cpus))))
    ceiling = [rate * min(cpus, record.environment.machine.cpus) for rate in serial]
    limit = 5 if record.schema > 1 else 40
    python = [1e6 * second / record.python.images for second in record.python.seconds]
    found = [
        CheckedPromise(what="one thread, no loader", measured=_spread(serial, "images/s", 0), target="-", met=None),
        CheckedPromise(what=f"loader, {cpus} threads", measured=_spread(all_cpus, "images/s", 0), target="-", met=None),
        _at_least("share of its ceiling", _ratios(all_cpus, ceiling), 0.85),
        _at_least("2 threads against 1", _ratios(two, one), 1.8),
        *_curve(record),
        CheckedPromise(
            what=f"Python per image, batch {BATCH}" if record.schema > 1 else "Python per image, upper bound",
            measured=_spread(python, "us", 1),
            target=f"< {limit} us",
            met=median(python) < limit,
        ),
        *_transforms(record, python),
        _at_least("tiles against whole images", _ratios(serial, record.whole.rates), 1.5),
    ]
    for size in record.scaling:
        ratio = _spread(_ratios(size.scaled.rates, size.exact.rates), "x", 2)
        found.append(
            CheckedPromise(
                what=f"DCT scaling, {size.image_size} px",
                measured=f"{ratio}; {size.share:.0%} of the images scaled, mean error {size.mean_error:.2f}, "
                f"largest {size.largest_error} grey levels",
                target="-",
                met=None,
            )
        )
    return [*found, *_sizes(record)]


def _curve(record: ThreadedRecord) -> list[CheckedPromise]:
    """Return the rates with more than 2 threads, if the machine has the cores, and those without decoding."""
    cpus, one = record.environment.machine.cpus, record.loader[1].rates
    found: list[CheckedPromise] = []
    for count in sorted({*THREADS, *record.loader} - {1, 2}):
        said = f"not measured: the machine has {cpus} CPUs"
        if count in record.loader:
            rates = record.loader[count].rates
            said = f"{_spread(_ratios(rates, one), 'x', 2)}; {median(rates):,.0f} images/s"
        found.append(CheckedPromise(what=f"{count} threads against 1", measured=said, target="-", met=None))
    for count, timed in record.undecoded.items():
        what = f"one process without decoding, {count} thread{'s' if count > 1 else ''}, batch {BATCH}"
        found.append(CheckedPromise(what=what, measured=_spread(timed.rates, "images/s", 0), target="-", met=None))
    return found


def _transforms(record: ThreadedRecord, python: Sequence[float]) -> list[CheckedPromise]:
    """Return what a sample transform adds to the Python of an image, apart from its own work."""
    found: list[CheckedPromise] = []
    for name, timed in record.transformed.items():
        added = [1e6 * all_of_it / timed.images - own for all_of_it, own in zip(timed.seconds, python, strict=True)]
        what = f"a sample transform that {name}, per image"
        found.append(CheckedPromise(what=what, measured=_spread(added, "us", 1), target="-", met=None))
    return found


def _sizes(record: ThreadedRecord) -> list[CheckedPromise]:
    index, peak = record.index, record.peak_rss_bytes
    return [
        CheckedPromise(
            what="memory, batch 256 at 224 px",
            measured="unknown" if peak is None else f"{peak / 1e6:.0f} MB",
            target="<= 1 GB",
            met=None if peak is None else peak <= 1e9,
        ),
        CheckedPromise(
            what=f"opening an index of {index.samples:,} samples",
            measured=_spread(index.seconds, "s", 2),
            target="< 1 s",
            met=median(index.seconds) < 1,
        ),
        CheckedPromise(
            what="size of that index on the disk",
            measured=f"{index.bytes / 1e6:.0f} MB in {index.shards} shards",
            target="< 400 MB",
            met=index.bytes < 400e6,
        ),
    ]


def _at_least(what: str, ratios: Sequence[float], target: float) -> CheckedPromise:
    return CheckedPromise(
        what=what, measured=_spread(ratios, "x", 2), target=f">= {target}x", met=median(ratios) >= target
    )


def _ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    return [our / other for our, other in zip(ours, others, strict=True)]


def _spread(values: Sequence[float], unit: str, digits: int) -> str:
    middle, low, high = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} {unit} ({low} to {high})"


def table(record: ThreadedRecord) -> str:
    """Return the findings as Markdown: medians, with the range over the repeats."""
    said = {True: "met", False: "MISSED", None: ""}
    rows = [f"| {f.what} | {f.measured} | {f.target} | {said[f.met]} |" for f in findings(record)]
    return "\n".join(["| | measured | target | |", "|---|---:|---:|---|", *rows])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option(
    "--images", type=click.IntRange(min=1), default=1000, show_default=True, help="Images of each serial part."
)
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True, help="Of every part, interleaved.")
def main(root: Path, out: Path, images: int, repeats: int) -> None:
    """Measure the costs of threaded on ROOT, which has restart-marker shards of split train."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    click.echo(table(measure_threaded(root, out, images=images, repeats=repeats)))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")

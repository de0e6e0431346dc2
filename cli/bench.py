"""``feedline bench``: the rate of each loader on this machine, for each number of workers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table as RichTable

from ..prep import MeasurementError, to_json
from ..prep.base.shell import shell_word
from .bench_train import or_train
from .console import echo_json, progress_bars, say, stderr_console
from .options import (
    AT_LEAST_1,
    SECONDS,
    LocalPath,
    OutPath,
    RootPath,
    cache_size_option,
    dct_scaling_option,
    image_size_option,
    json_option,
    loaders_option,
    numbers,
    pixels_option,
    seed_option,
    worker_counts_option,
)

if TYPE_CHECKING:
    from ..benchmarks import BenchResult, Row
    from ..benchmarks.machine.cache import AskedCache
    from ..benchmarks.peers import Contest


COLUMNS = (
    "workers",
    "batch",
    "cache",
    "images/s",
    "spread",
    "of\nceiling",
    "AU\nH100",
    "first\nbatch\ns",
    "memory\nGiB",
    "disk\nkB/img",
)
FASTEST = ("loader", "workers", "batch_size", "cache")
STATES: dict[str, tuple["AskedCache", ...]] = {"warm": ("warm",), "cold": ("cold",), "both": ("warm", "cold")}


def _batch_sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    return numbers(value, least=1, what="batch sizes such as 64,256")


@click.command("bench")
@cache_size_option
@click.argument("root", type=RootPath(path_type=Path))
@loaders_option("Measure this loader instead of all that are installed and can read ROOT")
@worker_counts_option("Worker counts to measure.", "0,1,2,4 ... usable CPUs")
@click.option(
    "--batch-size",
    "batch_sizes",
    default="64",
    callback=_batch_sizes,
    metavar="N,N",
    show_default=True,
    help="Batch sizes to measure.",
)
@click.option(
    "--cache",
    type=click.Choice(list(STATES)),
    default="warm",
    show_default=True,
    help="State of the page cache before each run: warm has the data in memory, cold does not.",
)
@image_size_option
@dct_scaling_option
@pixels_option
@click.option("--split", default="train", show_default=True, help="Split of ROOT to read.")
@click.option(
    "--seconds", type=SECONDS, default=3.0, show_default=True, metavar="S", help="Measuring time of each run."
)
@click.option("--repeats", type=AT_LEAST_1, default=3, show_default=True, metavar="N", help="Runs per configuration.")
@click.option("--out", type=OutPath(path_type=Path), required=True, help="Directory for records, plot and bench.csv.")
@click.option("--peers", is_flag=True, help="Also measure the loaders of other projects that are installed in --envs.")
@click.option(
    "--envs",
    type=LocalPath(path_type=Path),
    default=Path("peers"),
    show_default=True,
    metavar="DIR",
    help="Environments of the peers.",
)
@click.option(
    "--work",
    type=LocalPath(path_type=Path),
    default=Path("peers/work"),
    show_default=True,
    metavar="DIR",
    help="Directory for the converted data that some peers read; it is written once.",
)
@seed_option
@json_option
@or_train
def bench(
    as_json: bool, loaders: tuple[str, ...], cache: str, out: Path, peers: bool, envs: Path, work: Path, **plan: Any
) -> None:
    """Measure the loaders that can read the data set ROOT.

    \b
    Example:
      feedline bench data --out bench
      feedline bench data --loader webdataset --workers 0,2,4 --out bench
      feedline bench data --cache both --batch-size 64,256 --out bench
      feedline bench data --train --model resnet50 --out speed
      feedline bench data --peers --envs peers --out bench

    Each run is a fresh process. A cold run first drops the data from the page cache, which needs no root
    privileges, and ends with its first epoch. --train measures training instead of loading; --model to --ranks
    apply only to it.
    """
    from ..benchmarks import Plan, bench as measure

    contest = _contest(envs, work, plan["root"]) if peers else None
    with progress_bars() as progress:
        result = measure(Plan(loaders=loaders, caches=STATES[cache], peers=contest, **plan), out, progress)
    if as_json:
        echo_json(_summary(result))
    _show(result)
    say(
        f"The records are in {out}; make an HTML page from them with: "
        f"feedline report {shell_word(out)} --out report.html"
    )
    if contest is not None:
        _show_peers(contest, plan["root"])
    if result.failures:
        raise MeasurementError(_failed(result))


def _contest(envs: Path, work: Path, root: Path) -> "Contest":
    """Return the installed peers, and print the names of the others. Raises MeasurementError if none is installed."""
    from ..benchmarks.peers import SMALL, Contest, find_peers, how_to_install, suited

    installed, missing = find_peers(envs)
    if not installed:
        raise MeasurementError(f"no peer is installed in {envs}; install all with: {how_to_install((), envs)}")
    if missing:
        say(f"Missing peers: {', '.join(missing)}; install them with: {how_to_install(missing, envs)}")
    names, left_out = suited(installed, root)
    if left_out:
        say(f"Left out, because they store pixels, and images here exceed {SMALL} pixels: {', '.join(left_out)}")
    return Contest(names=names, envs=envs, work=work)


def _show_peers(contest: "Contest", root: Path) -> None:
    """Print what the workers of each peer are, what it reads, and the cost of the conversion."""
    from ..benchmarks.peers import PEERS

    for name in contest.names:
        cost = contest.conversion(name, root)
        converted = f"; converting took {cost.seconds:,.1f} s and {cost.bytes / 1e6:,.0f} MB" if cost else ""
        say(f"{name}: workers are {PEERS[name].workers}; reads {PEERS[name].reads}{converted}")


def _summary(result: "BenchResult") -> dict[str, Any]:
    from ..benchmarks import complaints

    verdict = result.table.verdict
    return {
        "results": [to_json(row) for row in result.table.rows],
        "fastest": None if verdict is None else {name: getattr(verdict, name) for name in FASTEST},
        "inconclusive": verdict is None or verdict.inconclusive,
        "verdict": None if verdict is None else verdict.sentence,
        "complaints": complaints(result.table),
        "failures": [to_json(failure) for failure in result.failures],
    }


def _show(result: "BenchResult") -> None:
    """Print the ranking, the verdict and the complaints on stderr."""
    from ..benchmarks import complaints

    table = RichTable(box=None, padding=(0, 1, 0, 0), pad_edge=False)  # fits into 80 columns
    table.add_column("loader", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in result.table.rows:
        table.add_row(*_cells(row))
    stderr_console().print(table)
    if result.table.verdict is not None:
        say(result.table.verdict.sentence)
    for complaint in complaints(result.table):
        say(f"Note: {complaint}")


def _cells(row: "Row") -> tuple[str, ...]:
    return (
        row.loader,
        str(row.workers),
        str(row.batch_size),
        row.state,
        f"{row.images_per_second:,.0f}",
        f"{row.spread:.0%}",
        "-" if row.of_ceiling is None else f"{row.of_ceiling:.1%}",
        "-" if row.h100_au is None else f"{row.h100_au:.0%}",
        f"{row.first_batch_seconds:.2f}",
        "-" if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 2**30:.2f}",
        "-" if row.disk_bytes_per_image is None else f"{row.disk_bytes_per_image / 1000:,.1f}",
    )


def _failed(result: "BenchResult") -> str:
    first = result.failures[0]
    others = len(result.failures) - 1
    more = f" ({others} more failed)" if others else ""
    what = f"{first.loader} with --workers {first.workers} --batch-size {first.batch_size} --cache {first.cache}"
    return f"{what} could not be measured{more}: {first.problem}"

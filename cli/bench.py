"""``feedline bench``: how many images per second each loader gives here, with how many workers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table as RichTable

from ..prep import MeasurementError, to_json
from .bench_train import or_train
from .console import echo_json, json_option, progress_bars, say, seed_option, stderr_console

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
    "first\nbatch s",
    "memory\nGiB",
    "disk\nkB/img",
)
FASTEST = ("loader", "workers", "batch_size", "cache")
STATES: dict[str, tuple["AskedCache", ...]] = {"warm": ("warm",), "cold": ("cold",), "both": ("warm", "cold")}


def _numbers(text: str, least: int, what: str) -> tuple[int, ...]:
    """Return the numbers of a list such as 0,1,2, each once and in order."""
    words = text.split(",")
    if not all(word.isascii() and word.strip().isdecimal() and int(word) >= least for word in words):
        raise click.BadParameter(f"{text!r} is not a list of {what}")
    return tuple(sorted({int(word) for word in words}))


def counts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Read ``--workers``: a list of worker counts, which may be empty."""
    return _numbers(value, 0, "worker counts such as 0,1,2") if value else ()


def _batch_sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    return _numbers(value, 1, "batch sizes such as 64,256")


@click.command("bench")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--loader", "loaders", multiple=True, metavar="NAME", help="Measure this loader; may be repeated.")
@click.option("--workers", default="", callback=counts, metavar="N,N", show_default="0,1,2,4 ... usable CPUs")
@click.option("--batch-size", "batch_sizes", default="64", callback=_batch_sizes, metavar="N,N", show_default=True)
@click.option(
    "--cache", type=click.Choice(list(STATES)), default="warm", show_default=True, help="Data in memory, or not."
)
@click.option("--image-size", type=click.IntRange(min=1), default=224, show_default=True, metavar="PX")
@click.option("--dct-scaling", is_flag=True, help="Decode at 1/2 to 1/8 where the crop allows; changes pixels.")
@click.option("--split", default="train", show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Directory for records, plot and bench.csv."
)
@click.option("--peers", is_flag=True, help="Measure other projects' loaders too, those that are installed in --envs.")
@click.option("--envs", type=click.Path(path_type=Path), default=Path("peers"), show_default=True, metavar="DIR")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("peers/work"),
    show_default=True,
    metavar="DIR",
    help="Where the formats that some peers read are written, once.",
)
@seed_option
@json_option
@or_train
def bench(
    as_json: bool, loaders: tuple[str, ...], cache: str, out: Path, peers: bool, envs: Path, work: Path, **plan: Any
) -> None:
    """Measure the loaders that can read the dataset ROOT, each run in a fresh process.

    Cold runs drop the data from the page cache first, which needs no root, and end with their first epoch.

    \b
    Example: feedline bench data --out bench
             feedline bench data --loader webdataset --workers 0,2,4 --seconds 10 --out bench
             feedline bench data --cache both --batch-size 64,256 --out bench
             feedline bench data --train --model resnet50 --out speed
             feedline bench data --peers --envs peers --out bench
    """
    from ..benchmarks import Plan, bench as measure
    from ..loaders import LOADERS

    for name in loaders:
        if name not in LOADERS:
            raise click.BadParameter(f"there is no loader {name!r}; choose one of: {', '.join(LOADERS)}")
    contest = _contest(envs, work) if peers else None
    with progress_bars() as progress:
        result = measure(
            Plan(loaders=tuple(dict.fromkeys(loaders)), caches=STATES[cache], peers=contest, **plan), out, progress
        )
    if as_json:
        echo_json(_summary(result))
    _show(result)
    say(f"The records are in {out}; make a page of them with: feedline report {out} --out report.html")
    if contest is not None:
        _tell_of_peers(contest, plan["root"])
    if result.failures:
        raise MeasurementError(_failed(result))


def _contest(envs: Path, work: Path) -> "Contest":
    """Return the peers that are installed; say which are not. Raises MeasurementError where none is."""
    from ..benchmarks.peers import Contest, find_peers, how_to_install

    installed, missing = find_peers(envs)
    if not installed:
        raise MeasurementError(f"no peer is installed in {envs}; install all with: {how_to_install((), envs)}")
    if missing:
        say(f"Missing peers: {', '.join(missing)}; install them with: {how_to_install(missing, envs)}")
    return Contest(names=installed, envs=envs, work=work)


def _tell_of_peers(contest: "Contest", root: Path) -> None:
    """Say what a peer's "workers" are, and what its conversion cost."""
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
    """Print the table, the verdict and the complaints on stderr."""
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
        f"{row.first_batch_seconds:.2f}",
        "-" if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 2**30:.2f}",
        "-" if row.disk_bytes_per_image is None else f"{row.disk_bytes_per_image / 1000:,.1f}",
    )


def _failed(result: "BenchResult") -> str:
    first = result.failures[0]
    others = len(result.failures) - 1
    more = f" ({others} more failed too)" if others else ""
    what = f"{first.loader} with --workers {first.workers} --batch-size {first.batch_size} --cache {first.cache}"
    return f"{what} could not be measured{more}: {first.problem}"

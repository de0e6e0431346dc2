"""The bench: which runs to make, in which order, and where their records go.

Runs are interleaved: every configuration once, then every configuration again in the opposite order, so that a
machine that slowly warms up, or a neighbour that comes and goes, touches all of them alike. The output
directory is opened before the first run, and each record is written as soon as its run has ended: a run that
fails, or an impatient user, loses nothing that was measured before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..loaders import LOADERS, LoaderSpec, most_workers, readable_loaders
from ..prep import MeasurementError, OutputError, Progress, silent, usable_cpus
from .data import CacheState, Data, describe, read_into_cache
from .environment import Environment, capture
from .peers import Contest
from .plot import PLOT, write_plot
from .process import Job, Run, run_in_fresh_process
from .records import Code, Record, read_record, running_code, write_record
from .tables import Table, tabulate

OURS = (PLOT, "report.html")
"""What an output directory may hold besides records."""

Runner = Callable[[Job, float], Run]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure. Raises MeasurementError for a value that makes no sense."""

    root: Path
    loaders: tuple[str, ...] = ()
    """Names of loaders; empty: all that are installed and can read the root."""
    workers: tuple[int, ...] = ()
    """Worker counts; empty: 0 and the powers of two up to the usable CPUs. A loader without workers runs once."""
    batch_size: int = 64
    image_size: int = 224
    split: str = "train"
    seconds: float = 3.0
    """Measuring time of each run, after a warm-up of a third of it."""
    repeats: int = 3
    seed: int = 0
    timeout: float = 600.0
    """Seconds after which a run that has not ended is given up: a folder of a million files opens slowly."""
    peers: Contest | None = None
    """Other projects' loaders to measure in between, on the train split."""

    def __post_init__(self) -> None:
        if not (0 < self.seconds < self.timeout):
            raise MeasurementError(f"seconds must be more than 0 and less than {self.timeout:g}, got {self.seconds}")
        if self.repeats < 1:
            raise MeasurementError(f"repeats must be at least 1, got {self.repeats}")
        if self.peers and self.split != "train":
            raise MeasurementError(f"peers are measured on the train split, not on {self.split!r}; leave --peers out")

    def command(self, out: Path) -> tuple[str, ...]:
        """Return the command line that measures this plan again."""
        loaders = [word for name in self.loaders for word in ("--loader", name)]
        options = {
            **({"--workers": ",".join(map(str, self.workers))} if self.workers else {}),
            "--batch-size": self.batch_size,
            "--image-size": self.image_size,
            "--split": self.split,
            "--seconds": f"{self.seconds:g}",
            "--repeats": self.repeats,
            "--seed": self.seed,
            "--out": out,
        }
        peers = () if self.peers is None else ("--peers", "--envs", self.peers.envs, "--work", self.peers.work)
        words = (self.root, *loaders, *(word for pair in options.items() for word in pair), *peers)
        return ("feedline", "bench", *map(str, words))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A configuration that could not be measured."""

    loader: str
    workers: int
    problem: str


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What one bench found."""

    table: Table
    records: tuple[Record, ...]
    failures: tuple[Failure, ...]


def bench(plan: Plan, out: Path, progress: Progress = silent, run: Runner | None = None) -> BenchResult:
    """Measure ``plan`` and leave a record of each run, and a plot of all, in ``out``.

    A configuration that fails is given up and reported; the others go on. Raises OutputError when ``out``
    holds something else than records, DatasetError or LoaderError when the root or a loader cannot be used at
    all, MeasurementError when no run succeeded.
    """
    plan = _resolved(plan)
    run = run or (plan.peers.run if plan.peers else run_in_fresh_process)
    _open_output(out)
    data = describe(plan.root, plan.split)
    session = _Session(
        plan=plan,
        command=plan.command(out),
        code=running_code(),
        environment=_environment(plan),
        data=data,
        cache=read_into_cache(plan.root, plan.split, plan.loaders, progress),
    )
    records: list[Record] = []
    failures: dict[tuple[str, int], Failure] = {}
    for number, (repeat, loader, workers) in enumerate(_order(plan)):
        if (loader, workers) not in failures:
            try:
                records.append(session.measure(repeat, loader, workers, run))
            except MeasurementError as error:
                failures[loader, workers] = Failure(loader=loader, workers=workers, problem=str(error))
            else:
                write_record(out, records[-1])
        progress("measure", number + 1, plan.repeats * len(_configurations(plan)))
    if not records:
        raise MeasurementError(f"no run succeeded; the first failed with: {next(iter(failures.values())).problem}")
    table = tabulate(records)[0]
    write_plot(out / PLOT, table)
    return BenchResult(table=table, records=tuple(records), failures=tuple(failures.values()))


def default_workers() -> tuple[int, ...]:
    """Return 0 and the powers of two up to the usable CPUs, and these themselves."""
    cpus = usable_cpus()
    return (0, *sorted({cpus, *(2**power for power in range(cpus.bit_length()))}))


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What all runs of one bench have in common."""

    plan: Plan
    command: tuple[str, ...]
    code: Code
    environment: Environment
    data: Data
    cache: CacheState

    def measure(self, repeat: int, loader: str, workers: int, run: Runner) -> Record:
        plan = self.plan
        training = plan.split == "train"
        spec = LoaderSpec(
            root=plan.root,
            split=plan.split,
            batch_size=plan.batch_size,
            image_size=plan.image_size,
            transform="train" if training else "eval",
            workers=workers,
            shuffle=training,
            seed=plan.seed,
        )
        found = run(Job(loader=loader, spec=spec, seconds=plan.seconds), plan.timeout)
        return Record(
            date=datetime.now(UTC).isoformat(timespec="milliseconds"),
            command=self.command,
            loader=loader,
            config=spec,
            repeat=repeat,
            seconds=plan.seconds,
            cache=self.cache,
            code=self.code,
            environment=self.environment,
            data=self.data,
            open_seconds=found.open_seconds,
            measurement=found.measurement,
            peak_rss_bytes=found.peak_rss_bytes,
        )


def _resolved(plan: Plan) -> Plan:
    """Fill in the defaults that depend on the root and the machine."""
    return replace(plan, loaders=plan.loaders or tuple(readable_loaders(plan.root)))


def _environment(plan: Plan) -> Environment:
    """Return the surroundings; the peers' libraries, which this environment need not have, are among them."""
    found = capture()
    return replace(found, libraries=found.libraries | plan.peers.versions()) if plan.peers else found


def _configurations(plan: Plan) -> list[tuple[str, int]]:
    ours = [(name, count) for name in plan.loaders for count in _worker_counts(plan, name)]
    return ours + (plan.peers.configurations(plan.workers or default_workers()) if plan.peers else [])


def _worker_counts(plan: Plan, loader: str) -> tuple[int, ...]:
    """Return the asked counts, or by default those that the loader can use: shards feed one worker per stream."""
    if not LOADERS[loader].uses_workers:
        return (0,)
    if plan.workers:
        return plan.workers
    most = most_workers(loader, LoaderSpec(root=plan.root, split=plan.split))
    return tuple(count for count in default_workers() if most is None or count <= most)


def _order(plan: Plan) -> Iterator[tuple[int, str, int]]:
    """Yield (repeat, loader, workers): there and back again, until all repeats are done."""
    configurations = _configurations(plan)
    for repeat in range(plan.repeats):
        for loader, workers in configurations if repeat % 2 == 0 else reversed(configurations):
            yield repeat, loader, workers


def _open_output(out: Path) -> None:
    """Make ``out`` ready for records, or raise OutputError: now, not after an hour of measuring."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in out.iterdir():
            _require_ours(path)
        probe = out / "records.partial"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def _require_ours(path: Path) -> None:
    if path.name in OURS or path.suffix == ".partial":
        return
    try:
        read_record(path)
    except MeasurementError as error:
        raise OutputError(f"{path.parent} holds {path.name}, which is no bench record; choose another --out") from error

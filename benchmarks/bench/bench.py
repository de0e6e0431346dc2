"""The bench: it makes the runs of a plan and writes their records.

Runs are interleaved: every configuration once, then every configuration again in the opposite order. So a machine that
slowly heats up, or other work that starts and stops, affects all configurations alike. The state of the page cache is
made before each run, just before its process starts. The output directory is opened before the first run. Each record
is written as soon as its run has ended, so a failed run, a full disk or an interrupt loses no earlier result.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ...loaders import LoaderSpec, honours, readable_loaders
from ...prep import MeasurementError, OutputError, Progress, silent, write_atomically
from ...prep.base.disks import reason_of
from ...prep.base.paths import GivenPath
from ...prep.base.shell import shell_word
from ..machine.cache import AskedCache, evict, files_read, resident_fraction, warm
from ..machine.environment import Environment, capture
from ..measuring.dataset import MeasuredData, describe
from ..measuring.process import MeasuringJob, MeasuringRun, Runner, run_in_fresh_process
from ..measuring.record import OTHER_DOCUMENTS, Code, Record, read_record, read_records, running_code, write_record
from ..measuring.stops import measured_again
from ..results.plot import PLOT, write_plot
from ..results.ranking import Ranking, tabulate
from ..results.spreadsheet import SPREADSHEET, write_spreadsheet
from .plan import Configuration, Plan, covers_epoch, ordered_runs

STACKS = "stacks-of-"
"""Start of the names of the files with the stacks of a run that hung."""
KNOWN_FILES = (PLOT, SPREADSHEET, *OTHER_DOCUMENTS, "report.html")
"""Names of the files that an output directory may hold in addition to records and stacks."""


@dataclass(frozen=True, kw_only=True)
class FailedConfiguration:
    """A configuration that could not be measured."""

    loader: str
    workers: int
    batch_size: int
    cache: AskedCache
    problem: str


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The result of one bench."""

    table: Ranking
    records: tuple[Record, ...]
    failures: tuple[FailedConfiguration, ...]


def bench(plan: Plan, out: GivenPath, progress: Progress = silent, run: Runner | None = None) -> BenchResult:
    """Measure ``plan``; write to ``out`` a record of each run, and a plot and a spreadsheet of all records.

    A configuration that fails is not measured again and is reported; the others continue. Raises OutputError if
    ``out`` holds other files or is full. Raises DatasetError or LoaderError if the root or a loader cannot be used,
    and MeasurementError if no run succeeded.
    """
    out, plan = Path(out), replace(plan, loaders=plan.loaders or _default_loaders(plan))
    run = run or (plan.peers.run if plan.peers else run_in_fresh_process)
    _open_output(out)
    session = _BenchSession(
        plan=plan,
        command=plan.command(out),
        code=running_code(),
        environment=_environment(plan),
        data=describe(plan.root, plan.split),
        files={name: files_read(plan.root, plan.split, [name]) for name in plan.loaders},
    )
    records: list[Record] = []
    failures: dict[Configuration, FailedConfiguration] = {}
    order = list(ordered_runs(plan))
    for number, (repeat, configuration) in enumerate(order):
        if configuration not in failures:
            measured = _announced(run, partial(progress, "measure", number, len(order)))
            try:
                records.append(measured_again(partial(session.measure, repeat, configuration, progress, measured)))
            except MeasurementError as error:
                failures[configuration] = _failure(configuration, error, out)
            else:
                write_record(out, records[-1])
        progress("measure", number + 1, len(order))
    if not records:
        raise MeasurementError(f"no run succeeded; the first problem was: {next(iter(failures.values())).problem}")
    table = tabulate(records)[0]
    report = f"feedline report {shell_word(out)} --out report.html"
    see = f"all runs are measured; make room there, then see them with: {report}"
    write_spreadsheet(out / SPREADSHEET, read_records([out]), see)
    write_plot(out / PLOT, table, see)
    return BenchResult(table=table, records=tuple(records), failures=tuple(failures.values()))


def _announced(run: Runner, announce: Callable[[], None]) -> Runner:
    """Return ``run`` with a report before it: the first run takes long, and the step must show before its end."""

    def announced(job: MeasuringJob, timeout: float) -> MeasuringRun:
        announce()
        return run(job, timeout)

    return announced


def _default_loaders(plan: Plan) -> tuple[str, ...]:
    """Return the loaders that are installed, can read the root and honour the plan's decoding."""
    spec = LoaderSpec(root=plan.root, dct_scaling=plan.dct_scaling, pixels=plan.pixels)
    return tuple(name for name in readable_loaders(plan.root) if honours(name, spec))


@dataclass(frozen=True, kw_only=True)
class _BenchSession:
    """The values that all runs of one bench share."""

    plan: Plan
    command: tuple[str, ...]
    code: Code
    environment: Environment
    data: MeasuredData
    files: dict[str, list[Path]]
    """The files that each of feedline's loaders reads."""

    def measure(self, repeat: int, configuration: Configuration, progress: Progress, run: Runner) -> Record:
        plan, files, name = self.plan, self._files(configuration.loader), configuration.loader
        cold = configuration.cache == "cold"
        spec = self._spec(configuration)
        cache = evict(files) if cold else warm(files, progress)
        before = resident_fraction(files)
        # A loader that only replays batches reads nothing while it is measured, so it needs no end after one epoch.
        job = MeasuringJob(loader=name, spec=spec, seconds=plan.seconds, one_epoch=cold and covers_epoch(name))
        found = run(job, plan.timeout)
        return Record(
            date=datetime.now(UTC).isoformat(timespec="milliseconds"),
            command=self.command,
            loader=name,
            config=spec,
            repeat=repeat,
            seconds=plan.seconds,
            cache=cache,
            cache_asked=configuration.cache,
            resident_before=before,
            resident_after=resident_fraction(files),
            code=self.code,
            environment=self.environment,
            data=self.data,
            open_seconds=found.open_seconds,
            measurement=found.measurement,
            peak_rss_bytes=found.peak_rss_bytes,
        )

    def _files(self, loader: str) -> list[Path]:
        """Return the files that a loader reads. A peer's files are converted first if necessary."""
        if loader in self.files or not self.plan.peers:
            return self.files[loader]
        return self.plan.peers.files(loader, self.plan.root)

    def _spec(self, configuration: Configuration) -> LoaderSpec:
        plan = self.plan
        training = plan.split == "train"
        return LoaderSpec(
            root=plan.root,
            split=plan.split,
            batch_size=configuration.batch_size,
            image_size=plan.image_size,
            transform="train" if training else "eval",
            workers=configuration.workers,
            shuffle=training,
            seed=plan.seed,
            dct_scaling=plan.dct_scaling,
            pixels=plan.pixels,
        )


def _environment(plan: Plan) -> Environment:
    """Return the environment with the versions of the peers' libraries, which need not be installed here."""
    found = capture()
    return replace(found, libraries=found.libraries | plan.peers.versions()) if plan.peers else found


def _failure(configuration: Configuration, error: MeasurementError, out: Path) -> FailedConfiguration:
    """Return the failure. The stacks of a run that hung are written next to the records, if that is possible."""
    problem, stacks = str(error), "\n".join(getattr(error, "__notes__", ()))
    if stacks:
        path = out / f"{STACKS}{configuration}.txt"
        with contextlib.suppress(OSError):
            write_atomically(path, f"{problem}\n\n{stacks}\n".encode("utf-8", "replace"))
            problem += f"; the stack of every thread is in {path}"
    return FailedConfiguration(**vars(configuration), problem=problem)


def _open_output(out: Path) -> None:
    """Prepare ``out`` for records. Raises OutputError before the first run instead of after the measurements."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in out.iterdir():
            _require_known(path)
        probe = out / "records.partial"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {reason_of(error, out)}; choose another --out") from error


def _require_known(path: Path) -> None:
    if path.name in KNOWN_FILES or path.name.startswith(STACKS) or path.suffix == ".partial":
        return
    try:
        read_record(path)
    except MeasurementError as error:
        raise OutputError(
            f"{path.parent} holds {path.name}, which is not a bench record that this feedline reads; "
            f"choose another --out"
        ) from error

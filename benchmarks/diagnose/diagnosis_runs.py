"""The runs behind a diagnosis: each in a fresh process, interleaved over the repeats.

The first runs measure every loader alone on warm data with every worker count. They give the curve from which the
recommendation is made. The next runs are the four differential runs of one loader at its knee, interleaved. These
measure the model on replayed batches, the loader alone on warm and on cold data, and both together in the state that a
real epoch finds. One more process times the loader's stages. The data are made cold just before each cold run, and
their state is checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from ...loaders import LOADERS, LoaderSpec, PixelOrder, honours, most_workers, readable_loaders
from ...loaders.store.roots import Root, given_root
from ...prep import MeasurementError, Progress, silent
from ...prep.base.origins import size_of
from ..bench.plan import default_workers, require_run_settings
from ..machine.cache import evict, files_read, warm
from ..machine.environment import free_memory
from ..measuring.encodings import Profile
from ..measuring.interleaving import interleaved
from ..measuring.measure import Measurement
from ..measuring.model_step import ModelStep
from ..measuring.process import MeasuringJob, Profiler, Runner, profile_in_fresh_process, run_in_fresh_process
from ..measuring.stops import measured_again
from ..results.ranking import CEILING
from .recommend import CurvePoint, recommend
from .verdict import Rate, State, rate_of, state_that_counts


@dataclass(frozen=True, kw_only=True)
class DiagnosisPlan:
    """What to diagnose. Raises MeasurementError for values that cannot be measured."""

    root: Root
    step: ModelStep
    """The model."""
    loaders: tuple[str, ...] = ()
    """Names of loaders. If empty, all that are installed and can read the root. The fastest is diagnosed."""
    workers: tuple[int, ...] = ()
    """Worker counts of the curve. If empty, the powers of two up to the usable CPUs, and these."""
    batch_size: int = 64
    image_size: int = 224
    pixels: PixelOrder = "exact"
    """As ``LoaderSpec.pixels``. If ``loaders`` is empty, the loaders that have this order are measured."""
    seconds: float = 1.5
    """Measuring time of each run, after a warm-up of a third of it."""
    repeats: int = 3
    seed: int = 0
    device: str = "cpu"
    timeout: float = 600.0
    """Seconds after which a run is ended."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", given_root(self.root))  # the plan is frozen
        require_run_settings(self.seconds, self.repeats, self.timeout)

    def job(self, loader: str, workers: int) -> MeasuringJob:
        """Return the job that measures a loader alone."""
        spec = LoaderSpec(
            root=self.root,
            batch_size=self.batch_size,
            image_size=self.image_size,
            pixels="exact" if loader == CEILING else self.pixels,  # it decodes nothing while it is measured
            workers=workers,
            seed=self.seed,
            device=self.device,
        )
        return MeasuringJob(loader=loader, spec=spec, seconds=self.seconds)


@dataclass(frozen=True, kw_only=True)
class DiagnosisRun:
    """One measuring run of a diagnosis."""

    name: str
    """``curve``, ``model``, ``warm``, ``cold`` or ``together``."""
    loader: str
    workers: int
    repeat: int
    measurement: Measurement


@dataclass(frozen=True, kw_only=True)
class MeasuredRates:
    """Everything that was measured for a diagnosis, without a verdict."""

    curve: tuple[CurvePoint, ...]
    chosen: CurvePoint
    """The diagnosed loader at its knee."""
    state: State
    data_bytes: int
    free_bytes: int
    model: Rate
    warm: Rate
    cold: Rate | None
    together: Rate
    profile: Profile
    runs: tuple[DiagnosisRun, ...]
    problems: tuple[str, ...]
    """What could not be measured, with the reason."""


def measure_rates(
    plan: DiagnosisPlan,
    progress: Progress = silent,
    run: Runner = run_in_fresh_process,
    profile: Profiler = profile_in_fresh_process,
) -> MeasuredRates:
    """Make all runs of ``plan`` and return their rates.

    A loader that fails is left out and named in ``problems``. Raises MeasurementError if no loader or if the model
    cannot be measured, and the errors of reading the root.
    """
    plan = replace(plan, loaders=plan.loaders or _trainable(plan))
    session = _DiagnosisSession(plan, progress, run)
    warm(files_read(plan.root, "train", plan.loaders), progress)
    curve = session.curve()
    chosen = recommend(curve)
    files = files_read(plan.root, "train", [chosen.loader])
    data_bytes, free_bytes = sum(map(size_of, files)), free_memory()
    state = state_that_counts(data_bytes, free_bytes)
    rates = session.differential_rates(chosen, files, state)
    job = plan.job(chosen.loader, 0 if LOADERS[chosen.loader].workers == "none" else min(1, chosen.workers))
    return MeasuredRates(
        curve=tuple(curve),
        chosen=chosen,
        state=state,
        data_bytes=data_bytes,
        free_bytes=free_bytes,
        model=rates["model"],
        warm=rates["warm"],
        cold=rates.get("cold"),
        together=rates["together"],
        profile=profile(job, plan.timeout),
        runs=tuple(session.runs),
        problems=tuple(session.problems),
    )


class _DiagnosisSession:
    """Makes the runs of one diagnosis and collects them."""

    def __init__(self, plan: DiagnosisPlan, progress: Progress, run: Runner) -> None:
        self._plan, self._progress, self._run = plan, progress, run
        self.runs: list[DiagnosisRun] = []
        self.problems: list[str] = []

    def curve(self) -> list[CurvePoint]:
        """Measure every loader with every worker count."""
        settings = [(name, count) for name in self._plan.loaders for count in _worker_counts(self._plan, name)]
        found: dict[tuple[str, int], list[Measurement]] = {setting: [] for setting in settings}
        self._progress("loaders alone", 0, len(settings) * self._plan.repeats)
        for done, (repeat, (loader, workers)) in enumerate(interleaved(settings, self._plan.repeats), 1):
            if (loader, workers) in found:
                try:
                    found[loader, workers].append(self._measure("curve", self._plan.job(loader, workers), repeat))
                except MeasurementError as error:
                    del found[loader, workers]
                    self.problems.append(f"{loader} with {workers} workers could not be measured: {error}")
            self._progress("loaders alone", done, len(settings) * self._plan.repeats)
        if not found:
            raise MeasurementError(f"no loader could be measured; the first problem was: {self.problems[0]}")
        return [_point(loader, workers, runs) for (loader, workers), runs in found.items()]

    def differential_rates(self, chosen: CurvePoint, files: Sequence[Path], state: State) -> dict[str, Rate]:
        """Measure the four differential runs; without the cold one if the data cannot be made cold."""
        alone = self._plan.job(chosen.loader, chosen.workers)
        jobs = {
            "model": replace(self._plan.job(CEILING, 0), step=self._plan.step),
            "warm": alone,
            "cold": replace(alone, one_epoch=True),
            "together": replace(alone, step=self._plan.step, one_epoch=state == "cold"),
        }
        found: dict[str, list[Measurement]] = {}
        self._progress("loader and model", 0, len(jobs) * self._plan.repeats)
        for done, (repeat, name) in enumerate(interleaved(list(jobs), self._plan.repeats), 1):
            if name == "cold":
                self._measure_cold(jobs[name], repeat, files, found)
            else:
                if jobs[name].one_epoch:
                    evict(files)
                elif state == "warm":
                    warm(files)
                found.setdefault(name, []).append(self._measure(name, jobs[name], repeat, files))
            self._progress("loader and model", done, len(jobs) * self._plan.repeats)
        return {name: _rate(runs, whole=jobs[name].one_epoch) for name, runs in found.items()}

    def _measure_cold(
        self, job: MeasuringJob, repeat: int, files: Sequence[Path], found: dict[str, list[Measurement]]
    ) -> None:
        problem = "the page cache cannot be emptied or checked on this machine"
        if evict(files) == "cold":
            try:
                found.setdefault("cold", []).append(self._measure("cold", job, repeat, files))
                return
            except MeasurementError as error:
                problem = str(error)
                found.pop("cold", None)
        sentence = f"cold data could not be measured: {problem}"
        if sentence not in self.problems:
            self.problems.append(sentence)

    def _measure(self, name: str, job: MeasuringJob, repeat: int, files: Sequence[Path] = ()) -> Measurement:
        """Measure a job; if its run was stopped, measure it again, a cold one after dropping ``files`` again."""
        prepare = (lambda: evict(files)) if job.one_epoch else lambda: None
        found = measured_again(lambda: self._run(job, self._plan.timeout).measurement, prepare)
        spec = job.spec
        self.runs.append(
            DiagnosisRun(name=name, loader=job.loader, workers=spec.workers, repeat=repeat, measurement=found)
        )
        return found


def _trainable(plan: DiagnosisPlan) -> tuple[str, ...]:
    spec = LoaderSpec(root=plan.root, pixels=plan.pixels)
    return tuple(name for name in readable_loaders(plan.root) if LOADERS[name].covers_epoch and honours(name, spec))


def _worker_counts(plan: DiagnosisPlan, loader: str) -> list[int]:
    """Return the counts of the curve that the loader can use; by default without 0, which is not recommended."""
    most = most_workers(loader, LoaderSpec(root=plan.root))
    counts = plan.workers or [count for count in default_workers() if count]
    return [count for count in counts if most is None or count <= most] or [0]


def _point(loader: str, workers: int, runs: Sequence[Measurement]) -> CurvePoint:
    cpu = [run.cpu_seconds / run.samples for run in runs if run.cpu_seconds is not None]
    return CurvePoint(
        loader=loader,
        workers=workers,
        rate=_rate(runs),
        cpu_seconds_per_image=median(cpu) if cpu else None,
    )


def _rate(runs: Sequence[Measurement], *, whole: bool = False) -> Rate:
    """Return the median and the range of several runs. The range of a single run is that of its halves.

    With ``whole`` a run counts from the request for the first batch. This is right for cold runs: the kernel reads
    ahead, so that later windows may find in memory what was read before them.
    """
    rates = [run.whole_images_per_second if whole else run.images_per_second for run in runs]
    if len(runs) > 1:
        return rate_of(rates)
    windows = runs[0].windows
    halves = [half for half in (windows[: len(windows) // 2], windows[len(windows) // 2 :]) if half]
    ends = [rates[0], *(sum(w.samples for w in half) / sum(w.seconds for w in half) for half in halves)]
    return Rate(images_per_second=rates[0], lowest=min(ends), highest=max(ends))

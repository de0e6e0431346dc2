"""The runs behind a utilisation: each of some accelerators side by side, each with another seed.

The workers of the loader are those that the diagnosis recommends for the whole machine, divided among the
accelerators. The data are made warm or cold before each run, as a real epoch finds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

from ...loaders import LoaderSpec, PixelOrder, most_workers
from ...loaders.store.roots import Root
from ...prep import MeasurementError, Progress, silent
from ...prep.base.origins import shown, size_of
from ..machine.cache import evict, warm
from ..machine.environment import free_memory, granted_memory
from ..measuring.stops import measured_again
from .accelerators import BATCH_SIZE, MINIMUM_AU, Accelerator
from .child import EmulationJob
from .processes import Emulator, run_side_by_side
from .rules import Conditions, compare_with_rules
from .search import MOST_PROBES, Search, search
from .steps import Emulated
from .utilisation import EmulationRun, Utilisation, tabulate_runs

PROCESS_BYTES = 2**29
"""Memory of an accelerator's process: MLPerf Storage's rules say about 0.5 GB, and torch takes about as much."""
STEP = "emulated accelerators"  # of the progress
SECONDS = 4
"""The measuring time of a run in units of the diagnosis' ``seconds``: a step of 400 images takes long."""


@dataclass(frozen=True, kw_only=True)
class EmulationPlan:
    """What to emulate."""

    accelerator: Accelerator
    accelerators: int | None = None
    """The number to test; None to search for the most that are kept."""
    batch_size: int = BATCH_SIZE
    """Images of each accelerator."""


@dataclass(frozen=True, kw_only=True)
class Supply:
    """The loader that feeds the accelerators, and what the diagnosis found out about it."""

    root: Root
    loader: str
    workers: int
    """Of the whole machine."""
    image_size: int
    pixels: PixelOrder
    seed: int
    seconds: float
    """Measuring time of a run of the diagnosis."""
    repeats: int
    timeout: float
    samples: int
    """Images of the train split."""
    files: Sequence[Path]
    """The files that the loader reads."""
    state: Literal["warm", "cold"]
    images_per_second: float
    """The rate of the loader alone in this state."""


def most_accelerators(root: Root, samples: int, plan: EmulationPlan) -> int:
    """Return how many accelerators the data and the free memory allow.

    Raises MeasurementError if they allow fewer than the plan has, or none.
    """
    by_data, by_memory = samples // (2 * plan.batch_size), free_memory() // PROCESS_BYTES
    number = plan.accelerators or 1
    if number > by_data:
        raise MeasurementError(
            f"the train split of {shown(root)} has {samples:,} images, and {number} emulated accelerator"
            f"{'s need' if number > 1 else ' needs'} two batches of {plan.batch_size} each, because the first step "
            f"does not count; use {'fewer --accelerators, ' if number > 1 else ''}a smaller --batch-size or more images"
        )
    if number > by_memory:
        raise MeasurementError(
            f"{number} emulated accelerators need about {number * PROCESS_BYTES / 2**30:,.1f} GiB of memory, and "
            f"{free_memory() / 2**30:,.1f} GiB are free; use fewer --accelerators"
        )
    return min(by_data, by_memory)


def measure_utilisation(
    plan: EmulationPlan, supply: Supply, progress: Progress = silent, run: Emulator = run_side_by_side
) -> Utilisation:
    """Make the runs and return the utilisation. Raises MeasurementError if not even the first can be made."""
    most = most_accelerators(supply.root, supply.samples, plan)
    session = _Session(plan, supply, run)
    if plan.accelerators is not None:
        _repeat(session, plan.accelerators, supply.repeats, progress)
        return session.result(kept=None, exact=True)
    found = _search(session, most, progress)
    if found.kept == most:
        session.problems.append(f"the data or the free memory allow no more than {most} emulated accelerators")
    return session.result(kept=found.kept, exact=found.is_exact)


def _repeat(session: "_Session", accelerators: int, repeats: int, progress: Progress) -> None:
    for done in range(repeats):
        progress(STEP, done, repeats)
        try:
            session.run(accelerators)
        except MeasurementError:
            if not session.runs:
                raise
            break  # the runs before count, and the problem is in the result
    progress(STEP, repeats, repeats)


def _search(session: "_Session", most: int, progress: Progress) -> Search:
    """Search from the number that follows from the rate of the loader alone."""
    supply, takes = session.supply, session.plan.accelerator.images_per_second
    bound = MOST_PROBES + 2 * supply.repeats
    start = int(supply.images_per_second / takes / MINIMUM_AU)
    find = Search(start=min(most, max(1, start)), repeats=supply.repeats, most=most)
    progress(STEP, 0, bound)
    search(session.run, find, lambda done: progress(STEP, done, bound))
    progress(STEP, bound, bound)
    return find


class _Session:
    """Makes the runs and collects them."""

    def __init__(self, plan: EmulationPlan, supply: Supply, run: Emulator) -> None:
        self.plan, self.supply, self._run = plan, supply, run
        self.runs: list[EmulationRun] = []
        self.problems: list[str] = []

    def run(self, accelerators: int) -> float:
        """Run so many accelerators and return their utilisation. The problem of a failed run is kept."""
        seed = self.supply.seed + len(self.runs)
        workers = self._workers(accelerators)
        jobs = [self._job(accelerators, rank, workers, seed) for rank in range(accelerators)]
        try:
            results = measured_again(partial(self._measured, jobs))
        except MeasurementError as error:
            self.problems.append(f"{accelerators} emulated accelerators could not be run: {error}")
            raise
        self.runs.append(EmulationRun(accelerators=accelerators, workers=workers, seed=seed, results=tuple(results)))
        return self.runs[-1].au

    def result(self, *, kept: int | None, exact: bool) -> Utilisation:
        """Return the utilisation; ``kept`` is what the search found, None if one number was tested."""
        plan, supply = self.plan, self.supply
        found = Utilisation(
            accelerator=plan.accelerator,
            loader=supply.loader,
            batch_size=plan.batch_size,
            image_size=supply.image_size,
            state=supply.state,
            asked=plan.accelerators,
            kept=kept,
            exact=exact,
            tested=tabulate_runs(self.runs),
            alone_images_per_second=supply.images_per_second,
            rules=(),
            runs=tuple(self.runs),
            problems=tuple(self.problems),
        )
        if plan.accelerators is not None and found.headline.kept:
            found = replace(found, kept=plan.accelerators)
        return replace(found, rules=compare_with_rules(self._conditions(found.headline.accelerators)))

    def _conditions(self, accelerators: int) -> Conditions:
        """Return what the rules are compared with, for the runs of so many accelerators."""
        runs = [run for run in self.runs if run.accelerators == accelerators]
        in_a_row, before = _longest_row([run.accelerators for run in self.runs], accelerators)
        return Conditions(
            accelerators=accelerators,
            batch_size=self.plan.batch_size,
            samples=self.supply.samples,
            data_bytes=sum(map(size_of, self.supply.files)),
            memory_bytes=granted_memory(),
            state=self.supply.state,
            seeds=[run.seed for run in runs],
            rates=[run.images_per_second for run in runs],
            epochs=[min(result.epochs for result in run.results) for run in runs],
            in_a_row=in_a_row,
            runs_before=before,
        )

    def _measured(self, jobs: Sequence[EmulationJob]) -> list[Emulated]:
        (evict if self.supply.state == "cold" else warm)(self.supply.files)
        return self._run(jobs, SECONDS * self.supply.seconds, self.supply.timeout)

    def _workers(self, accelerators: int) -> int:
        """Return the workers of each accelerator's loader: its share, rounded up, at most those that it can use."""
        supply = self.supply
        share = -(-supply.workers // accelerators)
        spec = LoaderSpec(root=supply.root, workers=share, rank=0, world_size=accelerators)
        most = most_workers(supply.loader, spec)
        return share if most is None else min(share, most)

    def _job(self, accelerators: int, rank: int, workers: int, seed: int) -> EmulationJob:
        supply, plan = self.supply, self.plan
        return EmulationJob(
            loader=supply.loader,
            spec=LoaderSpec(
                root=supply.root,
                batch_size=plan.batch_size,
                image_size=supply.image_size,
                pixels=supply.pixels,
                workers=workers,
                drop_last=True,
                seed=seed,
                rank=rank,
                world_size=accelerators,
            ),
            seconds_per_image=plan.accelerator.compute_seconds(1),
        )


def _longest_row(numbers: Sequence[int], number: int) -> tuple[int, int]:
    """Return the length of the longest row of ``number`` in ``numbers``, and how many numbers are before it."""
    rows, begin = [(0, 0)], 0
    for found, group in groupby(numbers):
        length = len(list(group))
        if found == number:
            rows.append((length, begin))
        begin += length
    return max(rows, key=lambda row: row[0])

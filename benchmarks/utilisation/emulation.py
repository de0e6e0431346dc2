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
    asked = plan.accelerators
    bound = supply.repeats if asked else MOST_PROBES + 2 * supply.repeats

    def tell(done: int) -> None:
        progress("emulated accelerators", done, bound)

    tell(0)
    if asked:
        for done in range(supply.repeats):
            session.run(asked)
            tell(done + 1)
        kept, exact = None, True
    else:
        start = int(supply.images_per_second / plan.accelerator.images_per_second / MINIMUM_AU)
        found = Search(start=min(most, max(1, start)), repeats=supply.repeats, most=most)
        search(session.run, found, tell)
        kept, exact = found.kept, found.is_exact
        if kept == most:
            session.problems.append(f"the data or the free memory allow no more than {most} emulated accelerators")
    tell(bound)
    result = Utilisation(
        accelerator=plan.accelerator,
        loader=supply.loader,
        batch_size=plan.batch_size,
        image_size=supply.image_size,
        state=supply.state,
        asked=asked,
        kept=kept,
        exact=exact,
        tested=tabulate_runs(session.runs),
        alone_images_per_second=supply.images_per_second,
        rules=(),
        runs=tuple(session.runs),
        problems=tuple(session.problems),
    )
    if asked and result.headline.kept:
        result = replace(result, kept=asked)
    return replace(result, rules=compare_with_rules(session.conditions(result.headline.accelerators)))


class _Session:
    """Makes the runs and collects them."""

    def __init__(self, plan: EmulationPlan, supply: Supply, run: Emulator) -> None:
        self._plan, self._supply, self._run = plan, supply, run
        self.runs: list[EmulationRun] = []
        self.problems: list[str] = []

    def run(self, accelerators: int) -> float:
        """Run so many accelerators and return their utilisation. The problem of a failed run is kept."""
        seed = self._supply.seed + len(self.runs)
        workers = self._workers(accelerators)
        jobs = [self._job(accelerators, rank, workers, seed) for rank in range(accelerators)]
        try:
            results = measured_again(partial(self._measured, jobs))
        except MeasurementError as error:
            self.problems.append(f"{accelerators} emulated accelerators could not be run: {error}")
            raise
        self.runs.append(EmulationRun(accelerators=accelerators, workers=workers, seed=seed, results=tuple(results)))
        return self.runs[-1].au

    def conditions(self, accelerators: int) -> Conditions:
        """Return what the rules are compared with, for the runs of so many accelerators."""
        runs = [run for run in self.runs if run.accelerators == accelerators]
        in_a_row, before = _longest_row([run.accelerators for run in self.runs], accelerators)
        return Conditions(
            accelerators=accelerators,
            batch_size=self._plan.batch_size,
            samples=self._supply.samples,
            data_bytes=sum(map(size_of, self._supply.files)),
            memory_bytes=granted_memory(),
            state=self._supply.state,
            seeds=[run.seed for run in runs],
            rates=[run.images_per_second for run in runs],
            epochs=[min(result.epochs for result in run.results) for run in runs],
            in_a_row=in_a_row,
            runs_before=before,
        )

    def _measured(self, jobs: Sequence[EmulationJob]) -> list[Emulated]:
        (evict if self._supply.state == "cold" else warm)(self._supply.files)
        return self._run(jobs, SECONDS * self._supply.seconds, self._supply.timeout)

    def _workers(self, accelerators: int) -> int:
        """Return the workers of each accelerator's loader: its share, rounded up, at most those that it can use."""
        supply = self._supply
        share = -(-supply.workers // accelerators)
        spec = LoaderSpec(root=supply.root, workers=share, rank=0, world_size=accelerators)
        most = most_workers(supply.loader, spec)
        return share if most is None else min(share, most)

    def _job(self, accelerators: int, rank: int, workers: int, seed: int) -> EmulationJob:
        supply, plan = self._supply, self._plan
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

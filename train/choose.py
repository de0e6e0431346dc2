"""The choice of a run's loader and workers: as requested, as in the resumed run, or the fastest in a trial.

Benchmark records are better evidence than a trial: `feedline bench` measures longer, and every worker count. The
command line reads them, because this package must not import benchmarks. Without a choice from records, each loader is
tried for some seconds.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from time import perf_counter

from ..loaders import Batch, Loader, open_loader
from ..prep import FeedlineError, Progress, TrainingError
from ..prep.base.plurals import counted
from .checkpoint import read_about
from .config import AUTO, TrainConfig
from .data import default_workers, loader_spec, trainable_loaders
from .ranks import Ranks

# The first batch waits for workers to start, and is not counted. Two seconds of 2 cores are some 40 batches of 64.
TRIAL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A loader, its workers, and why they were chosen."""

    loader: str
    workers: int
    reason: str

    @property
    def sentence(self) -> str:
        """The choice in one sentence, for the user to read when the run starts."""
        return f"loader: {self.loader} with {counted(self.workers, 'worker')}, {self.reason}"


def choose_loader(config: TrainConfig, ranks: Ranks, progress: Progress) -> Choice:
    """Return the loader and the workers of a run.

    Raises DatasetError if no loader can read the root, TrainingError if every loader fails in its trial.
    """
    if config.loader != AUTO:
        return _choice(config, ranks, config.loader, "as requested")
    if config.resume is not None:
        before = read_about(config.resume).config
        return _choice(config, ranks, before.loader, "as in the resumed run")
    names = trainable_loaders(config.root)
    if len(names) == 1:
        return _choice(config, ranks, names[0], f"the only loader that can read {config.root}")
    rates = {name: _trial_rate(config, ranks, name, progress) for name in names}
    best = max(names, key=lambda name: rates[name])
    if rates[best] == 0:
        raise TrainingError(f"no loader can read a batch of {config.root}; see why with --loader {names[0]}")
    listed = ", ".join(f"{name} {rate:,.0f}" if rate else f"{name} failed" for name, rate in rates.items())
    return _choice(config, ranks, best, f"the fastest in a trial of {TRIAL_SECONDS:.0f} s each (images/s: {listed})")


def _choice(config: TrainConfig, ranks: Ranks, loader: str, reason: str) -> Choice:
    return Choice(loader=loader, workers=_workers(config, ranks, loader), reason=reason)


def _workers(config: TrainConfig, ranks: Ranks, loader: str) -> int:
    return default_workers(config.root, loader, ranks) if config.workers is None else config.workers


def _trial_rate(config: TrainConfig, ranks: Ranks, name: str, progress: Progress) -> float:
    """Return the images/s of a loader in a trial; 0 if it cannot do what the run needs."""
    step = f"try {name}"
    progress(step, 0, 1)
    try:
        workers = _workers(config, ranks, name)
        # A data set of less than one batch is tried too. open_data rejects it with its own message.
        spec = replace(loader_spec(config, ranks, "train"), workers=workers, drop_last=False)
        with closing(open_loader(name, spec)) as loader:
            rate = _measure_rate(loader)
    except FeedlineError:
        rate = 0.0
    progress(step, 1, 1)
    return rate


def _measure_rate(loader: Loader) -> float:
    """Return the images/s that a loader yields from its second batch on; 0 if it has no batch."""
    if len(loader) == 0:
        return 0.0
    batches = (batch for epoch in itertools.count() for batch in _epoch(loader, epoch))
    next(batches)
    images, seconds, began = 0, 0.0, perf_counter()
    while seconds < TRIAL_SECONDS:
        images += len(next(batches).indexes)
        seconds = perf_counter() - began
    return images / seconds


def _epoch(loader: Loader, epoch: int) -> Iterator[Batch]:
    loader.set_epoch(epoch)
    yield from loader

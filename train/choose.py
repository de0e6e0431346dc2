"""Which loader trains, with how many workers: as asked, as the run did before, or as measured here and now.

Benchmark records are the better answer (`feedline bench` measures longer, and every worker count); the command
line reads them, because nothing here may know of benchmarks. Without any, each loader is tried for some seconds.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter

from ..loaders import LOADERS, Batch, Loader, LoaderSpec, open_loader, readable_loaders
from ..prep import FeedlineError, Progress, TrainingError
from .checkpoint import read_checkpoint
from .config import AUTO, TrainConfig
from .data import default_workers
from .ranks import Ranks

# The first batch waits for workers to start, and is not counted. Two seconds of 2 cores are some 40 batches of 64.
PROBE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A loader, its workers, and why these."""

    loader: str
    workers: int
    reason: str

    @property
    def sentence(self) -> str:
        """What a person wants to read when the run starts."""
        return f"loader: {self.loader} with {self.workers} workers, {self.reason}"


def choose_loader(config: TrainConfig, ranks: Ranks, progress: Progress) -> Choice:
    """Return the loader and the workers of a run. Raises DatasetError where no loader can read the root."""
    if config.loader != AUTO:
        return _choice(config, ranks, config.loader, "as asked")
    if config.resume is not None:
        before = read_checkpoint(config.resume).about.config
        return _choice(config, ranks, before.loader, "as the run began")
    names = [name for name in readable_loaders(config.root) if LOADERS[name].covers_epoch]
    if len(names) == 1:
        return _choice(config, ranks, names[0], f"the only one that can read {config.root}")
    rates = {name: _try(config, ranks, name, progress) for name in names}
    best = max(names, key=lambda name: rates[name])
    if rates[best] == 0:
        raise TrainingError(f"no loader can read a batch of {config.root}; see why with --loader {names[0]}")
    told = ", ".join(f"{name} {rate:,.0f}" if rate else f"{name} failed" for name, rate in rates.items())
    return _choice(config, ranks, best, f"the fastest in a trial of {PROBE_SECONDS:.0f} s each (images/s: {told})")


def _choice(config: TrainConfig, ranks: Ranks, loader: str, reason: str) -> Choice:
    workers = default_workers(config.root, loader, ranks) if config.workers is None else config.workers
    return Choice(loader=loader, workers=workers, reason=reason)


def _try(config: TrainConfig, ranks: Ranks, name: str, progress: Progress) -> float:
    """Return the images/s of a loader; 0 where it cannot do what the run needs."""
    step = f"try {name}"
    progress(step, 0, 1)
    try:
        spec = LoaderSpec(
            root=config.root,
            batch_size=config.batch_size,
            image_size=config.image_size,
            workers=_choice(config, ranks, name, "").workers,
            seed=config.seed,
            rank=ranks.rank,
            world_size=ranks.size,
            device=ranks.device,
            decode=config.decode,
            dct_scaling=config.dct_scaling,
        )
        with closing(open_loader(name, spec)) as loader:
            rate = probe(loader)
    except FeedlineError:
        rate = 0.0
    progress(step, 1, 1)
    return rate


def probe(loader: Loader) -> float:
    """Return the images/s that a loader hands out from its second batch on; 0 where it has none."""
    if len(loader) == 0:
        return 0.0
    batches = (batch for epoch in itertools.count() for batch in _epoch(loader, epoch))
    next(batches)
    images, seconds, began = 0, 0.0, perf_counter()
    while seconds < PROBE_SECONDS:
        images += len(next(batches).indexes)
        seconds = perf_counter() - began
    return images / seconds


def _epoch(loader: Loader, epoch: int) -> Iterator[Batch]:
    loader.set_epoch(epoch)
    yield from loader

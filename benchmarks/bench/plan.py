"""The plan of a bench, and the order of its runs."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...loaders import LOADERS, LoaderSpec, PixelOrder, most_workers
from ...loaders.store.roots import Root, given_root
from ...prep import MeasurementError, usable_cpus
from ...prep.base.origins import shown
from ..machine.cache import AskedCache
from ..measuring.interleaving import interleaved
from ..peers import Contest


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a bench measures. Raises MeasurementError for values that cannot be measured."""

    root: Root
    loaders: tuple[str, ...] = ()
    """Names of loaders. If empty, all loaders that are installed and can read the root."""
    workers: tuple[int, ...] = ()
    """Worker counts. If empty, 0, the powers of two up to the usable CPUs, and these. A loader without workers runs
    once."""
    batch_sizes: tuple[int, ...] = (64,)
    caches: tuple[AskedCache, ...] = ("warm",)
    """States of the page cache. A loader that only replays batches is measured in the first state only."""
    image_size: int = 224
    split: str = "train"
    dct_scaling: bool = False
    """As ``LoaderSpec.dct_scaling``. If ``loaders`` is empty, the loaders that support it are measured."""
    pixels: PixelOrder = "exact"
    """As ``LoaderSpec.pixels``. If ``loaders`` is empty, the loaders that have this order are measured."""
    seconds: float = 3.0
    """Measuring time of each run, after a warm-up of a third of it; a cold run ends with its first epoch."""
    repeats: int = 3
    seed: int = 0
    timeout: float = 600.0
    """Seconds after which a run is ended. The default is long, because a folder of a million files opens slowly."""
    peers: Contest | None = None
    """Other projects' loaders, whose runs are interleaved with the others, on the train split."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", given_root(self.root))  # the plan is frozen
        require_run_settings(self.seconds, self.repeats, self.timeout)
        if not self.batch_sizes or not self.caches:
            raise MeasurementError("a plan needs at least one batch size and one state of the cache; give both")
        if self.peers and self.split != "train":
            raise MeasurementError(f"peers are measured on the train split, not on {self.split!r}; leave --peers out")

    def command(self, out: Path) -> tuple[str, ...]:
        """Return the words of the command line that measures this plan again."""
        loaders = [word for name in self.loaders for word in ("--loader", name)]
        options = {
            **({"--workers": ",".join(map(str, self.workers))} if self.workers else {}),
            "--batch-size": ",".join(map(str, self.batch_sizes)),
            "--cache": self.caches[0] if len(self.caches) == 1 else "both",
            "--image-size": self.image_size,
            "--split": self.split,
            "--seconds": f"{self.seconds:g}",
            "--repeats": self.repeats,
            "--seed": self.seed,
            "--out": out,
        }
        loaders += ["--dct-scaling"] if self.dct_scaling else []
        loaders += [] if self.pixels == "exact" else ["--pixels", self.pixels]
        peers = () if self.peers is None else ("--peers", "--envs", self.peers.envs, "--work", self.peers.work)
        words = (self.root, *loaders, *(word for pair in options.items() for word in pair), *peers)
        return ("feedline", "bench", *map(shown, words))


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What one run measures: one row of the ranking."""

    loader: str
    workers: int
    batch_size: int
    cache: AskedCache

    def __str__(self) -> str:
        return f"{self.loader}-w{self.workers}-b{self.batch_size}-{self.cache}"


def require_run_settings(seconds: float, repeats: int, timeout: float) -> None:
    """Raise MeasurementError if no run can be made with these settings; times are in seconds."""
    if not 0 < seconds < timeout:
        raise MeasurementError(f"seconds must be more than 0 and less than {timeout:g}, got {seconds}")
    if repeats < 1:
        raise MeasurementError(f"repeats must be at least 1, got {repeats}")


def default_workers() -> tuple[int, ...]:
    """Return 0, the powers of two up to the usable CPUs, and the number of usable CPUs."""
    cpus = usable_cpus()
    return (0, *sorted({cpus, *(2**power for power in range(cpus.bit_length()))}))


def covers_epoch(loader: str) -> bool:
    """Return whether a loader reads its data in every epoch: all peers do, and all loaders except ``cached``."""
    return loader not in LOADERS or LOADERS[loader].covers_epoch


def ordered_runs(plan: Plan) -> Iterator[tuple[int, Configuration]]:
    """Yield (repeat, configuration) for all runs of the plan, interleaved over the repeats."""
    return interleaved(list(_configurations(plan)), plan.repeats)


def _configurations(plan: Plan) -> Iterator[Configuration]:
    for loader in (*plan.loaders, *(plan.peers.names if plan.peers else ())):
        caches = plan.caches if covers_epoch(loader) else plan.caches[:1]
        for batch_size, workers, cache in itertools.product(plan.batch_sizes, _worker_counts(plan, loader), caches):
            yield Configuration(loader=loader, workers=workers, batch_size=batch_size, cache=cache)


def _worker_counts(plan: Plan, loader: str) -> tuple[int, ...]:
    """Return the requested counts, or by default those that the loader can use: shards feed one worker per stream."""
    if loader not in LOADERS and plan.peers:
        return plan.peers.worker_counts(loader, plan.workers or default_workers())
    if not LOADERS[loader].uses_workers:
        return (0,)
    if plan.workers:
        return plan.workers
    most = most_workers(loader, LoaderSpec(root=plan.root, split=plan.split))
    return tuple(count for count in default_workers() if most is None or count <= most)

"""Runs of the loaders with their shards on the local disk, behind a link, and in the cache."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...loaders import LoaderSpec, prepare_loader
from ...loaders.store.cache import CACHE, CACHE_SIZE
from ...prep import SHARDS
from ..machine.cache import files_read, warm
from ..measuring.interleaving import interleaved
from ..measuring.process import MeasuringJob, run_in_fresh_process
from .link import behind_link
from .record import PLACES, LoaderRun, Where

LATENCY, RATE = 0.01, 1e9 / 8  # seconds, and bytes per second: 1 Gb/s
TIMEOUT = 300.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured."""

    root: Path
    loaders: tuple[str, ...]
    batch_size: int
    image_size: int
    workers: int
    seconds: float
    repeats: int


def measure_loaders(setting: Setting) -> list[LoaderRun]:
    """Measure every loader in all three places, interleaved."""
    pairs: list[tuple[str, Where]] = [(loader, where) for loader in setting.loaders for where in PLACES]
    for loader in setting.loaders:
        prepare_loader(loader)
    warm(files_read(setting.root, "train", setting.loaders))
    with (
        tempfile.TemporaryDirectory(prefix="feedline-remote-") as scratch,
        behind_link(setting.root / SHARDS, 0.0, 0.0) as fast,
        behind_link(setting.root / SHARDS, LATENCY, RATE) as url,
    ):
        os.environ.pop(CACHE_SIZE, None)
        os.environ[CACHE] = str(Path(scratch) / "warm")
        copy = LoaderSpec.train(fast).root
        warm(files_read(copy, "train", setting.loaders))
        return [
            _run(setting, loader, where, fast if where == "warm" else url, Path(scratch), number)
            for number, (_, (loader, where)) in enumerate(interleaved(pairs, setting.repeats))
        ]


def _run(setting: Setting, loader: str, where: Where, url: str, scratch: Path, number: int) -> LoaderRun:
    """Measure one run in a fresh process.

    A cold one has an empty cache, counts from when all shards were fetched, and ends with its first epoch.
    """
    cache = scratch / ("warm" if where == "warm" else f"cold-{number}")
    os.environ[CACHE] = str(cache)
    spec = LoaderSpec.train(
        setting.root if where == "local" else url,  # pyright: ignore[reportArgumentType]
        batch_size=setting.batch_size,
        image_size=setting.image_size,
        workers=setting.workers,
        drop_last=False,  # the run must see every sample
    )
    cold = where == "cold"
    job = MeasuringJob(loader=loader, spec=spec, seconds=setting.seconds, one_epoch=cold, until_fetched=cold)
    found = run_in_fresh_process(job, TIMEOUT).measurement
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    return LoaderRun(
        loader=loader,
        where=where,
        first_batch_seconds=found.first_batch_seconds,
        warm_up_seconds=sum(window.seconds for window in found.warmup),
        images_per_second=found.images_per_second,
        samples_seen=found.samples_seen,
    )

"""How fast a model trains on each set of devices, fed by each loader, and how far that is from never waiting.

    python -m feedline.benchmarks.training_speed ROOT --out DIR

Every row is measured by torchrun's ranks in processes of their own: the CPU, one GPU and all GPUs of this machine,
each with every loader that can read ROOT and with ``cached``, which replays a few decoded batches: what a perfect
loader would allow. Steps are whole training steps, some to warm up and then a fixed number.
"""

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import click
import torch

from ..loaders import Batch, Loader, LoaderSpec, open_loader, readable_loaders
from ..prep import FeedlineError, MeasurementError, read_document, write_document
from ..train import TrainConfig, default_workers
from ..train.config import resolved
from ..train.data import read_contents
from ..train.engine import build_learner
from ..train.models import build_model
from ..train.ranks import Ranks, joined_ranks
from .environment import Environment, capture
from .records import Code, running_code
from .tables import CEILING

WARM_UP = 3  # steps: memory is allocated, kernels are chosen, workers have started


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One row."""

    device: str
    ranks: int
    loader: str
    workers: int
    images_per_second: float
    """Of all ranks together."""
    data_wait: float
    """Share of the time, 0 to 1, that rank 0 waited for its batches."""


@dataclass(frozen=True, kw_only=True)
class SpeedRecord:
    """All rows, and everything needed to measure them again."""

    format: Literal["feedline-training-speed"] = "feedline-training-speed"
    schema: Literal[1] = 1
    date: str
    code: Code
    environment: Environment
    config: TrainConfig
    """Of every row, but for loader, workers and device."""
    steps: int
    speeds: tuple[Speed, ...]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one row's ranks are asked for."""

    config: TrainConfig
    classes: int
    steps: int


def time_steps(job: Job, ranks: Ranks) -> Speed:
    """Train for the job's steps on this rank; return the speed of all ranks."""
    config = resolved(job.config, ranks.size)
    spec = LoaderSpec(
        root=config.root,
        batch_size=config.batch_size,
        image_size=config.image_size,
        workers=config.workers or 0,
        drop_last=True,
        rank=ranks.rank,
        world_size=ranks.size,
        device=ranks.device,
    )
    model = build_model(config.model, job.classes, stem=config.stem, seed=config.seed)
    learner = build_learner(model, config, WARM_UP + job.steps, ranks)
    wait = 0.0
    with closing(open_loader(config.loader, spec)) as loader:
        batches = _endless(loader)
        for batch in itertools.islice(batches, WARM_UP):
            learner.step(batch)
        began = asked = perf_counter()
        for batch in itertools.islice(batches, job.steps):
            wait += perf_counter() - asked
            learner.step(batch)  # ends when its sums have reached the CPU, so nothing is left to wait for
            asked = perf_counter()
    seconds = asked - began
    return Speed(
        device=config.device,
        ranks=ranks.size,
        loader=config.loader,
        workers=config.workers or 0,
        images_per_second=ranks.size * config.batch_size * job.steps / seconds,
        data_wait=wait / seconds,
    )


def _endless(loader: Loader) -> Iterator[Batch]:
    if len(loader) == 0:
        raise MeasurementError(
            "a rank's share of the train split is smaller than one batch; use a smaller --batch-size"
        )
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        yield from loader


def run_ranks(job: Job, ranks: int) -> Speed:
    """Return the speed of a job with so many ranks, each in a process of its own. Raises MeasurementError."""
    with tempfile.TemporaryDirectory() as place:
        asked, answered = Path(place) / "job.json", Path(place) / "speed.json"
        write_document(asked, job)
        words = [f"--nproc-per-node={ranks}", "--standalone", "-m", "feedline.benchmarks.training_speed"]
        command = [sys.executable, "-m", "torch.distributed.run", *words, "rank", str(asked), str(answered)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode != 0:
            sentences = [line for line in done.stderr.splitlines() if "Error: " in line] or ["it says nothing"]
            name = f"{job.config.loader} on {ranks} x {job.config.device}"
            raise MeasurementError(f"{name} could not be measured: {sentences[0].strip()}")
        return read_document(answered, Speed)


def device_sets() -> list[tuple[str, int]]:
    """Return the CPU, one GPU and all GPUs, as far as they are there: (torch device, ranks)."""
    gpus = torch.cuda.device_count()
    return [("cpu", 1)] + [("cuda", ranks) for ranks in sorted({1, gpus}) if gpus]


def tabulate_speeds(speeds: Sequence[Speed]) -> str:
    """Return the rows in Markdown: images/s, share of the ceiling, scaling from one rank, data wait."""
    rates = {(speed.device, speed.ranks, speed.loader): speed.images_per_second for speed in speeds}
    lines = [
        "| device | loader | workers | images/s | of the ceiling | scaling | waiting for data |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for speed in speeds:
        ceiling = rates.get((speed.device, speed.ranks, CEILING))
        one = rates.get((speed.device, 1, speed.loader))
        of_ceiling = f"{speed.images_per_second / ceiling:.0%}" if ceiling else "-"
        scaling = f"{speed.images_per_second / one / speed.ranks:.0%}" if one and speed.ranks > 1 else "-"
        lines.append(
            f"| {speed.ranks} x {speed.device} | `{speed.loader}` | {speed.workers} | {speed.images_per_second:,.0f} | "
            f"{of_ceiling} | {scaling} | {speed.data_wait:.1%} |"
        )
    return "\n".join(lines)


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory for training-speed.json.")
@click.option("--loader", "loaders", multiple=True, metavar="NAME", help="Measure this loader; may be repeated.")
@click.option("--ranks", type=click.IntRange(min=1), multiple=True, help="CPU ranks instead of the device sets.")
@click.option("--model", default="resnet18", show_default=True)
@click.option("--stem", type=click.Choice(["auto", "imagenet", "small"]), default="auto", show_default=True)
@click.option("--image-size", type=click.IntRange(min=1), default=224, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Pictures per rank.")
@click.option("--amp", type=click.Choice(["none", "bf16", "fp16"]), default="none", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=30, show_default=True)
def main(root: Path, out: Path, loaders: Sequence[str], ranks: Sequence[int], steps: int, **settings: Any) -> None:
    """Measure training steps on every device set of this machine, through every loader that can read ROOT."""
    config = TrainConfig(root=root.resolve(), out=out, **settings)
    readable = readable_loaders(root)
    classes = len(read_contents(root, readable[0]).classes)
    speeds: list[Speed] = []
    for device, size in [("cpu", count) for count in ranks] or device_sets():
        for name in loaders or readable:
            alone = Ranks(size=size, local_size=size)
            workers = 0 if name == CEILING else default_workers(root, name, alone)
            used = replace(config, loader=name, workers=workers, device=device)
            speeds.append(run_ranks(Job(config=used, classes=classes, steps=steps), size))
            click.echo(f"{size} x {device}, {name}: {speeds[-1].images_per_second:,.0f} images/s", err=True)
    record = SpeedRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        code=running_code(),
        environment=capture(),
        config=replace(config, root=root),
        steps=steps,
        speeds=tuple(speeds),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_document(out / "training-speed.json", record)
    click.echo(tabulate_speeds(speeds))


def rank_main(asked: Path, answered: Path) -> None:
    """Be one rank of a row."""
    job = read_document(asked, Job)
    with joined_ranks(job.config.device) as ranks:
        speed = time_steps(job, ranks)
        if ranks.rank == 0:
            write_document(answered, speed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        rank_main(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        try:
            main()
        except FeedlineError as error:
            sys.exit(f"feedline: {error}")

"""The training speed of a model on each set of devices with each loader, and its distance from the ceiling.

    feedline bench ROOT --train --out DIR

The sets of devices are the CPU, one GPU and all GPUs of this machine. Each set trains with every loader that can read
ROOT, and with ``cached``, which replays a few decoded batches and gives the ceiling. Every row is measured in processes
of its own; torchrun starts several ranks. Steps are whole training steps: some to warm up, then a fixed number.
"""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from ...loaders import Batch, Loader, LoaderSpec, open_loader, readable_loaders
from ...prep import MeasurementError, Progress, read_document, silent, write_document
from ...prep.limits.memory import Memory, memory_now
from ...prep.limits.reached import limit_in
from ...prep.processes.endings import how_it_ended
from ...prep.processes.parent import end_with
from ...prep.processes.temporary import temporary_folder
from ...train import TrainConfig, default_workers
from ...train.config import resolved
from ...train.data import read_contents
from ...train.engine import build_learner
from ...train.models import build_model
from ...train.ranks import Ranks, joined_ranks
from ...train.schedule import WARMUP_START
from ...train.tally import StepClock, Tally
from ..machine.environment import Environment, capture
from ..measuring.process import WAY_OUT
from ..measuring.record import TRAINING_SPEED, Code, running_code, write_beside_records
from ..measuring.stops import measured_again, watched
from ..measuring.trees import end_tree
from ..results.ranking import CEILING

LOCAL = "--local-addr=127.0.0.1"  # else the ranks look for each other at the name of the machine, which may not resolve
WARM_UP = 3  # steps, in which memory is allocated, kernels are chosen and workers start


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The training speed with one loader on one set of devices."""

    device: str
    ranks: int
    loader: str
    workers: int
    images_per_second: float
    """The sum over all ranks."""
    data_wait: float
    """Share of the time, 0 to 1, that rank 0 waited for its batches."""


@dataclass(frozen=True, kw_only=True)
class SpeedRecord:
    """The document of all rows, with everything that is needed to measure them again."""

    format: Literal["feedline-training-speed"] = "feedline-training-speed"
    schema: Literal[1] = 1
    date: str
    code: Code
    environment: Environment
    config: TrainConfig
    """The settings of every row, except loader, workers and device."""
    steps: int
    speeds: tuple[Speed, ...]


@dataclass(frozen=True, kw_only=True)
class SpeedPlan:
    """What ``measure_speeds`` measures."""

    config: TrainConfig
    """The settings of every row, except loader, workers and device. The record is written to its ``out``."""
    loaders: tuple[str, ...] = ()
    """Names of loaders. If empty, all that are installed and can read the root, including ``cached``."""
    ranks: tuple[int, ...] = ()
    """Numbers of ranks on the CPU, to measure instead of the machine's sets of devices."""
    steps: int = 30
    """Timed training steps of each row, after the warm-up."""


@dataclass(frozen=True, kw_only=True)
class SpeedJob:
    """What the ranks of one row measure."""

    config: TrainConfig
    classes: int
    steps: int
    parent: int | None = None
    """The process that waits for the result: the ranks end soon after it."""


def time_steps(job: SpeedJob, ranks: Ranks) -> Speed:
    """Train for the job's steps on this rank; return the speed of all ranks together."""
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
    size = config.image_size
    model = build_model(config.model, job.classes, stem=config.stem, seed=config.seed, image_size=size)
    assert config.lr is not None
    learner, tally, clock = build_learner(model, config, ranks), Tally(ranks.device), StepClock(ranks.device)
    with closing(open_loader(config.loader, spec)) as loader:
        batches = _batches_without_end(loader)
        for step, batch in enumerate(itertools.islice(batches, WARM_UP + job.steps)):
            if step == WARM_UP:
                tally.take()
                clock.take()
                clock.start()
            clock.begin_step()
            sums = learner.step(batch, WARMUP_START * config.lr)  # so small a rate lets no loss diverge
            clock.end_step()
            tally.add(step, sums)
        tally.take()
        wait, work = clock.take()
    seconds = wait + work
    return Speed(
        device=config.device,
        ranks=ranks.size,
        loader=config.loader,
        workers=config.workers or 0,
        images_per_second=ranks.size * config.batch_size * job.steps / seconds,
        data_wait=wait / seconds,
    )


def _batches_without_end(loader: Loader) -> Iterator[Batch]:
    if len(loader) == 0:
        raise MeasurementError(
            "a rank's share of the train split is smaller than one batch; use a smaller --batch-size"
        )
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        yield from loader


def run_ranks(job: SpeedJob, ranks: int, timeout: float = 1800.0) -> Speed:
    """Return the speed of a job on ``ranks`` ranks, each in a process of its own.

    Raises MeasurementError if a rank fails, and if the ranks take more than ``timeout`` seconds. All ranks are ended.
    Raises RunStopped if one of them was stopped in the meantime.
    """
    name = f"{job.config.loader} on {ranks} x {job.config.device}"
    memory = memory_now()
    with temporary_folder("bench-train") as place:
        job_path, speed_path = place / "job.json", place / "speed.json"
        write_document(job_path, replace(job, parent=os.getpid()))
        words = ["-m", "feedline.benchmarks.bench.training_speed", str(job_path), str(speed_path)]
        if ranks > 1:  # one rank runs without torchrun, which torch's wheels for Windows cannot start
            words = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--standalone", LOCAL, *words]
        command = [sys.executable, *words]
        with (
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process,
            watched(process.pid) as stops,
        ):
            try:
                stderr = process.communicate(timeout=timeout)[1].decode("utf-8", "replace")
            except subprocess.TimeoutExpired as error:
                raise MeasurementError(
                    f"{name} took more than {timeout:g} s and was ended; try fewer --steps"
                ) from error
            finally:
                end_tree(process.pid)
        stops.check()
        if process.returncode != 0:
            problem = limit_in(stderr) or _problem(process.returncode, stderr, memory)
            raise MeasurementError(f"{name} could not be measured: {problem}")
        return read_document(speed_path, Speed)


def _problem(code: int, stderr: str, memory: Memory) -> str:
    """Return why ranks failed: by a signal, which torchrun reports on stderr, or with the message of the first."""
    # torchrun ends the other ranks by SIGTERM.
    signals = [-int(number) for number in re.findall(r"Signal (\d+) \(SIG\w+\) received by PID", stderr)]
    killed = next((number for number in (min(code, 0), *signals) if number not in (0, -15)), None)
    if killed is not None:
        return f"a rank {how_it_ended(killed, WAY_OUT, memory)}"
    sentences = [line for line in stderr.splitlines() if "Error: " in line] or ["it wrote no message"]
    return sentences[0].strip()


def device_sets() -> list[tuple[str, int]]:
    """Return the sets of devices of this machine, the CPU, one GPU and all GPUs, as (torch device, ranks)."""
    gpus = torch.cuda.device_count()
    return [("cpu", 1)] + [("cuda", ranks) for ranks in sorted({1, gpus}) if gpus]


def measure_speeds(plan: SpeedPlan, progress: Progress = silent) -> tuple[SpeedRecord, list[str]]:
    """Measure every row of the plan and write the record to ``plan.config.out``; return (record, problems).

    The record is written after each row, so that an interrupt loses at most one row. Raises OutputError if it cannot
    be written, DatasetError for a root that no loader can read, MeasurementError if no row could be measured.
    """
    config = replace(plan.config, root=plan.config.root.resolve())
    readable = readable_loaders(config.root)
    classes = len(read_contents(config.root, readable[0]).classes)
    record = SpeedRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        code=running_code(),
        environment=capture(),
        config=plan.config,
        steps=plan.steps,
        speeds=(),
    )
    path = plan.config.out / TRAINING_SPEED
    write_beside_records(path, record)
    sets = [("cpu", ranks) for ranks in plan.ranks] or device_sets()
    rows = [(device, ranks, name) for device, ranks in sets for name in plan.loaders or readable]
    failures: list[str] = []
    for number, (device, ranks, name) in enumerate(rows):
        alone = Ranks(size=ranks, local_size=ranks)
        workers = 0 if name == CEILING else default_workers(config.root, name, alone)
        used = replace(config, loader=name, workers=workers, device=device)
        progress("train", number, len(rows))
        try:
            speed = measured_again(partial(run_ranks, SpeedJob(config=used, classes=classes, steps=plan.steps), ranks))
        except MeasurementError as error:
            failures.append(str(error))
        else:
            record = replace(record, speeds=(*record.speeds, speed))
            write_beside_records(path, record)
        progress("train", number + 1, len(rows))
    if not record.speeds:
        raise MeasurementError(failures[0])
    return record, failures


def read_speeds(places: Sequence[Path]) -> SpeedRecord | None:
    """Return the newest record in the directories, None if there is none.

    Raises DatasetError for a file of that name that is not such a record.
    """
    paths = [place / TRAINING_SPEED for place in places]
    found = [read_document(path, SpeedRecord) for path in paths if path.is_file()]
    return max(found, key=lambda record: record.date, default=None)


def rank_main(job_path: Path, speed_path: Path) -> None:
    """Run one rank of a row. This module is the program that torchrun starts for each rank."""
    job = read_document(job_path, SpeedJob)
    end_with(os.getppid())  # torchrun, or the process that waits
    if job.parent is not None:
        end_with(job.parent)
    with joined_ranks(job.config.device) as ranks:
        speed = time_steps(job, ranks)
        if ranks.rank == 0:
            write_document(speed_path, speed)


if __name__ == "__main__":
    rank_main(Path(sys.argv[1]), Path(sys.argv[2]))

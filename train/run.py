"""A training run: epochs of steps, an evaluation after each, and a checkpoint that every one of them survives.

The run's state is what a checkpoint holds and nothing else: weights, optimiser, schedule, finished epochs, and the
place in the epoch under way. It changes between two steps only, so it can be saved there at any time: at the end
of an epoch, and when Ctrl-C ends the run early.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from ..loaders import Batch
from ..prep import Progress, TrainingError, silent
from .checkpoint import About, Checkpoint, check_fit, read_checkpoint, restore, write_checkpoint
from .config import TrainConfig, check_device
from .data import Data, open_data
from .engine import Learner, build_learner
from .history import EpochRecord, Running, is_best, record_epoch
from .interrupts import interrupts_deferred
from .journal import Journal, RunDirectory
from .metrics import Metrics, Sums
from .models import build_model


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run reached and where it is kept."""

    train: Metrics
    """Of the last epoch, over its training batches as they were trained on."""
    val: Metrics | None
    """Of the final weights; None without a labelled val split."""
    images_per_second: float
    """Over all epochs, without the evaluations."""
    data_wait: float
    """Share, 0 to 1, of the training time spent waiting for the loader."""
    loader: str
    workers: int
    model: str
    epochs: int
    classes: int
    checkpoint: Path
    best: Path


def train(config: TrainConfig, progress: Progress = silent) -> TrainResult:
    """Train, and write the run directory ``config.out``.

    Raises TrainingError for settings, a loss or a checkpoint that cannot be used, OutputError for the directory,
    DatasetError and LoaderError for the data. KeyboardInterrupt passes through once ``last.pt`` has the place.
    """
    check_device(config.device)
    config = replace(config, lr=config.peak_lr)
    with open_data(config) as data:
        run = _Run(config, data, progress)
        try:
            run.to_the_end()
        except torch.cuda.OutOfMemoryError as error:
            raise TrainingError(
                f"a batch of {config.batch_size} does not fit into the memory of {config.device}; "
                "use a smaller --batch-size"
            ) from error
        finally:
            run.close()
    return run.result()


class _Run:
    def __init__(self, config: TrainConfig, data: Data, progress: Progress) -> None:
        self._config = config
        self._data = data
        self._progress = progress
        self._length = len(data.train)
        self._learner = self._build_learner()
        self._running = Running()
        self._loader_state: dict[str, Any] = {}
        self._history: tuple[EpochRecord, ...] = ()
        if config.resume is not None:
            self._resume(config.resume)
        self._directory = RunDirectory(config.out)
        self._directory.claim(config)
        self._journal = Journal(config.out, first_step=self._step + 1)
        if self._history:
            self._journal.publish(self._history)

    @property
    def _step(self) -> int:
        return len(self._history) * self._length + self._running.batches

    def _build_learner(self) -> Learner:
        config, steps = self._config, self._config.epochs * self._length
        return build_learner(
            build_model(config.model, len(self._data.wnids), config.seed),
            device=config.device,
            lr=config.peak_lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            warmup_steps=int(config.warmup * steps),
            steps=steps,
        )

    def _resume(self, path: Path) -> None:
        checkpoint = read_checkpoint(path)
        check_fit(path, checkpoint.about, self._about())
        restore(path, checkpoint, self._learner)
        self._history, self._running = checkpoint.about.history, checkpoint.about.running
        self._loader_state = checkpoint.loader

    def to_the_end(self) -> None:
        """Train until the last epoch is finished."""
        try:
            while len(self._history) < self._config.epochs:
                self._train_epoch()
                val = self._evaluate()
                with interrupts_deferred():
                    self._finish_epoch(val)
        except KeyboardInterrupt:
            with interrupts_deferred():  # people press it twice
                write_checkpoint(self._directory.last, self._checkpoint().to_bytes())
            raise

    def close(self) -> None:
        """Flush the events."""
        self._journal.close()

    def _train_epoch(self) -> None:
        """Train on the rest of the epoch under way."""
        loader, epoch = self._data.train, len(self._history)
        name = f"train epoch {epoch + 1}/{self._config.epochs}"
        if self._running.batches == 0:
            loader.set_epoch(epoch)
        elif self._running.batches < self._length:
            loader.load_state_dict(self._loader_state)
        else:
            return
        began = perf_counter()
        for batch in loader:
            fetched = perf_counter()
            with interrupts_deferred():
                self._train_step(batch, fetched - began)
                self._loader_state = loader.state_dict()
            self._progress(name, self._running.batches, self._length)
            began = perf_counter()

    def _train_step(self, batch: Batch, wait: float) -> None:
        began, lr = perf_counter(), self._learner.lr
        with self._stop_at(f"in step {self._running.batches + 1} of epoch {len(self._history) + 1}"):
            sums = self._learner.step(batch)
        self._running = self._running.add(sums, lr=lr, wait=wait, work=perf_counter() - began)
        self._journal.step(self._step, sums, lr)

    def _evaluate(self) -> Metrics | None:
        loader, epoch = self._data.val, len(self._history) + 1
        if loader is None:
            return None
        sums = Sums()
        with self._stop_at(f"in the evaluation of epoch {epoch}"):
            for done, batch in enumerate(self._learner.evaluate(loader), start=1):
                sums += batch
                self._progress(f"val epoch {epoch}/{self._config.epochs}", done, len(loader))
        return sums.metrics()

    @contextmanager
    def _stop_at(self, place: str) -> Generator[None, None, None]:
        """Say where a loss that is not finite ended the run, and what is left of it."""
        try:
            yield
        except TrainingError as error:
            kept = f"{self._directory.last} keeps epoch {len(self._history)}" if self._history else "nothing is kept"
            raise TrainingError(
                f"{error} {place}; {kept}; train again with an --lr smaller than {self._config.peak_lr:g}"
            ) from error

    def _finish_epoch(self, val: Metrics | None) -> None:
        record = record_epoch(self._running, epoch=len(self._history) + 1, step=self._step, val=val)
        self._history, self._running, self._loader_state = (*self._history, record), Running(), {}
        data = self._checkpoint().to_bytes()
        # The best first: whoever dies between the two resumes before this epoch, and writes it again.
        if is_best(self._history):
            write_checkpoint(self._directory.best, data)
        write_checkpoint(self._directory.last, data)
        self._journal.epoch(record)
        self._journal.publish(self._history)

    def _about(self) -> About:
        return About(
            config=self._config,
            classes=self._data.wnids,
            epoch_steps=self._length,
            running=self._running,
            history=self._history,
        )

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            about=self._about(),
            model=self._learner.model.state_dict(),
            optimiser=self._learner.optimiser.state_dict(),
            schedule=self._learner.schedule.state_dict(),
            loader=self._loader_state,
        )

    def result(self) -> TrainResult:
        """Return what the finished run reached."""
        config, last = self._config, self._history[-1]
        seconds = sum(record.seconds for record in self._history)
        return TrainResult(
            train=last.train,
            val=last.val,
            images_per_second=sum(record.images for record in self._history) / seconds,
            data_wait=sum(record.data_wait * record.seconds for record in self._history) / seconds,
            loader=config.loader,
            workers=config.workers,
            model=config.model,
            epochs=config.epochs,
            classes=len(self._data.wnids),
            checkpoint=self._directory.last,
            best=self._directory.best,
        )

"""The epochs of one training: steps, an evaluation after each epoch, and the checkpoints.

The trainer's state is what a checkpoint holds and nothing else: weights, optimiser, schedule, finished epochs, and the
place in the epoch under way. It changes only between two steps, so it can be saved at any time between them: at the
end of an epoch, every so many steps, and when Ctrl-C or SIGTERM ends the run early. All ranks hold the same state, and
rank 0 writes it.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

from ..loaders import Batch
from ..prep import Progress, TrainingError
from .checkpoint import About, check_fit, read_checkpoint, restore, save_state, write_checkpoint
from .config import TrainConfig
from .data import OpenData
from .engine import Learner, build_learner
from .history import EpochRecord, UnfinishedEpoch, build_record, is_best
from .interrupts import interrupts_deferred
from .journal import Journal, RunDirectory
from .metrics import Metrics, NotFinite, Sums
from .models import build_model
from .ranks import Ranks
from .result import TrainResult, summarise_run


class Trainer:
    """The state of one run on this rank. Rank 0 also writes the run directory."""

    def __init__(self, config: TrainConfig, data: OpenData, ranks: Ranks, progress: Progress) -> None:
        self._config = config
        self._data = data
        self._ranks = ranks
        self._progress = progress
        self._length = len(data.train)
        model = build_model(config.model, len(data.class_ids), stem=config.stem, seed=config.seed)
        self._learner: Learner = build_learner(model, config, config.epochs * self._length, ranks)
        self._running = UnfinishedEpoch()
        self._loader_state: dict[str, Any] = {}
        self._history: tuple[EpochRecord, ...] = ()
        if config.resume is not None:
            self._resume(config.resume)
        self._directory = RunDirectory(config.out)
        self._journal: Journal | None = None
        if ranks.rank == 0:
            self._directory.claim(config)
            self._journal = Journal(config.out, first_step=self._step + 1)
            if self._history:
                self._journal.write_files(self._history)

    @property
    def _step(self) -> int:
        """The number of training steps since the run began."""
        return len(self._history) * self._length + self._running.batches

    def _resume(self, path: Path) -> None:
        checkpoint = read_checkpoint(path)
        check_fit(path, checkpoint.about, self._about())
        restore(path, checkpoint, self._learner)
        self._history, self._running = checkpoint.about.history, checkpoint.about.running
        self._loader_state = checkpoint.loader

    def train(self) -> None:
        """Train until the last epoch is finished.

        On KeyboardInterrupt the trainer saves ``last.pt`` and raises the exception again.
        """
        try:
            # A single rank stops at once while it waits. Several ranks hold a signal until all have received it.
            with nullcontext(lambda: False) if self._ranks.size == 1 else interrupts_deferred() as stopping:
                while len(self._history) < self._config.epochs:
                    self._train_epoch(stopping)
                    val = self._evaluate(stopping)
                    with interrupts_deferred():
                        self._finish_epoch(val)
        except KeyboardInterrupt:
            with interrupts_deferred():  # a second Ctrl-C must not end the write
                self._write(self._directory.last)
            raise

    def close(self) -> None:
        """Flush and close the TensorBoard events."""
        if self._journal is not None:
            self._journal.close()

    def _train_epoch(self, stopping: Callable[[], bool]) -> None:
        """Train on the remaining batches of the epoch under way."""
        loader, epoch = self._data.train, len(self._history)
        name = f"train epoch {epoch + 1}/{self._config.epochs}"
        if self._running.batches == 0:
            loader.set_epoch(epoch)
        elif self._running.batches < self._length:
            loader.load_state_dict(self._loader_state)
        else:
            return
        began = perf_counter()
        for batch in self._ranks.in_lockstep(loader, stopping):
            fetched = perf_counter()
            with interrupts_deferred():
                self._train_step(batch, fetched - began)
                self._loader_state = loader.state_dict()
                if self._config.save_steps and self._step % self._config.save_steps == 0:
                    self._write(self._directory.last)
            self._progress(name, self._running.batches, self._length)
            began = perf_counter()

    def _train_step(self, batch: Batch, wait: float) -> None:
        began, lr = perf_counter(), self._learner.lr
        with self._stop_at(f"in step {self._running.batches + 1} of epoch {len(self._history) + 1}"):
            sums = self._learner.step(batch)
        self._running = self._running.add(sums, lr=lr, wait=wait, work=perf_counter() - began)
        if self._journal is not None:
            self._journal.add_step(self._step, sums, lr)
            if self._step == 1:
                self._journal.add_model(self._learner.model, batch)

    def _evaluate(self, stopping: Callable[[], bool]) -> Metrics | None:
        loader, epoch = self._data.val, len(self._history) + 1
        if loader is None:
            return None
        sums = Sums()
        for done, batch in enumerate(self._learner.evaluate(loader), start=1):
            sums += batch
            self._progress(f"val epoch {epoch}/{self._config.epochs}", done, len(loader))
            if stopping():
                break
        *values, stopped = self._ranks.total([*sums.values(), stopping()])
        if stopped:
            raise KeyboardInterrupt
        sums = Sums.from_values(values)
        with self._stop_at(f"in the evaluation of epoch {epoch}"):
            return sums.require_finite().metrics()

    @contextmanager
    def _stop_at(self, place: str) -> Generator[None, None, None]:
        """Add the place, the last saved epoch and the next action to the error of a loss that is not finite."""
        try:
            yield
        except NotFinite as error:
            last = len(self._history)
            saved = f"epoch {last} is saved in {self._directory.last}" if last else "no epoch is saved"
            raise TrainingError(
                f"{error} {place}; {saved}; train again with an --lr smaller than {self._config.lr:g}"
            ) from error

    def _finish_epoch(self, val: Metrics | None) -> None:
        record = build_record(self._running, epoch=len(self._history) + 1, step=self._step, val=val)
        self._history, self._running, self._loader_state = (*self._history, record), UnfinishedEpoch(), {}
        paths = [self._directory.last]
        # last.pt is written last. A run that is killed between two writes resumes before the end of this epoch and
        # writes all of them again.
        if is_best(self._history):
            paths.insert(0, self._directory.best)
        if self._config.save_epochs and record.epoch % self._config.save_epochs == 0:
            paths.insert(0, self._directory.epoch(record.epoch))
        self._write(*paths)
        if self._journal is not None:
            self._journal.add_epoch(record)
            self._journal.write_files(self._history)

    def _about(self) -> About:
        return About(
            config=self._config,
            classes=self._data.class_ids,
            epoch_steps=self._length,
            ranks=self._ranks.size,
            running=self._running,
            history=self._history,
        )

    def _write(self, *paths: Path) -> None:
        """Write a checkpoint of the current state to each path, on rank 0 only."""
        if self._ranks.rank == 0:
            data = save_state(self._about(), self._learner, self._loader_state).to_bytes()
            for path in paths:
                write_checkpoint(path, data)

    def result(self) -> TrainResult:
        """Return the result of the finished run."""
        return summarise_run(
            self._config,
            self._history,
            classes=len(self._data.class_ids),
            ranks=self._ranks.size,
            last=self._directory.last,
            best=self._directory.best,
        )

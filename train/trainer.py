"""The epochs of one training: steps, an evaluation after each epoch, and the checkpoints.

The trainer's state is what a checkpoint holds and nothing else: weights, optimiser, finished epochs, and the place in
the epoch under way. It changes only between two steps, so it can be saved at any time between them: at the end of an
epoch, every so many steps, and when Ctrl-C, SIGTERM or an error ends the run early. All ranks hold the same state, and
rank 0 writes it.

A step does not wait for its own loss. Sums are read and added up over the ranks every ``LOG_STEPS`` steps, at the end
of an epoch, and before a checkpoint.
"""

import math
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from ..loaders import Batch, Loader
from ..prep import Progress
from ..prep.base.plurals import counted
from ..prep.limits.memory import failed_allocation
from .beginning import fresh_model, open_journal, teacher_of
from .checkpoint import check_fit, read_checkpoint, restore
from .config import TrainConfig
from .data import OpenData, undecodable
from .engine import Learner, build_learner
from .history import EpochRecord, UnfinishedEpoch, build_record
from .interrupts import interrupts_deferred
from .journal import Journal, RunDirectory
from .metrics import Metrics, NotFinite, Sums
from .ranks import LostRank, Ranks
from .result import TrainResult, summarise_run
from .saving import Saver, leaves_state
from .schedule import learning_rate
from .tally import StepClock, Tally

LOG_STEPS = 20


class Trainer:
    """The state of one run on this rank. Rank 0 also writes the run directory."""

    def __init__(
        self, config: TrainConfig, data: OpenData, ranks: Ranks, progress: Progress, notice: Callable[[str], None]
    ) -> None:
        self._config = config
        self._data = data
        self._ranks = ranks
        self._progress, self._notice = progress, notice
        self._length = len(data.train.loader)
        model = fresh_model(config, len(data.class_ids), notice)
        self._learner: Learner = build_learner(model, config, ranks, teacher_of(config, data.class_ids))
        self._running = UnfinishedEpoch()
        self._tally, self._clock = Tally(ranks.device), StepClock(ranks.device)
        self._unlogged: list[float] = []
        """The learning rates of the steps since the last log point."""
        self._in_step = False
        self._loader_state: dict[str, Any] = {}
        self._history: tuple[EpochRecord, ...] = ()
        self._directory = RunDirectory(config.out)
        self._saver = Saver(
            config=config,
            data=data,
            ranks=ranks,
            learner=self._learner,
            directory=self._directory,
            epoch_steps=self._length,
        )
        if config.resume is not None:
            self._resume(config.resume)
        self._journal: Journal | None = None
        if ranks.rank == 0:
            self._journal = open_journal(config, self._history, self._step, notice)
        if data.val is None:
            notice(f"{config.root} has no labelled val split, so best.pt is the epoch with the best top-1 on train")

    @property
    def _step(self) -> int:
        """The number of training steps since the run began."""
        return (self._history[-1].step if self._history else 0) + self._running.batches

    @property
    def _place(self) -> float:
        """The steps before the next one, as if every step of the run had had this batch size and these ranks."""
        done = self._loader_state.get("samples", 0) / (self._config.batch_size * self._ranks.size)
        return len(self._history) * self._length + done

    @property
    def _is_trained(self) -> bool:
        """Whether the epoch under way has been trained on and has no batch left."""
        return self._running.batches > 0 and self._loader_state.get("epoch", 0) > len(self._history)

    def _resume(self, path: Path) -> None:
        checkpoint = read_checkpoint(path)
        check_fit(path, checkpoint.about, self._saver.about(self._running, self._history))
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
                self._log()
                self._write(self._directory.last)
            raise
        except Exception as error:
            with interrupts_deferred():
                self._save_after(error)
            raise

    def _save_after(self, error: Exception) -> None:
        """Save the place of a run that an error ends, unless the error shows that the state or the disk is broken.

        The ranks add up the sums of the last steps if all of them are here. Else these steps are not in the epoch's
        figures; the weights have them.
        """
        if not leaves_state(error):
            return
        if failed_allocation(error):
            traceback.clear_frames(error.__traceback__)  # they hold the step's tensors, and saving needs memory
        with suppress(Exception):  # the first error is the one to report
            if self._ranks.size == 1 or not (self._in_step or isinstance(error, LostRank)):
                self._log()
            self._write(self._directory.last)

    def close(self) -> None:
        """Flush and close the TensorBoard events."""
        if self._journal is not None:
            self._journal.close()

    def _train_epoch(self, stopping: Callable[[], bool]) -> None:
        """Train on the remaining batches of the epoch under way."""
        epoch = len(self._history)
        name = f"train epoch {epoch + 1}/{self._config.epochs}"
        if self._is_trained:
            return
        loader = self._data.train.at(epoch)
        if self._running.batches == 0:
            loader.set_epoch(epoch)
        else:
            loader.load_state_dict(self._loader_state)
        self._loader_state = loader.state_dict()
        total = self._running.batches + self._batches_left(loader)
        self._progress(name, self._running.batches, total)
        self._clock.start()
        left_out = 0
        for batch in self._ranks.in_lockstep(loader, stopping, lambda batch: len(batch.labels) >= self._learner.least):
            if batch is None:
                left_out, total, self._loader_state = left_out + 1, total - 1, loader.state_dict()
                continue
            with interrupts_deferred():
                self._train_step(batch)
                self._in_step = False
                due = self._config.save_steps and self._step % self._config.save_steps == 0
                if due or len(self._unlogged) == LOG_STEPS:
                    self._log()
                if due:
                    self._write(self._directory.last)
            self._progress(name, self._running.batches, total)
        self._report(left_out)
        if not self._is_trained:  # another rank had no batch left
            loader.set_epoch(epoch + 1)
            self._loader_state = loader.state_dict()
        with interrupts_deferred():
            self._log()

    def _batches_left(self, loader: Loader) -> int:
        """Return how many batches the epoch under way has left. Those before may have had another size."""
        step, done = self._config.batch_size * self._ranks.size, self._loader_state["samples"]
        return min(math.ceil(self._length - done / step), (loader.samples - done) // step)

    def _report(self, left_out: int) -> None:
        """Tell how many batches of the epoch were left out. Raises TrainingError if no other is there."""
        epoch, least = len(self._history) + 1, self._learner.least
        if not self._running.batches:
            self._loader_state = {}  # so that the epoch is loaded again, once the data is repaired
            raise undecodable(f"no batch of epoch {epoch} has {counted(least, 'image')}", self._config.root)
        if left_out:
            few = "no image" if least == 1 else f"fewer than {least} images"
            batches = counted(left_out, "batch", "batches")
            self._notice(f"epoch {epoch} leaves out {batches} with {few} that can be decoded")

    def _train_step(self, batch: Batch) -> None:
        self._in_step = True
        steps = self._config.epochs * self._length
        lr = learning_rate(self._config, self._place, steps)
        averaged = self._running.batches % self._config.ema_steps == 0
        self._clock.begin_step()
        sums = self._learner.step(batch, lr, averaged=averaged, copied=self._place < self._config.ema_start * steps)
        self._clock.end_step()
        # The weights, the place in the data and the steps to be logged change together, before anything can fail.
        self._running, self._loader_state = self._running.with_step(lr), self._data.train.loader.state_dict()
        self._unlogged.append(lr)
        with self._stop_at():
            self._tally.add(self._step, sums)
        if self._journal is not None and self._step == 1:
            self._journal.add_model(self._learner.model, batch)

    def _log(self) -> None:
        """Add up the sums since the last log point over the ranks, and write them to the journal."""
        if not self._unlogged:
            return
        with self._stop_at():
            found = self._tally.take()
        values = self._ranks.total([value for sums in found for value in sums.values()])
        first = self._step - len(self._unlogged) + 1
        wait, work = self._clock.take()
        for number, lr in enumerate(self._unlogged):
            sums, step = Sums.from_values(values[4 * number : 4 * number + 4]), first + number
            self._running = self._running.with_sums(sums, wait=0, work=0)
            if self._journal is not None:
                self._journal.add_step(step, sums, lr)
        self._running = self._running.with_sums(Sums(), wait=wait, work=work)
        self._unlogged = []

    def _evaluate(self, stopping: Callable[[], bool]) -> Metrics | None:
        loader, epoch = self._data.val, len(self._history) + 1
        if loader is None:
            return None
        name, tally = f"val epoch {epoch}/{self._config.epochs}", Tally(self._ranks.device)
        self._progress(name, 0, len(loader))
        with self._stop_at(f"in the evaluation of epoch {epoch}"):
            for done, sums in enumerate(self._learner.evaluate(loader), start=1):
                tally.add(self._step, sums)
                self._progress(name, done, len(loader))
                if stopping():
                    break
            found = sum(tally.take(), Sums())
        *values, stopped = self._ranks.total([*found.values(), stopping()])
        if stopped:
            raise KeyboardInterrupt
        if not values[0]:
            raise undecodable("val has no image", self._config.root)
        return Sums.from_values(values).metrics()

    @contextmanager
    def _stop_at(self, place: str = "") -> Generator[None, None, None]:
        """Add the place, the last saved epoch and the next action to the error of a loss that is not finite."""
        try:
            yield
        except NotFinite as error:
            last = len(self._history)
            before = self._history[-1].step if self._history else 0
            place = place or f"in step {error.step - before} of epoch {last + 1}"
            saved = f"epoch {last} is saved in {self._directory.last}" if last else "no epoch is saved"
            message = f"{error} {place}; {saved}; train again with an --lr smaller than {self._config.lr:g}"
            raise NotFinite(message, error.step) from error

    def _finish_epoch(self, val: Metrics | None) -> None:
        with self._stop_at():
            self._saver.require_finite(self._step)  # before the history has this epoch, which is not saved then
        record = build_record(self._running, epoch=len(self._history) + 1, step=self._step, val=val)
        self._history, self._running, self._loader_state = (*self._history, record), UnfinishedEpoch(), {}
        self._write(*self._saver.paths_of_epoch(self._history))
        if self._journal is not None:
            self._journal.add_epoch(record)
            self._journal.write_files(self._history)

    def _write(self, *paths: Path) -> None:
        """Write a checkpoint of the current state to each path. Raises NotFinite for weights that are broken."""
        with self._stop_at():
            self._saver.require_finite(self._step)
        self._saver.write(self._saver.about(self._running, self._history), self._loader_state, *paths)

    def result(self) -> TrainResult:
        """Return the result of the finished run."""
        return summarise_run(
            self._config,
            self._history,
            classes=len(self._data.class_ids),
            ranks=self._ranks.size,
            last=self._directory.last,
            best=self._directory.best,
            skipped=self._skipped(),
        )

    def _skipped(self) -> int:
        of_val = 0 if self._data.val is None else len(self._data.val.skipped)
        return int(self._ranks.total([float(self._data.train.skipped + of_val)])[0])

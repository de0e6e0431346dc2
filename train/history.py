"""What happened so far: the finished epochs, the one under way, and the result that they add up to.

All of it travels in the checkpoint, so a resumed run reports the same epochs, rates and curves as one that was
never interrupted, and ``metrics.jsonl`` can be written afresh from it at any time.
"""

from dataclasses import dataclass, field

from .metrics import Metrics, Sums


@dataclass(frozen=True, kw_only=True)
class Running:
    """The epoch under way."""

    batches: int = 0
    sums: Sums = field(default_factory=Sums)
    wait: float = 0.0
    """Seconds spent waiting for the loader's next batch."""
    work: float = 0.0
    """Seconds spent on training steps."""
    lr: float = 0.0
    """Learning rate of the last step."""

    def add(self, sums: Sums, *, wait: float, work: float, lr: float) -> "Running":
        """Return this with one more batch."""
        return Running(
            batches=self.batches + 1,
            sums=self.sums + sums,
            wait=self.wait + wait,
            work=self.work + work,
            lr=lr,
        )


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One finished epoch: one line of ``metrics.jsonl``."""

    epoch: int
    """Counted from 1."""
    step: int
    """Training steps since the run began."""
    lr: float
    """Learning rate of the epoch's last step."""
    train: Metrics
    """Over the epoch's training batches, augmented, each seen by the model as it was at that step."""
    val: Metrics | None
    """Over the whole val split after the epoch; None where the data set has no labelled one."""
    images: int
    seconds: float
    """Of training, without the evaluation."""
    data_wait: float
    """Share, 0 to 1, of those seconds spent waiting for the loader."""
    images_per_second: float

    @property
    def score(self) -> float:
        """What ``best.pt`` is the best by: top-1 on val, or on train where there is no val."""
        return (self.val or self.train).top1


def record_epoch(running: Running, *, epoch: int, step: int, val: Metrics | None) -> EpochRecord:
    """Return the record of an epoch that has just been finished."""
    seconds = running.wait + running.work
    return EpochRecord(
        epoch=epoch,
        step=step,
        lr=running.lr,
        train=running.sums.metrics(),
        val=val,
        images=running.sums.images,
        seconds=seconds,
        data_wait=running.wait / seconds,
        images_per_second=running.sums.images / seconds,
    )


def is_best(history: tuple[EpochRecord, ...]) -> bool:
    """Return whether the last epoch is better than all before it."""
    return max(history, key=lambda record: record.score) is history[-1]

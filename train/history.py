"""The epochs of a run so far: a record of each finished epoch, and the sums of the unfinished one.

The checkpoint holds all of it. So a resumed run reports the same epochs, rates and curves as an uninterrupted one, and
``metrics.jsonl`` can be written again from it at any time.
"""

from dataclasses import dataclass, field, replace

from .metrics import Metrics, Sums


@dataclass(frozen=True, kw_only=True)
class UnfinishedEpoch:
    """The epoch under way, from its first batch to the last one that was trained on.

    Sums and seconds are those of the steps up to the last log point.
    """

    batches: int = 0
    sums: Sums = field(default_factory=Sums)
    wait: float = 0.0
    """Seconds spent waiting for the loader's next batch."""
    work: float = 0.0
    """Seconds spent on training steps."""
    lr: float = 0.0
    """Learning rate of the last step."""

    def with_step(self, lr: float) -> "UnfinishedEpoch":
        """Return this epoch with one more batch, whose sums are still on the device."""
        return replace(self, batches=self.batches + 1, lr=lr)

    def with_sums(self, sums: Sums, *, wait: float, work: float) -> "UnfinishedEpoch":
        """Return this epoch with the sums and the seconds of steps that were added before."""
        return replace(self, sums=self.sums + sums, wait=self.wait + wait, work=self.work + work)


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
    """Over the epoch's augmented training batches, each with the weights before its step."""
    val: Metrics | None
    """Over the whole val split after the epoch; None without a labelled val split."""
    images: int
    seconds: float
    """Seconds of training, without the evaluation."""
    data_wait: float
    """Share of those seconds spent waiting for the loader, 0 to 1."""
    images_per_second: float

    @property
    def score(self) -> float:
        """The figure that selects ``best.pt``: top-1 on val, or on train without a val split."""
        return (self.val or self.train).top1


def build_record(running: UnfinishedEpoch, *, epoch: int, step: int, val: Metrics | None) -> EpochRecord:
    """Return the record of an epoch whose last batch has been trained on."""
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
    """Return whether the last epoch has a higher score than all epochs before it."""
    return max(history, key=lambda record: record.score) is history[-1]

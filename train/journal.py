"""A run's directory, and the files in it for the user: metrics.jsonl, curves.png and the TensorBoard events.

RUN/config.json                  the settings as they were used
RUN/checkpoints/last.pt          the end of the last finished epoch, or the place of an interruption
RUN/checkpoints/best.pt          the epoch with the best top-1 on val, or on train without a val
RUN/checkpoints/epoch-0001.pt …  every so many epochs, with --save-epochs
RUN/metrics.jsonl                one JSON object per finished epoch
RUN/curves.png                   loss and accuracies of metrics.jsonl as curves
RUN/tensorboard/                 the same as metrics.jsonl, loss and learning rate of every step, the graph, some images
"""

import copy
import io
import json
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from ..loaders import Batch
from ..prep import DatasetError, OutputError, read_document, to_json, write_atomically, write_document
from ..prep.base.disks import reason_of, remove_tree
from ..prep.base.lock import LOCK_FILES
from ..prep.base.names import is_text
from ..prep.base.shell import shell_word
from .checkpoint import resume_command
from .config import TrainConfig
from .history import EpochRecord
from .metrics import Metrics, Sums

IMAGES = 16  # enough to check that images are upright, in colour, and show something


@dataclass(frozen=True)
class RunDirectory:
    """The paths in a run's directory."""

    path: Path

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.pt"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.pt"

    def epoch(self, number: int) -> Path:
        """Return the path of an epoch's checkpoint; epochs count from 1."""
        return self.path / "checkpoints" / f"epoch-{number:04d}.pt"

    @property
    def saved(self) -> Path | None:
        """The checkpoint to continue from, None without one.

        It is ``last.pt``, unless the run was killed before its first save was complete: ``last.pt`` is written last.
        """
        kept = sorted(self.last.parent.glob("epoch-*.pt"), reverse=True)
        return next((path for path in (self.last, self.best, *kept) if path.is_file()), None)

    @property
    def next_command(self) -> str:
        """What the user does after a run ended early: continue it, if a checkpoint is there."""
        if self.saved is not None:
            return f"continue the run with: {resume_command(self.saved)}"
        return "start the run again, as it has no checkpoint yet"

    def write(self, path: Path, data: bytes) -> None:
        """Write a checkpoint's bytes. Raises OutputError if that fails; the file is then as it was before."""
        try:
            write_atomically(path, data)
        except OSError as error:
            raise OutputError(
                f"cannot write {path} ({len(data)} bytes): {reason_of(error, path)}; "
                f"make room there, then {self.next_command}"
            ) from error

    def claim(self, config: TrainConfig) -> None:
        """Create the directory for this run, and write its config.json.

        Raises OutputError if ``check`` does, and if the directory cannot be written.
        """
        self.check(config)
        events = self.path / "tensorboard"
        with self._explained():
            if config.resume is None and events.is_dir():  # of a run that saved nothing, such as on a full disk
                remove_tree(events)
            self.last.parent.mkdir(parents=True, exist_ok=True)
            for partial in self.last.parent.glob("*.pt.partial"):  # of a run that was killed while it wrote
                partial.unlink()
            write_document(self.path / "config.json", config)

    def check(self, config: TrainConfig) -> None:
        """Raise OutputError if the directory is not empty, or is not that of the run to be resumed."""
        with self._explained():
            if config.resume is None:
                self._require_empty()
            elif config.resume.resolve().parent != self.last.parent.resolve():
                raise _of_another_run(config.resume, self.path)

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.path}: {reason_of(error, self.path)}; choose another --out"
            ) from error

    def _require_empty(self) -> None:
        if self.saved is not None:
            raise OutputError(
                f"{self.path} already holds a training run; continue it with: {resume_command(self.saved)}; "
                "or choose another --out"
            )
        held = {path.name for path in self.path.iterdir()} - {*LOCK_FILES} if self.path.exists() else set[str]()
        if held and not self._is_unsaved(held):
            raise OutputError(f"{self.path} is not empty; choose another --out")

    def _is_unsaved(self, held: set[str]) -> bool:
        """Return whether a directory with these entries is that of a run which ended before its first checkpoint."""
        # A run that is killed while it writes leaves last.pt.partial and config.json.partial.
        held = {name for name in held if name != "config.json.partial"}
        left = (path for path in self.last.parent.glob("*") if path.suffix != ".partial")
        if not held <= {"config.json", "checkpoints", "tensorboard"} or any(left):
            return False
        try:
            read_document(self.path / "config.json", TrainConfig)
        except DatasetError:
            return held <= {"checkpoints"}
        return True


def _of_another_run(checkpoint: Path, out: Path) -> OutputError:
    """Return the error of a run in ``out`` that a checkpoint elsewhere should continue."""
    folder = checkpoint.resolve().parent
    if folder.name != "checkpoints":
        return OutputError(
            f"{checkpoint} is not in the folder checkpoints of a run, which it could continue; move it to "
            f"RUN/checkpoints/, or begin a new run from its weights with --init {shell_word(checkpoint)}"
        )
    home = folder.parent
    return OutputError(f"{checkpoint} continues the run in {home}, not {out}; use --out {shell_word(home)}")


class _NoEvents:
    """Takes the place of TensorBoard's writer and writes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Journal:
    """The log of a run's steps and epochs, in TensorBoard events and files. Close it to flush the events."""

    def __init__(self, directory: Path, first_step: int) -> None:
        self._directory = directory
        with self._writing():
            # purge_step hides the events that an interrupted run wrote for the steps from first_step on.
            self._events: Any = _NoEvents()
            if self.has_events:
                self._events = SummaryWriter(str(directory / "tensorboard"), purge_step=first_step)

    @property
    def has_events(self) -> bool:
        """Whether there are TensorBoard events: TensorBoard cannot write below a path that is not UTF-8."""
        return is_text(self._directory.absolute())

    def add_model(self, model: nn.Module, batch: Batch) -> None:
        """Write the model's graph and the first images of its first batch."""
        shown = copy.deepcopy(model).to("cpu").eval()
        image = batch.images[:1].float().cpu()
        with self._writing(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated, and TensorBoard has no other way
            self._events.add_graph(shown, image)
            self._events.add_images("images/train", batch.images[:IMAGES].cpu(), 0)

    def add_step(self, step: int, sums: Sums, lr: float) -> None:
        """Write a training step's loss and learning rate."""
        with self._writing():
            self._events.add_scalar("step/loss", sums.loss / sums.images, step)
            self._events.add_scalar("step/lr", lr, step)

    def add_epoch(self, record: EpochRecord) -> None:
        """Write a finished epoch's metrics and rates at its last step."""
        with self._writing():
            for name, value in _scalars(record).items():
                self._events.add_scalar(name, value, record.step)
            self._events.flush()

    def write_files(self, history: tuple[EpochRecord, ...]) -> None:
        """Write metrics.jsonl and curves.png for these epochs. Raises OutputError if that fails."""
        lines = "".join(json.dumps(to_json(record)) + "\n" for record in history)
        with self._writing():
            write_atomically(self._directory / "metrics.jsonl", lines.encode())
            write_atomically(self._directory / "curves.png", _draw_curves(history))

    def close(self) -> None:
        """Flush and close the TensorBoard events."""
        with self._writing():
            self._events.close()

    @contextmanager
    def _writing(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write to {self._directory}: {reason_of(error, self._directory)}; make room there, then "
                f"{RunDirectory(self._directory).next_command}"
            ) from error


def _scalars(record: EpochRecord) -> dict[str, float]:
    scalars = {
        "lr": record.lr,
        "speed/images_per_second": record.images_per_second,
        "speed/data_wait": record.data_wait,
    }
    for split, metrics in _splits(record).items():
        scalars |= {f"{name}/{split}": value for name, value in to_json(metrics).items()}
    return scalars


def _splits(record: EpochRecord) -> dict[str, Metrics]:
    return {"train": record.train} | ({} if record.val is None else {"val": record.val})


def _draw_curves(history: tuple[EpochRecord, ...]) -> bytes:
    """Return a PNG with the loss and the accuracies over the epochs."""
    figure = Figure(figsize=(8, 3.2), dpi=110, layout="constrained")
    axes: Any = figure.subplots(1, 2)
    for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
        # A val split may have come or gone between two parts of the run, so each split has epochs of its own.
        held = [record for record in history if split in _splits(record)]
        epochs, metrics = [record.epoch for record in held], [_splits(record)[split] for record in held]
        if metrics:
            axes[0].plot(epochs, [m.loss for m in metrics], ".-", color=colour, label=split)
            axes[1].plot(epochs, [100 * m.top1 for m in metrics], ".-", color=colour, label=f"{split} top-1")
            axes[1].plot(epochs, [100 * m.top5 for m in metrics], ".:", color=colour, label=f"{split} top-5")
    for axis, title in zip(axes, ("loss (nats)", "accuracy (%)"), strict=True):
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    axes[1].set_ylim(0, 102)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()

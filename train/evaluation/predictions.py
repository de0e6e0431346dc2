"""The predictions of a checkpoint for a split: one row per image, from which all figures are computed."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)

from ...loaders import Batch, Interpolation, LoaderSpec, OnError
from ...loaders.store.roots import Root
from ...prep import Progress, TrainingError, silent
from ..config import Stem, check_device, default_device, set_types_of_run
from ..data import Contents, open_split, read_contents, undecodable
from ..engine import Normalise, autocast, mean_scores
from .real import read_real
from .subject import Subject, read_subject

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which split to evaluate on, and how to read it. Raises TrainingError for a value of another type."""

    root: Root
    loader: str
    split: str = "val"
    workers: int = 0
    batch_size: int = 64
    device: str = field(default_factory=default_device)
    model: str | None = None
    """The model, as ``TrainConfig.model``, of a file with weights of another program; None for our checkpoints."""
    stem: Stem = "auto"
    """The stem of ``model``."""
    image_size: int | None = None
    """Height and width of the images in pixels; None means that of the run's evaluations, or 224 with ``model``."""
    resize_size: int | None = None
    """Their short side before the centre crop; None means that of the run's evaluations, or size * 256 / 224."""
    interpolation: Interpolation | None = None
    """How they are resized; None means as in the run, or ``bilinear``."""
    flip: bool | None = None
    """Whether to take the mean with the scores of the mirror images; None means as in the run."""
    on_error: OnError | None = None
    """What an image that cannot be decoded does, as ``LoaderSpec.on_error``; None means as in the run, or ``raise``."""

    def __post_init__(self) -> None:
        set_types_of_run(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The predictions of one checkpoint: a value per sample, in the order of the sample indexes."""

    indexes: I64
    """int64 (N,): the sample indexes, without those of damaged images that were left out."""
    labels: I64
    """int64 (N,): the class index in the data set."""
    best: I64
    """int64 (N,): the class index with the highest score."""
    best_probability: F64
    """float64 (N,), 0 to 1: the softmax of ``best``."""
    truth_probability: F64
    """float64 (N,), 0 to 1: the softmax of the label."""
    losses: F64
    """float64 (N,): cross-entropy, in nats."""
    top5: npt.NDArray[np.bool_]
    """bool (N,): whether the label is among the five highest scores."""
    keys: tuple[str, ...]
    """The key of each sample, if the root has ImageNet-ReaL's labels, else nothing."""
    seconds: float
    """Seconds of the whole pass, including the wait for data."""
    skipped: int
    """Number of damaged images that were left out."""

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """bool (N,): whether the label has the highest score."""
        return self.best == self.labels

    def only(self, indexes: I64) -> "Predictions":
        """Return the predictions of some of the samples, int64 sorted."""
        rows = np.searchsorted(self.indexes, indexes)
        values = {name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **values, keys=tuple(self.keys[row] for row in rows) if self.keys else ())


def predict(
    checkpoint: Path, config: EvaluateConfig, progress: Progress = silent
) -> tuple[Subject, Contents, Predictions]:
    """Return the checkpoint's model, the contents of the data set, and the predictions for the whole split."""
    check_device(config.device)
    contents = read_contents(config.root, config.loader)
    subject = read_subject(checkpoint, contents, model=config.model, stem=config.stem, image_size=config.image_size)
    keyed = read_real(config.root, config.split, len(contents.classes)) is not None
    spec = LoaderSpec(
        root=config.root,
        split=config.split,
        batch_size=config.batch_size,
        image_size=subject.image_size,
        transform="eval",
        resize_size=config.resize_size or subject.resize_size,
        interpolation=config.interpolation or subject.interpolation,
        workers=config.workers,
        rank=0,  # the whole split, also in a process that torchrun started
        world_size=1,
        device=config.device,
        on_error=config.on_error or subject.on_error,
        empty_batches=True,  # they are left out
    )
    network, flip = subject.network.to(config.device), subject.flip if config.flip is None else config.flip
    with autocast(config.device, subject.amp):  # the run's precision, so that the run's figures repeat
        scores = partial(mean_scores, network.eval(), flip=flip)
        return subject, contents, _predict_all(scores, config.loader, spec, f"evaluate {checkpoint}", progress, keyed)


def _predict_all(
    scores: Callable[[torch.Tensor], torch.Tensor],
    loader: str,
    spec: LoaderSpec,
    step: str,
    progress: Progress,
    keyed: bool,
) -> Predictions:
    """Return the model's predictions for the split; raise TrainingError if it is empty or the loss is not finite."""
    normalise = Normalise().to(spec.device)
    rows: list[F64] = []
    keys: dict[int, str] = {}
    with open_split(loader, spec) as batches, torch.inference_mode():
        progress(step, 0, len(batches))
        began = perf_counter()
        for done, batch in enumerate(batches, start=1):
            if len(batch.labels):
                rows.append(_prediction_rows(scores(normalise(batch.images)), batch))
            if keyed:
                keys |= zip(batch.indexes.tolist(), batch.keys, strict=True)
            progress(step, done, len(batches))
        seconds, skipped = perf_counter() - began, len(batches.skipped)
    if not rows and skipped:
        raise undecodable(f"the split {spec.split!r} has no image", spec.root)
    if not rows:
        raise TrainingError(f"the split {spec.split!r} of {spec.root} is empty; choose another --split")
    found = _table_predictions(np.concatenate(rows), tuple(keys[index] for index in sorted(keys)), seconds, skipped)
    if not math.isfinite(found.losses.sum()):
        raise TrainingError("the loss is not finite: the weights are broken; use an earlier checkpoint")
    return found


def _table_predictions(table: F64, keys: tuple[str, ...], seconds: float, skipped: int) -> Predictions:
    """Return the predictions in a table of ``_prediction_rows``, sorted by sample index."""
    table = table[np.argsort(table[:, 0])]
    return Predictions(
        indexes=table[:, 0].astype(np.int64),
        labels=table[:, 1].astype(np.int64),
        best=table[:, 2].astype(np.int64),
        best_probability=table[:, 3],
        truth_probability=table[:, 4],
        losses=table[:, 5],
        top5=table[:, 6] > 0,
        keys=keys,
        seconds=seconds,
        skipped=skipped,
    )


def _prediction_rows(logits: torch.Tensor, batch: Batch) -> F64:
    """Return float64 (N, 7): index, label, best class, its probability, the label's, loss, whether in the top 5."""
    scores = logits.double()  # float64 holds every index and count exactly, and the columns share one transfer
    labels = batch.labels
    probabilities = scores.softmax(1)
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    columns = [
        labels.double(),
        best[:, 0].double(),
        probabilities.gather(1, best[:, :1])[:, 0],
        probabilities.gather(1, labels[:, None])[:, 0],
        F.cross_entropy(scores, labels, reduction="none"),
        (best == labels[:, None]).any(1).double(),
    ]
    return torch.cat([batch.indexes.double()[:, None], torch.stack(columns, 1).cpu()], 1).numpy()

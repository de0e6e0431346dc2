"""What a run has before its first step: the model to train, the one to learn from, and its journal."""

from collections.abc import Callable

from torch import nn

from ..prep import TrainingError
from .checkpoint import load_model, read_checkpoint, resume_command
from .config import TrainConfig
from .engine import least_images
from .history import EpochRecord
from .journal import Journal, RunDirectory
from .models import model_of, require_scores
from .models.weights import load_weights
from .schedule import image_size


def _require_batch_statistics(model: nn.Module, config: TrainConfig) -> None:
    """Raise TrainingError if a part of a batch has one image, whose variance BatchNorm cannot compute."""
    if config.batch_size // config.accumulate < least_images(model):
        parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
        raise TrainingError(
            f"a batch of {config.batch_size}{parts} puts a single image into BatchNorm, which needs at least 2; use "
            f"{'a smaller --accumulate' if parts else '--batch-size 2 or more'}"
        )


def fresh_model(config: TrainConfig, classes: int, notice: Callable[[str], None]) -> nn.Module:
    """Return the model of a run before its first step, with the weights of ``init`` if it has one.

    Raises TrainingError for a model that cannot be trained so.
    """
    model = model_of(config, classes)
    _require_batch_statistics(model, config)
    if config.init is not None and config.resume is None:
        head = load_weights(model, config.init, any_head=True)
        new = "" if head is None else f"; the layer {head} is new, because it has other classes there"
        notice(f"the weights are those of {config.init}{new}")
    return model


def teacher_of(config: TrainConfig, class_ids: tuple[str, ...]) -> nn.Module | None:
    """Return the model that a run learns from; raise TrainingError if it has other classes or needs other images."""
    if config.teacher is None:
        return None
    read = read_checkpoint(config.teacher)
    theirs = read.about.classes
    if theirs != class_ids:
        raise TrainingError(
            f"the teacher {config.teacher} was trained on {len(theirs)} classes, and the data set has "
            f"{len(class_ids)} {'other ' * (len(theirs) == len(class_ids))}classes; use a teacher of the same data set"
        )
    model = load_model(config.teacher, read)
    for size in {image_size(config, epoch) for epoch in range(config.epochs)}:
        require_scores(model, f"the teacher {read.about.config.model}", len(class_ids), size)
    return model.requires_grad_(False)


def open_journal(
    config: TrainConfig, history: tuple[EpochRecord, ...], step: int, notice: Callable[[str], None]
) -> Journal:
    """Take the run directory for a run of ``history`` and ``step`` steps, and return its journal.

    A finished run keeps its config.json, because nothing uses other settings.
    """
    directory = RunDirectory(config.out)
    if len(history) == config.epochs:
        directory.check(config)
        more = f"{resume_command(directory.last)} --epochs {config.epochs + 1}"
        notice(f"the run in {config.out} is finished, and nothing is trained; continue it with: {more}")
    else:
        directory.claim(config)
    journal = Journal(config.out, first_step=step + 1)
    if not journal.has_events:
        notice("there will be no TensorBoard events, because the path of the run is not UTF-8")
    if history:
        journal.write_files(history)
    return journal

"""The model to evaluate: that of a checkpoint of feedline, or named, with the weights of another program."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ...loaders import Interpolation, OnError
from ...prep import TrainingError
from ..checkpoint import load_model, read_about, read_checkpoint
from ..config import Precision, Stem, chosen_stem
from ..data import Contents
from ..models import build_model
from ..models.weights import load_weights

IMAGE_SIZE = 224  # of weights without a checkpoint's settings, in pixels


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model on the CPU, and how it computes."""

    network: nn.Module
    model: str
    image_size: int
    """Height and width of its images, in pixels."""
    resize_size: int | None
    """Their short side before the centre crop, in pixels; None means size * 256 / 224."""
    interpolation: Interpolation
    flip: bool
    """Whether the mirror image is evaluated too."""
    amp: Precision
    on_error: OnError
    """What its run did with an image that cannot be decoded."""
    epoch: int | None
    """Finished epochs of the checkpoint; None for weights of another program."""


def read_subject(path: Path, contents: Contents, *, model: str | None, stem: Stem, image_size: int | None) -> Subject:
    """Return the model of the checkpoint at ``path``, or ``model`` with the weights in it.

    The images of a checkpoint are those that its run evaluated, unless ``image_size`` is another. Raises TrainingError
    for a file that cannot be used, or whose classes are not those of ``contents``, and for a ``model`` or ``stem`` of
    a checkpoint, which has its own.
    """
    if model is not None:
        _refuse_checkpoint(path, model)
        return _foreign(path, len(contents.classes), model, stem, image_size or IMAGE_SIZE)
    read = read_checkpoint(path)
    about, ids = read.about, contents.class_ids
    if about.classes != ids:
        raise TrainingError(
            f"{path} was trained on {len(about.classes)} classes, and the data set has "
            f"{len(ids)} {'other ' * (len(about.classes) == len(ids))}classes; "
            "evaluate it on the data set that it was trained on"
        )
    config = about.config
    if stem != "auto":
        raise TrainingError(f"{path} is a checkpoint of feedline, which says its stem: {config.stem}; leave out --stem")
    own = config.eval_image_size or config.image_size
    return Subject(
        network=load_model(path, read),
        model=config.model,
        image_size=image_size or own,
        resize_size=config.eval_resize if image_size in (None, own) else None,
        interpolation=config.interpolation,
        flip=config.eval_flip,
        amp=config.amp,
        on_error=config.on_error,
        epoch=len(about.history),
    )


def _refuse_checkpoint(path: Path, model: str) -> None:
    """Raise TrainingError if the file is a checkpoint of feedline: its run's settings would not be used."""
    try:
        own = read_about(path).config.model
    except TrainingError:
        return
    raise TrainingError(f"{path} is a checkpoint of feedline, which says its model: {own}; leave out --model {model}")


def _foreign(path: Path, classes: int, model: str, stem: Stem, size: int) -> Subject:
    network = build_model(model, classes, stem=chosen_stem(stem, size, model), seed=0, image_size=size)
    load_weights(network, path, any_head=False)
    return Subject(
        network=network,
        model=model,
        image_size=size,
        resize_size=None,
        interpolation="bilinear",
        flip=False,
        amp="none",
        on_error="raise",
        epoch=None,
    )

"""``feedline evaluate``: the accuracy of a checkpoint on a split, in all and for each class."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..prep import to_json
from ..prep.base.plurals import counted
from .console import class_cell, echo_json, progress_bars, say, say_skipped, stderr_console
from .options import (
    LocalPath,
    RootPath,
    cache_size_option,
    evaluate_config,
    evaluation_options,
    json_option,
)
from .training.subject_options import subject_options

if TYPE_CHECKING:
    from ..train import Evaluation

WORST_CLASSES = 10


@click.command()
@click.argument("checkpoint", type=LocalPath(path_type=Path, exists=True, dir_okay=False))
@cache_size_option
@click.argument("root", type=RootPath(path_type=Path))
@evaluation_options
@subject_options()
@click.option(
    "--weights-out",
    type=LocalPath(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the evaluated weights to this file, as a plain torchvision state dict.",
)
@json_option
def evaluate(checkpoint: Path, root: Path, weights_out: Path | None, as_json: bool, **settings: Any) -> None:
    """Evaluate CHECKPOINT on a split of the data set ROOT.

    \b
    Example:
      feedline evaluate run/checkpoints/best.pt data
      feedline evaluate run/checkpoints/best.pt data --weights-out resnet.pt
      feedline evaluate weights.pth data --model timm:convnext_tiny

    CHECKPOINT is one of feedline, or a file of weights of torchvision or timm with its --model. Reports top-1, top-5,
    loss, calibration error, images/s, the classes with the lowest top-1 and the worst confusions. --json has
    every class.
    """
    from ..train import evaluate as run, export_weights

    if weights_out is not None and settings["model"] is not None:
        raise click.UsageError(
            "--weights-out is for checkpoints of feedline, whose weights are with others; leave it out"
        )
    config = evaluate_config(root, **settings)
    with progress_bars() as progress:
        found = run(checkpoint, config, progress)
    _show(found)
    say_skipped(found.skipped, root)
    if as_json:  # before the weights, which may find no room
        echo_json(to_json(found))
    if weights_out is not None:
        export_weights(checkpoint, weights_out)
        say(f"weights for torchvision: {weights_out}")


def _show(found: "Evaluation") -> None:
    console = stderr_console()
    table = Table("", "top-1", "images", title=f"classes of {found.split} with the lowest top-1")
    scored = [(entry.top1, entry) for entry in found.classes if entry.top1 is not None]
    for top1, entry in sorted(scored, key=lambda pair: pair[0])[:WORST_CLASSES]:
        table.add_row(class_cell(entry.name), f"{top1:.1%}", str(entry.images))
    console.print(table)
    pairs = Table("truth", "prediction", "images", "of the class", title="worst confusions")
    for pair in found.confusions:
        names = class_cell(pair.truth.name), class_cell(pair.taken_for.name)
        pairs.add_row(*names, str(pair.images), f"{pair.share:.1%}")
    if found.confusions:
        console.print(pairs)
    trained = "" if found.epoch is None else f" after {counted(found.epoch, 'epoch')}"
    real = "" if found.real_top1 is None else f", by ImageNet-ReaL's labels {found.real_top1:.1%}"
    say(
        f"{found.model}{trained} on {counted(found.images, 'image')} of {found.split}: top-1 {found.top1:.1%}, "
        f"top-5 {found.top5:.1%}{real}, loss {found.loss:.3f}, calibration error {found.calibration_error:.1%}; "
        f"{found.images_per_second:.0f} images/s through {found.loader}"
    )

"""``feedline train``: train a ResNet on a data set root, through any loader.

Under torchrun every rank runs this command. Only rank 0 prints, except for the errors of the others.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..prep import silent, to_json
from .console import echo_json, progress_bars, say, stderr_console
from .options import (
    AT_LEAST_1,
    amp_option,
    batch_size_option,
    dct_scaling_option,
    device_option,
    image_size_option,
    json_option,
    loader_workers_option,
    model_option,
    pixels_option,
    seed_option,
    stem_option,
)

if TYPE_CHECKING:
    from ..train import Metrics, TrainConfig, TrainResult


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory, new or empty.")
@click.option(
    "--loader",
    metavar="auto|NAME",
    default="auto",
    show_default=True,
    help="Read ROOT with this loader; list them with: feedline loaders. auto takes the fastest, according to bench "
    "records or else to a trial of some seconds.",
)
@loader_workers_option
@click.option(
    "--records",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    show_default="ROOT/bench if it exists",
    help="Bench records for --loader auto.",
)
@model_option
@image_size_option
@click.option(
    "--decode",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    show_default=True,
    help="gpu decodes with nvJPEG, in the loader threaded.",
)
@dct_scaling_option
@pixels_option
@stem_option
@click.option("--epochs", type=AT_LEAST_1, default=10, show_default=True, metavar="N", help="Epochs to train.")
@batch_size_option("Images per step and rank.")
@click.option(
    "--accumulate",
    type=AT_LEAST_1,
    default=1,
    show_default=True,
    metavar="PARTS",
    help="Compute each batch in this many parts, to need less memory.",
)
@click.option(
    "--optimiser",
    type=click.Choice(["sgd", "adamw"]),
    default="sgd",
    show_default=True,
    help="SGD with Nesterov momentum 0.9, or AdamW.",
)
@click.option(
    "--lr",
    type=float,
    metavar="RATE",
    show_default="sgd: 0.1, adamw: 2.5e-4, per 256 images of all ranks' batch",
    help="Learning rate after the warm-up.",
)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "step", "constant"]),
    default="cosine",
    show_default=True,
    help="Learning rate after the warm-up: cosine to zero, a tenth after each third of the run, or constant.",
)
@click.option(
    "--label-smoothing", type=float, default=0.0, show_default=True, metavar="SHARE", help="Smoothing of the labels."
)
@click.option("--clip", type=float, metavar="NORM", help="Largest norm of the gradients.")
@click.option("--ema", type=float, metavar="DECAY", help="Evaluate a moving average of the weights, such as 0.999.")
@amp_option
@click.option("--compile", is_flag=True, help="Train through torch.compile.")
@seed_option
@device_option
@click.option("--save-epochs", type=AT_LEAST_1, metavar="N", help="Keep epoch-0001.pt and so on, every N epochs.")
@click.option("--save-steps", type=AT_LEAST_1, metavar="N", help="Update last.pt every N steps, not only each epoch.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CKPT",
    help="Continue the run in --out from this checkpoint, with the same settings.",
)
@json_option
def train(as_json: bool, records: Path | None, device: str | None, **settings: Any) -> None:
    """Train a ResNet on the data set ROOT.

    \b
    Example:
      feedline train data --out run --epochs 30 --batch-size 128 --image-size 64
      torchrun --nproc-per-node=2 -m feedline.train data --out run

    Reports loss, top-1 and top-5 on train and val, and the share of time that the model waited for data. The
    figures on train are measured while training: over the augmented batches of the last epoch, before each changed
    the weights. Ctrl-C and SIGTERM save a checkpoint; continue with the same command and
    --resume RUN/checkpoints/last.pt.
    """
    from ..train import TrainConfig, default_device, train as run_training

    is_rank_0 = os.environ.get("RANK", "0") == "0"
    config = TrainConfig(device=device or default_device(), **settings)
    config = _with_recorded_loader(config, records, is_rank_0)
    try:
        with progress_bars() as progress:
            result = run_training(config, progress if is_rank_0 else silent, say)
    except KeyboardInterrupt:
        saved = config.out / "checkpoints" / "last.pt"
        if is_rank_0 and saved.is_file():
            say(f"the run is saved; continue with --resume {saved}")
        raise
    if is_rank_0:
        _show(result, config.out)
        if as_json:
            echo_json(to_json(result))


def _with_recorded_loader(config: "TrainConfig", records: Path | None, is_rank_0: bool) -> "TrainConfig":
    """Return ``config`` with the fastest loader of the bench records of this machine and data set, if there are any."""
    from ..train import AUTO
    from .recorded import fastest_recorded

    place = records or config.root / "bench"
    if config.loader != AUTO or config.resume is not None or not place.exists():
        return config
    choice = fastest_recorded(place, config)
    if choice is None:
        if is_rank_0:
            say(f"{place} has no records of this machine, data set and image size; trying the loaders instead")
        return config
    if is_rank_0:
        say(f"bench records in {place}: {choice.reason}")
    workers = choice.workers if config.workers is None else config.workers
    return replace(config, loader=choice.loader, workers=workers)


def _show(result: "TrainResult", out: Path) -> None:
    table = Table("", "loss", "top-1", "top-5", title=f"{result.model}, {result.epochs} epochs, {result.loader}")
    table.add_row("train", *_cells(result.train))
    if result.val is not None:
        table.add_row("val", *_cells(result.val))
    stderr_console().print(table)
    say(f"{result.images_per_second:.0f} images/s; {result.input_verdict}")
    say(f"best checkpoint: {result.best}")
    say(f"curves: {out / 'curves.png'}; TensorBoard: tensorboard --logdir {out / 'tensorboard'}")


def _cells(metrics: "Metrics") -> tuple[str, str, str]:
    return f"{metrics.loss:.3f}", f"{metrics.top1:.1%}", f"{metrics.top5:.1%}"

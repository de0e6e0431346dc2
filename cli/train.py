"""``feedline train``: train a model on a data set root, through any loader.

Under torchrun every rank runs this command. Only rank 0 prints, except for the errors of the others.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.table import Table

from ..prep import silent, to_json
from .console import echo_json, progress_bars, say, stderr_console
from .options import (
    AT_LEAST_1,
    RootPath,
    amp_option,
    batch_size_option,
    cache_size_option,
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
@cache_size_option
@click.argument("root", type=RootPath(path_type=Path), required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="with --resume, that of the run",
    help="Run directory, new or empty.",
)
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
    show_default="ROOT/bench and ./bench, if they exist",
    help="Bench records for --loader auto.",
)
@model_option
@click.option(
    "--init",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Begin with these weights: a checkpoint, or a state dict of torchvision or timm. A head of other classes is "
    "replaced by a fresh one.",
)
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
    "--warmup",
    type=float,
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Share of the run over which the learning rate rises linearly.",
)
@click.option("--momentum", type=float, default=0.9, show_default=True, metavar="SHARE", help="Momentum of SGD.")
@click.option(
    "--weight-decay",
    type=float,
    metavar="RATE",
    show_default="sgd: 1e-4, adamw: 0.05",
    help="Weight decay; norms and biases have none.",
)
@click.option(
    "--label-smoothing", type=float, default=0.0, show_default=True, metavar="SHARE", help="Smoothing of the labels."
)
@click.option("--clip", type=float, metavar="NORM", help="Largest norm of the gradients.")
@click.option("--ema", type=float, metavar="DECAY", help="Evaluate a moving average of the weights, such as 0.999.")
@amp_option
@click.option("--compile", is_flag=True, help="Train through torch.compile.")
@click.option(
    "--channels-last/--no-channels-last",
    default=True,
    show_default=True,
    help="Keep the channels of a pixel together in memory.",
)
@click.option("--tf32/--no-tf32", default=True, show_default=True, help="Let a GPU multiply float32 in TF32.")
@click.option(
    "--cudnn-benchmark/--no-cudnn-benchmark",
    default=True,
    show_default=True,
    help="Let cuDNN try its algorithms and keep the fastest.",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="What an image that cannot be decoded does: end the run with its place saved, or be left out and counted.",
)
@seed_option
@device_option
@click.option("--save-epochs", type=AT_LEAST_1, metavar="N", help="Keep epoch-0001.pt and so on, every N epochs.")
@click.option("--save-steps", type=AT_LEAST_1, metavar="N", help="Update last.pt every N steps, not only each epoch.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CKPT",
    help="Continue the run of this checkpoint with its settings; options given beside it replace them.",
)
@json_option
@click.pass_context
def train(ctx: click.Context, as_json: bool, records: Path | None, device: str | None, **settings: Any) -> None:
    """Train a classification model on the data set ROOT.

    \b
    Example:
      feedline train data --out run --epochs 30 --batch-size 128 --image-size 64
      torchrun --nproc-per-node=2 -m feedline.train data --out run

    Reports loss, top-1 and top-5 on train and val, and the share of time that the model waited for data. The
    figures on train are measured while training: over the augmented batches of the last epoch, before each changed
    the weights. Ctrl-C, SIGTERM and an error save a checkpoint; continue with
    feedline train --resume RUN/checkpoints/last.pt. More --epochs, another --batch-size and another number of ranks
    are allowed then.
    """
    from ..train import resume_command, train as run_training

    is_rank_0 = os.environ.get("RANK", "0") == "0"
    config = _config(ctx, device, settings)
    config = _with_recorded_loader(config, records, is_rank_0)
    saved = config.out / "checkpoints" / "last.pt"
    before = _version(saved)
    try:
        with progress_bars() as progress:
            result = run_training(config, progress if is_rank_0 else silent, say)
    except (KeyboardInterrupt, Exception):
        if is_rank_0 and _version(saved) != before:
            say(f"the run is saved; continue with: {resume_command(saved)}")
        raise
    if is_rank_0:
        _show(result, config.out)
        if as_json:
            echo_json(to_json(result))


def _config(ctx: click.Context, device: str | None, settings: dict[str, Any]) -> "TrainConfig":
    """Return the settings of a new run, or those of the resumed run with the options that the user gave."""
    from ..train import TrainConfig, default_device, resumed_config

    if settings["resume"] is None:
        for name, shown in (("root", "argument ROOT"), ("out", "option --out")):
            if settings[name] is None:
                raise click.UsageError(f"missing {shown}", ctx)
        return TrainConfig(device=device or default_device(), **settings)
    given = {name for name in settings if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    changes = {name: settings[name] for name in given - {"resume"}}
    return resumed_config(settings["resume"], **changes, **({} if device is None else {"device": device}))


def _version(path: Path) -> tuple[int, int] | None:
    """Return what changes when the file is written again; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _with_recorded_loader(config: "TrainConfig", records: Path | None, is_rank_0: bool) -> "TrainConfig":
    """Return ``config`` with the fastest loader of the bench records of this machine and data set, if there are any."""
    from ..train import AUTO
    from .recorded import fastest_recorded

    places = [records] if records else [place for place in (config.root / "bench", Path("bench")) if place.is_dir()]
    if config.loader != AUTO or config.resume is not None or not places:
        return config
    found = ((place, fastest_recorded(place, config)) for place in places)
    place, choice = next((pair for pair in found if pair[1] is not None), (places[0], None))
    if choice is None:
        if is_rank_0:
            shown = " and ".join(map(str, places))
            say(f"no record of this machine, data set and image size is in {shown}; trying the loaders instead")
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
    if result.skipped:
        say(f"{result.skipped} images could not be decoded and were left out; see which: feedline verify ROOT --decode")
    say(f"best checkpoint: {result.best}")
    say(f"curves: {out / 'curves.png'}; TensorBoard: tensorboard --logdir {out / 'tensorboard'}")


def _cells(metrics: "Metrics") -> tuple[str, str, str]:
    return f"{metrics.loss:.3f}", f"{metrics.top1:.1%}", f"{metrics.top5:.1%}"

"""``feedline train``: a ResNet on a dataset root, through the loader of choice.

Under torchrun every rank runs this command; rank 0 alone speaks, unless one has a problem.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..prep import silent, to_json
from .console import echo_json, json_option, progress_bars, say, seed_option, stderr_console

if TYPE_CHECKING:
    from ..train import Metrics, TrainConfig, TrainResult

AT_LEAST_1 = click.IntRange(min=1)


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory, new or empty.")
@click.option(
    "--loader",
    metavar="auto|NAME",
    default="auto",
    show_default=True,
    help="See: feedline loaders. auto takes the fastest: by bench records, else by a trial of some seconds.",
)
@click.option("--workers", type=click.IntRange(min=0), help="Loader workers; by default one per usable CPU.")
@click.option(
    "--records",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="Bench records for --loader auto; by default ROOT/bench where that exists.",
)
@click.option(
    "--model",
    type=click.Choice(["resnet18", "resnet34", "resnet50", "resnet101"]),
    default="resnet18",
    show_default=True,
    help="Trained from fresh weights.",
)
@click.option("--image-size", type=AT_LEAST_1, default=224, show_default=True, help="Height and width, in pixels.")
@click.option(
    "--decode", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True, help="gpu: nvJPEG, by threaded."
)
@click.option("--dct-scaling", is_flag=True, help="Decode at 1/2 to 1/8 where the crop allows; changes pixels.")
@click.option(
    "--stem",
    type=click.Choice(["auto", "imagenet", "small"]),
    default="auto",
    show_default=True,
    help="small: 3x3 with stride 1 and no max-pool, for small images, at 15 times the compute. "
    "auto: small up to --image-size 64, imagenet above.",
)
@click.option("--epochs", type=AT_LEAST_1, default=10, show_default=True)
@click.option("--batch-size", type=AT_LEAST_1, default=64, show_default=True, help="Images per step and rank.")
@click.option(
    "--accumulate",
    type=AT_LEAST_1,
    default=1,
    show_default=True,
    metavar="PARTS",
    help="Compute each batch in so many parts, which need less memory.",
)
@click.option("--optimiser", type=click.Choice(["sgd", "adamw"]), default="sgd", show_default=True)
@click.option(
    "--lr", type=float, help="After the warm-up; by default 0.1 (sgd) or 2.5e-4 (adamw) per 256 of the batch."
)
@click.option("--schedule", type=click.Choice(["cosine", "step", "constant"]), default="cosine", show_default=True)
@click.option("--label-smoothing", type=float, default=0.0, show_default=True, metavar="SHARE")
@click.option("--clip", type=float, metavar="NORM", help="Largest norm of the gradients.")
@click.option("--ema", type=float, metavar="DECAY", help="Evaluate a moving average of the weights; such as 0.999.")
@click.option(
    "--amp",
    type=click.Choice(["none", "bf16", "fp16"]),
    default="none",
    show_default=True,
    help="Compute convolutions in this precision.",
)
@click.option("--compile", is_flag=True, help="Train through torch.compile.")
@seed_option
@click.option("--device", help="A torch device; by default cuda where there is one, else cpu.")
@click.option("--save-epochs", type=AT_LEAST_1, metavar="N", help="Keep epoch-0001.pt and so on, every N epochs.")
@click.option("--save-steps", type=AT_LEAST_1, metavar="N", help="Renew last.pt every N steps too.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CKPT",
    help="Continue the run in --out from this checkpoint, with the run's own settings.",
)
@json_option
def train(as_json: bool, records: Path | None, device: str | None, **settings: Any) -> None:
    """Train a ResNet on the data set in ROOT.

    Reports loss, top-1 and top-5 on train and val, and whether the model waited for data. Those on train are
    measured while training: over the last epoch's augmented batches, before each changed the weights. Ctrl-C and
    SIGTERM save the place; continue with --resume RUN/checkpoints/last.pt.

    \b
    Example: feedline train data --out run --epochs 30 --batch-size 128 --image-size 64
             torchrun --nproc-per-node=2 -m feedline.train data --out run
    """
    from ..train import TrainConfig, default_device, train as run_training

    speaks = os.environ.get("RANK", "0") == "0"
    config = TrainConfig(device=device or default_device(), **settings)
    config = _with_recorded_loader(config, records, speaks)
    try:
        with progress_bars() as progress:
            result = run_training(config, progress if speaks else silent, say)
    except KeyboardInterrupt:
        saved = config.out / "checkpoints" / "last.pt"
        if speaks and saved.is_file():
            say(f"the place in the run is saved; continue with --resume {saved}")
        raise
    if speaks:
        _show(result, config.out)
        if as_json:
            echo_json(to_json(result))


def _with_recorded_loader(config: "TrainConfig", records: Path | None, speaks: bool) -> "TrainConfig":
    """Return the config with the loader that bench records of this machine and data set call the fastest."""
    from ..train import AUTO
    from .recorded import fastest_recorded

    place = records or config.root / "bench"
    if config.loader != AUTO or config.resume is not None or not place.exists():
        return config
    choice = fastest_recorded(place, config)
    if choice is None:
        if speaks:
            say(f"{place} has no records of this machine, data set and image size; trying the loaders instead")
        return config
    if speaks:
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

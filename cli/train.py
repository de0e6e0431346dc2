"""``feedline train``: a ResNet on a dataset root, through the loader of choice."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ..prep import to_json
from .console import echo_json, json_option, progress_bars, say, seed_option, stderr_console

if TYPE_CHECKING:
    from ..train import Metrics, TrainResult


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory, new or empty.")
@click.option(
    "--loader",
    metavar="NAME",
    help="See: feedline loaders. By default imagefolder where ROOT has class folders, else webdataset.",
)
@click.option(
    "--model",
    type=click.Choice(["resnet18", "resnet34", "resnet50", "resnet101"]),
    default="resnet18",
    show_default=True,
    help="Trained from fresh weights.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--image-size", type=click.IntRange(min=1), default=224, show_default=True, help="Height and width, in pixels."
)
@click.option("--lr", type=float, help="Learning rate after the warm-up; by default 0.1 per 256 of the batch size.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Loader workers; by default one per usable CPU, or as many as the shards can feed.",
)
@seed_option
@click.option("--device", help="A torch device; by default cuda where there is one, else cpu.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CKPT",
    help="Continue the run in --out from this checkpoint, with the run's own settings.",
)
@json_option
def train(
    root: Path,
    out: Path,
    loader: str | None,
    model: str,
    epochs: int,
    batch_size: int,
    image_size: int,
    lr: float | None,
    workers: int | None,
    seed: int,
    device: str | None,
    resume: Path | None,
    as_json: bool,
) -> None:
    """Train a ResNet on the data set in ROOT.

    Reports loss, top-1 and top-5 on train and val, and how much of the time the model waited for data. Those on
    train are measured while training: over the last epoch's augmented batches, before each changed the weights.
    Ctrl-C saves the place; continue with --resume RUN/checkpoints/last.pt.
    """
    from ..train import TrainConfig, default_device, default_loader, default_workers, train as run_training

    loader = loader or default_loader(root)
    config = TrainConfig(
        root=root,
        out=out,
        loader=loader,
        model=model,
        epochs=epochs,
        batch_size=batch_size,
        image_size=image_size,
        lr=lr,
        workers=default_workers(root, loader) if workers is None else workers,
        seed=seed,
        device=device or default_device(),
        resume=resume,
    )
    try:
        with progress_bars() as progress:
            result = run_training(config, progress)
    except KeyboardInterrupt:
        saved = out / "checkpoints" / "last.pt"
        if saved.is_file():
            say(f"the place in the run is saved; continue with --resume {saved}")
        raise
    _show(result, out)
    if as_json:
        echo_json(to_json(result))


def _show(result: "TrainResult", out: Path) -> None:
    table = Table("", "loss", "top-1", "top-5", title=f"{result.model}, {result.epochs} epochs, {result.loader}")
    table.add_row("train", *_cells(result.train))
    if result.val is not None:
        table.add_row("val", *_cells(result.val))
    stderr_console().print(table)
    say(f"{result.images_per_second:.0f} images/s, {result.data_wait:.1%} of the time waiting for data")
    say(f"best checkpoint: {result.best}")
    say(f"curves: {out / 'curves.png'}; TensorBoard: tensorboard --logdir {out / 'tensorboard'}")


def _cells(metrics: "Metrics") -> tuple[str, str, str]:
    return f"{metrics.loss:.3f}", f"{metrics.top1:.1%}", f"{metrics.top5:.1%}"

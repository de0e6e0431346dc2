"""``feedline train``: train a model on a data set root, through any loader.

Under torchrun every rank runs this command. Only rank 0 prints, except for the errors of the others.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..prep import silent, to_json
from ..prep.base.plurals import counted
from ..prep.base.shell import shell_word
from .console import echo_json, progress_bars, say, say_skipped, stderr_console
from .options import RootPath, cache_size_option, json_option
from .training.config import is_rank_0, requested_config
from .training.headings import GroupedCommand
from .training.options import training_options
from .training.plan import records_near, show_plan

if TYPE_CHECKING:
    from ..train import Metrics, TrainConfig, TrainResult


@click.command(cls=GroupedCommand)
@cache_size_option
@click.argument("root", type=RootPath(path_type=Path), required=False)
@training_options
@click.option(
    "--dry-run",
    is_flag=True,
    help="Train nothing; print the plan: steps, sizes, learning rates, memory, disk, and the time by bench records.",
)
@json_option
@click.pass_context
def train(ctx: click.Context, as_json: bool, dry_run: bool, records: Path | None, **settings: Any) -> None:
    """Train a classification model on the data set ROOT.

    \b
    Example:
      feedline train data --out run --epochs 30 --batch-size 128 --image-size 64
      feedline train imagenet --recipe ffcv-rn18-16 --dry-run
      torchrun --nproc-per-node=2 -m feedline.train data --out run

    Reports loss, top-1 and top-5 on train and val, and the share of time that the model waited for data. The
    figures on train are measured while training: over the augmented batches of the last epoch, before each changed
    the weights. Ctrl-C, SIGTERM and an error save a checkpoint; continue with
    feedline train --resume RUN/checkpoints/last.pt. More --epochs, another --batch-size and another number of ranks
    are allowed then.
    """
    from ..train import resume_command, train as run_training
    from ..train.ranks import diverged

    config = requested_config(ctx, settings)
    if dry_run:
        show_plan(config, records_near(config.root, records), as_json)
        return
    config = _with_recorded_loader(config, records_near(config.root, records))
    saved = config.out / "checkpoints" / "last.pt"
    before = _version(saved)
    try:
        with progress_bars() as progress:
            result = run_training(config, progress if is_rank_0() else silent, say)
    except (KeyboardInterrupt, Exception) as error:
        # After a loss that is not finite, the message advises a new run with a smaller learning rate.
        if is_rank_0() and not diverged(error) and _version(saved) != before:
            say(f"the run is saved; continue with: {resume_command(saved)}")
        raise
    if is_rank_0():
        _show(result, config)
        if as_json:
            echo_json(to_json(result))


def _version(path: Path) -> tuple[int, int] | None:
    """Return what changes when the file is written again; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _with_recorded_loader(config: "TrainConfig", places: list[Path]) -> "TrainConfig":
    """Return ``config`` with the fastest loader of the bench records of this machine and data set, if there are any."""
    from ..train import AUTO
    from .training.recorded import fastest_recorded

    if config.loader != AUTO or config.resume is not None or not places:
        return config
    found = ((place, fastest_recorded(place, config)) for place in places)
    place, choice = next((pair for pair in found if pair[1] is not None), (places[0], None))
    if choice is None:
        if is_rank_0():
            shown = " and ".join(map(str, places))
            say(f"no record of this machine, data set and image size is in {shown}; trying the loaders instead")
        return config
    if is_rank_0():
        say(f"bench records in {place}: {choice.reason}")
    workers = choice.workers if config.workers is None else config.workers
    return replace(config, loader=choice.loader, workers=workers)


def _show(result: "TrainResult", config: "TrainConfig") -> None:
    table = Table(
        "", "loss", "top-1", "top-5", title=f"{result.model}, {counted(result.epochs, 'epoch')}, {result.loader}"
    )
    table.add_row("train", *_cells(result.train))
    if result.val is not None:
        table.add_row("val", *_cells(result.val))
    stderr_console().print(table)
    say(f"{result.images_per_second:.0f} images/s; {result.input_verdict}")
    say_skipped(result.skipped, config.root)
    say(f"best checkpoint: {result.best}")
    events = config.out / "tensorboard"
    shown = f"; TensorBoard: tensorboard --logdir {shell_word(events)}" if events.is_dir() else ""
    say(f"curves: {config.out / 'curves.png'}{shown}")


def _cells(metrics: "Metrics") -> tuple[str, str, str]:
    return f"{metrics.loss:.3f}", f"{metrics.top1:.1%}", f"{metrics.top5:.1%}"

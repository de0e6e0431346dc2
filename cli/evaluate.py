"""``feedline evaluate``: what a checkpoint reaches on a split, class by class."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ..prep import to_json
from .console import as_it_is, echo_json, json_option, progress_bars, say, stderr_console

if TYPE_CHECKING:
    from ..train import Evaluation

WORST_CLASSES = 10


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="A labelled split of ROOT.")
@click.option("--loader", metavar="NAME", help="See: feedline loaders. By default the first that can read ROOT.")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--workers", type=click.IntRange(min=0), help="Loader workers; by default one per usable CPU.")
@click.option("--device", help="A torch device; by default cuda where there is one, else cpu.")
@click.option(
    "--weights-out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the weights that were evaluated, as a plain torchvision state dict.",
)
@json_option
def evaluate(
    checkpoint: Path,
    root: Path,
    split: str,
    loader: str | None,
    batch_size: int,
    workers: int | None,
    device: str | None,
    weights_out: Path | None,
    as_json: bool,
) -> None:
    """Evaluate CHECKPOINT on the data set in ROOT: top-1, top-5, loss, each class, and the worst confusions.

    \b
    Example: feedline evaluate run/checkpoints/best.pt data
    """
    from ..train import EvaluateConfig, default_device, default_loader, default_workers, evaluate as run, export_weights

    loader = loader or default_loader(root)
    config = EvaluateConfig(
        root=root,
        loader=loader,
        split=split,
        workers=default_workers(root, loader) if workers is None else workers,
        batch_size=batch_size,
        device=device or default_device(),
    )
    with progress_bars() as progress:
        found = run(checkpoint, config, progress)
    _show(found)
    if weights_out is not None:
        export_weights(checkpoint, weights_out)
        say(f"weights for torchvision: {weights_out}")
    if as_json:
        echo_json(to_json(found))


def _show(found: "Evaluation") -> None:
    console = stderr_console()
    table = Table("", "top-1", "images", title=f"classes of {found.split} with the lowest top-1")
    scored = [(entry.top1, entry) for entry in found.classes if entry.top1 is not None]
    for top1, entry in sorted(scored, key=lambda pair: pair[0])[:WORST_CLASSES]:
        table.add_row(as_it_is(entry.name), f"{top1:.1%}", str(entry.images))
    console.print(table)
    pairs = Table("is", "taken for", "images", "of the class", title="worst confusions")
    for pair in found.confusions:
        pairs.add_row(as_it_is(pair.truth.name), as_it_is(pair.taken_for.name), str(pair.images), f"{pair.share:.1%}")
    if found.confusions:
        console.print(pairs)
    say(
        f"{found.model} after {found.epoch} epochs on {found.images} images of {found.split}: "
        f"top-1 {found.top1:.1%}, top-5 {found.top5:.1%}, loss {found.loss:.3f}; "
        f"{found.images_per_second:.0f} images/s through {found.loader}"
    )

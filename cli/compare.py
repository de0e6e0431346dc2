"""``feedline compare``: where two checkpoints disagree, as numbers and as images."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Column, Table

from ..prep import to_json
from .console import as_it_is, echo_json, json_option, progress_bars, say, stderr_console

if TYPE_CHECKING:
    from ..train import Comparison, Prediction


@click.command()
@click.argument("a", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("b", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory for page, sheet and JSON.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="List this many images.")
@click.option("--split", default="val", show_default=True, help="A labelled split of ROOT.")
@click.option("--loader", metavar="NAME", help="See: feedline loaders. By default the first that can read ROOT.")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--workers", type=click.IntRange(min=0), help="Loader workers; by default one per usable CPU.")
@click.option("--device", help="A torch device; by default cuda where there is one, else cpu.")
@json_option
def compare(
    a: Path,
    b: Path,
    root: Path,
    out: Path,
    limit: int,
    split: str,
    loader: str | None,
    batch_size: int,
    workers: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Evaluate the checkpoints A and B on the same split and list the images on which they disagree most.

    \b
    Example: feedline compare run/checkpoints/epoch-0001.pt run/checkpoints/best.pt data --out comparison
    """
    from ..train import EvaluateConfig, compare as run, default_device, default_loader, default_workers, write_gallery

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
        found, images = run((a, b), config, limit=limit, progress=progress)
    paths = write_gallery(out, found, images)
    _show(found)
    say(f"page: {paths['html']}; contact sheet: {paths['png']}")
    if as_json:
        echo_json(to_json(found) | {"gallery": str(paths["html"]), "contact_sheet": str(paths["png"])})


def _show(found: "Comparison") -> None:
    table = Table(Column("file", overflow="fold"), "truth", "a says", "b says", "gap")
    for listed in found.listed:
        names = (listed.file, listed.truth.name, _cell(listed.a), _cell(listed.b))
        table.add_row(*map(as_it_is, names), f"{listed.gap:+.1%}")
    if found.listed:
        stderr_console().print(table)
    say(
        f"a: top-1 {found.a.top1:.1%}, b: top-1 {found.b.top1:.1%}; they disagree on {found.disagreements} "
        f"of {found.images} images of {found.split}; only a is right on {found.only_a_right}, "
        f"only b on {found.only_b_right}"
    )


def _cell(answer: "Prediction") -> str:
    return f"{answer.label.name} {answer.probability:.1%}"

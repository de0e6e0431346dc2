"""``feedline compare``: the images on which two checkpoints disagree, and how often they do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Column, Table
from rich.text import Text

from ..prep import to_json
from .console import class_cell, echo_json, plain_cell, progress_bars, say, say_skipped, stderr_console
from .options import (
    AT_LEAST_1,
    LocalPath,
    OutPath,
    RootPath,
    cache_size_option,
    evaluate_config,
    evaluation_options,
    json_option,
)
from .training.subject_options import NAMES, subject_options

if TYPE_CHECKING:
    from ..train import Comparison, Prediction


@click.command()
@click.argument("a", type=LocalPath(path_type=Path, exists=True, dir_okay=False))
@click.argument("b", type=LocalPath(path_type=Path, exists=True, dir_okay=False))
@cache_size_option
@click.argument("root", type=RootPath(path_type=Path))
@click.option("--out", type=OutPath(path_type=Path), required=True, help="Directory for page, sheet and JSON.")
@click.option("--limit", type=AT_LEAST_1, default=10, show_default=True, metavar="N", help="Images to list.")
@evaluation_options
@subject_options("a")
@subject_options("b")
@json_option
def compare(
    a: Path,
    b: Path,
    root: Path,
    out: Path,
    limit: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """List the images of ROOT on which the checkpoints A and B disagree most.

    \b
    Example:
      feedline compare epoch-0001.pt best.pt data --out comparison
      feedline compare best.pt b.pth data --model-b timm:resnet18 --out new

    Both checkpoints are evaluated on the same split. --out gets an HTML page, a contact sheet and a JSON document.
    """
    from ..train import compare as run, write_gallery

    subjects = [{name: settings.pop(f"{name}_{letter}") for name in NAMES} for letter in "ab"]
    config, config_b = (evaluate_config(root, **settings, **subject) for subject in subjects)
    with progress_bars() as progress:
        found, images = run((a, b), config, config_b=config_b, limit=limit, progress=progress)
    paths = write_gallery(out, found, images)
    _show(found)
    say_skipped(found.skipped, root)
    say(f"page: {paths['html']}; contact sheet: {paths['png']}")
    if as_json:
        echo_json(to_json(found) | {"gallery": str(paths["html"]), "contact_sheet": str(paths["png"])})


def _show(found: "Comparison") -> None:
    table = Table(Column("file", overflow="fold"), "truth", "a predicts", "b predicts", "gap")
    for listed in found.listed:
        predictions = _cell(listed.a), _cell(listed.b)
        table.add_row(plain_cell(listed.file), class_cell(listed.truth.name), *predictions, f"{listed.gap:+.1%}")
    if found.listed:
        stderr_console().print(table)
    say(
        f"a: top-1 {found.a.top1:.1%}, b: top-1 {found.b.top1:.1%}; they disagree on {found.disagreements} "
        f"of {found.images} images of {found.split}; only a is right on {found.only_a_right}, "
        f"only b on {found.only_b_right}"
    )


def _cell(answer: "Prediction") -> Text:
    return class_cell(answer.label.name).append(f" {answer.probability:.1%}")

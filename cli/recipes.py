"""``feedline recipes``: the published trainings that ``feedline train --recipe`` can follow."""

from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..prep import to_json
from .console import echo_json, plain_cell, say, stderr_console
from .options import json_option

if TYPE_CHECKING:
    from ..train import Recipe

COLUMNS = ("recipe", "model", "epochs", "px", "top-1", "hardware, time", "verified")


@click.command()
@click.argument("name", metavar="[NAME|FILE]", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes for feedline train, or print the file of one.

    \b
    Example:
      feedline recipes
      feedline recipes ffcv-rn18-16
      feedline recipes tiny-64-cutmix > own.toml

    Every figure is the source's. What this project has verified, and what differs from the source, is in the file.
    """
    from ..train import read_recipe, recipe_names

    if name is None:
        found = [read_recipe(known) for known in recipe_names()]
        _show(found)
        if as_json:
            echo_json({"recipes": [_document(recipe) for recipe in found]})
        return
    recipe = read_recipe(name)
    if as_json:
        echo_json(_document(recipe))
    else:
        click.echo(recipe.text, nl=False)  # on stdout, for a file of the user's own


def _show(found: "list[Recipe]") -> None:
    table = Table(box=None, pad_edge=False)  # 79 columns
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("epochs", "top-1") else "left", no_wrap=True)
    for recipe in found:
        table.add_row(*map(plain_cell, cells(recipe)))
    stderr_console().print(table)
    say("top-1 (on ImageNet-1k; tiny: on Tiny-ImageNet), hardware and time are those of the sources, not verified here")
    say("verified counts the points that are; see which, and what differs from the source: feedline recipes NAME")


def cells(recipe: "Recipe") -> tuple[str, ...]:
    """Return the recipe's row of the table, in the order of ``COLUMNS``."""
    settings, published = recipe.settings, recipe.published
    first, size = settings.get("size_from"), settings.get("image_size", 224)
    top1, place = "", ""
    if published is not None:
        top1, spent = f"{published.top1:.1f}", "" if published.minutes is None else duration(published.minutes)
        place = ", ".join(filter(None, (published.hardware, spent)))
    return (
        recipe.name,
        str(settings.get("model", "resnet18")),
        str(settings.get("epochs", 10)),
        f"{size}" if first is None else f"{first}-{size}",
        top1,
        place,
        f"{len(recipe.verified)} of {len(recipe.verified) + len(recipe.unverified)}",
    )


def duration(minutes: float) -> str:
    """Return minutes as text: in minutes up to four hours, in hours up to four days, in days above."""
    if minutes <= 240:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes <= 4 * 1440 else f"{minutes / 1440:.1f} d"


def _document(recipe: "Recipe") -> dict[str, Any]:
    return {name: value for name, value in to_json(recipe).items() if name != "text"}

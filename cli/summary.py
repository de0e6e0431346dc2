"""``feedline summary``: the layers of a model with output shape, parameters, MACs and activation memory."""

from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..prep import to_json
from .console import echo_json, say, stderr_console
from .options import AT_LEAST_1, image_size_option, json_option, model_option, stem_option

if TYPE_CHECKING:
    from ..train import Summary


@click.command()
@model_option
@image_size_option
@stem_option
@click.option(
    "--classes", type=AT_LEAST_1, default=1000, show_default=True, metavar="N", help="Outputs of the last layer."
)
@json_option
def summary(model: str, as_json: bool, **options: Any) -> None:
    """Print every layer of a model, and the totals.

    \b
    Example:
      feedline summary --model resnet50 --image-size 224
      feedline summary --image-size 64 --classes 200

    Each layer has its output shape, parameters, multiply-accumulates (MACs) and activation memory, for one image in
    float32.
    """
    from ..train import summarise_model

    found = summarise_model(model, **options)
    _show(found)
    if as_json:
        echo_json(to_json(found))


def _show(found: "Summary") -> None:
    # 80 columns hold all but the widest names. Names and kinds wrap there; numbers never do.
    table = Table(box=None, title=f"{found.model}, {found.stem} stem, {found.image_size} px")
    table.add_column("layer", overflow="fold", min_width=16)
    table.add_column("kind", overflow="fold")
    for name in ("output", "parameters", "M MACs", "MB out"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in found.layers:
        table.add_row(
            layer.name,
            layer.kind,
            " x ".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.macs / 1e6:,.1f}",
            f"{layer.activation_bytes / 1e6:.2f}",
        )
    stderr_console().print(table)
    say(
        f"{found.parameters:,} parameters ({4 * found.parameters / 1e6:.1f} MB), {found.macs / 1e9:.3f} billion MACs "
        f"and {found.activation_bytes / 1e6:.1f} MB of activations per image"
    )

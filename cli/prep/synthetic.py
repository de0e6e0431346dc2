"""``feedline prep synthetic``: archives and folders for trials."""

from pathlib import Path

import click

from ..console import echo_json, progress_bars, say
from ..options import json_option, seed_option, threads_option


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["ilsvrc2012", "tiny-imagenet"]),
    default="ilsvrc2012",
    show_default=True,
    help="Names, numbering and arrangement of the archives.",
)
@click.option(
    "--classes",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="Number of classes: up to 1000, or 200 for tiny-imagenet.",
)
@click.option(
    "--images-per-class", type=int, default=100, show_default=True, metavar="N", help="Training images per class."
)
@click.option("--odd-files", is_flag=True, help="Mix in a PNG named .JPEG, CMYK, greyscale and broken EXIF.")
@seed_option
@threads_option("Threads that draw and encode.")
@json_option
def synthetic(
    out: Path,
    layout: str,
    classes: int,
    images_per_class: int,
    odd_files: bool,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Write archives that look like the official ones into OUT.

    \b
    Example:
      feedline prep synthetic archives --classes 10 --images-per-class 100

    The images are crops of the photographs inside scikit-image and scikit-learn (extra "demo").
    """
    from ...prep import SyntheticSpec, write_synthetic

    spec = SyntheticSpec(
        layout=layout,  # pyright: ignore[reportArgumentType] - click.Choice
        classes=classes,
        images_per_class=images_per_class,
        seed=seed,
        odd_files=odd_files,
    )
    with progress_bars() as progress:
        archives = write_synthetic(out, spec, progress=progress, workers=workers)
    for archive in archives:
        say(f"wrote {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    if as_json:
        echo_json({"archives": [str(archive) for archive in archives]})

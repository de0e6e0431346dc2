"""Options of a checkpoint that is evaluated: what it holds and which images it sees, for one or for A and B."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..options import AT_LEAST_1, STEMS
from .recipe_options import INTERPOLATIONS

F = TypeVar("F", bound=Callable[..., Any])

NAMES = ("model", "stem", "image_size", "resize_size", "interpolation", "flip")
"""The values that the options give, without their letter."""


def subject_options(letter: str = "") -> Callable[[F], F]:
    """Add the options of a checkpoint; with a ``letter``, such as "a", they end in it, and so do their values."""
    end, of, file = (f"-{letter}", f" of {letter.upper()}", letter.upper()) if letter else ("", "", "CHECKPOINT")
    options = (
        click.option(
            f"--model{end}",
            metavar="NAME",
            help=f"Model of {file}, if feedline did not write it, such as timm:convnext_tiny.",
        ),
        click.option(
            f"--stem{end}",
            type=click.Choice(STEMS),
            default="auto",
            show_default=True,
            help=f"Stem of --model{end}. auto: small up to --image-size{end} 64, imagenet above.",
        ),
        click.option(
            f"--image-size{end}",
            type=AT_LEAST_1,
            metavar="PX",
            show_default=f"as the run evaluated; 224 with --model{end}",
            help=f"Height and width of the images{of}, in pixels.",
        ),
        click.option(
            f"--resize-size{end}",
            type=AT_LEAST_1,
            metavar="PX",
            show_default="as the run evaluated, or size * 256 / 224",
            help="Their short side before the centre crop.",
        ),
        click.option(
            f"--interpolation{end}",
            type=click.Choice(INTERPOLATIONS),
            show_default="as the run, or bilinear",
            help="How they are resized.",
        ),
        click.option(
            f"--flip{end}/--no-flip{end}",
            default=None,
            show_default="as the run",
            help="Evaluate each image and its mirror image; take the mean of their scores.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add

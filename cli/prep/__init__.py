"""``feedline prep``: the group of commands that turn what a user has into a data set root.

A module for each kind of source belongs here; it parses, calls and prints. The work belongs in ``feedline.prep``.
"""

import click

from .imagenet import imagenet, tiny_imagenet
from .synthetic import synthetic

__all__ = ["prep"]


@click.group()
def prep() -> None:
    """Turn archives into class folders, or make synthetic archives.

    \b
    Example:
      feedline prep imagenet ARCHIVES --out data
      feedline prep tiny-imagenet tiny-imagenet-200.zip --out tiny
      feedline prep synthetic archives
    """


for command in (imagenet, tiny_imagenet, synthetic):
    prep.add_command(command)

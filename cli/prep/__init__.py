"""``feedline prep``: the group of commands that turn what a user has into a data set root.

A module for each kind of source belongs here; it parses, calls and prints. The work belongs in ``feedline.prep``.
"""

import click

from .imagefolder import imagefolder
from .imagenet import imagenet, tiny_imagenet
from .parquet import parquet
from .synthetic import synthetic
from .webdataset import webdataset

__all__ = ["prep"]


@click.group()
def prep() -> None:
    """Make a data set root of labelled images, or synthetic images.

    \b
    Example:
      feedline prep imagefolder photos --out data --val-fraction 0.1
      feedline prep imagefolder images --out data --labels labels.csv
      feedline prep parquet food101 --out data
      feedline prep webdataset shards --out data
      feedline prep imagenet ARCHIVES --out data
      feedline prep tiny-imagenet tiny-imagenet-200.zip --out tiny
      feedline prep synthetic archives
    """


for command in (imagefolder, parquet, webdataset, imagenet, tiny_imagenet, synthetic):
    prep.add_command(command)

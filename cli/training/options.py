"""The options of ``feedline train``: one for each field of ``TrainConfig``, which a test compares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..options import (
    AT_LEAST_1,
    ON_ERROR,
    SHARE,
    LocalPath,
    OutPath,
    amp_option,
    batch_size_option,
    dct_scaling_option,
    device_option,
    image_size_option,
    loader_workers_option,
    model_option,
    pixels_option,
    seed_option,
    stem_option,
)
from .recipe_options import AUGMENTATION, OPTIMISATION

F = TypeVar("F", bound=Callable[..., Any])

DATA = (
    click.option(
        "--recipe",
        metavar="NAME|FILE",
        help="Train by a published recipe, or by a file like one; options replace its values. List them with: "
        "feedline recipes.",
    ),
    click.option(
        "--out",
        type=OutPath(path_type=Path),
        show_default="run; with --resume, that of the run",
        help="Run directory, new or empty.",
    ),
    click.option(
        "--loader",
        metavar="auto|NAME",
        default="auto",
        show_default=True,
        help="Read ROOT with this loader; list them with: feedline loaders. auto takes the fastest, according to bench "
        "records or else to a trial of some seconds.",
    ),
    loader_workers_option,
    click.option(
        "--records",
        type=LocalPath(path_type=Path, exists=True),
        metavar="DIR",
        show_default="ROOT/bench and ./bench, if they exist",
        help="Bench records for --loader auto.",
    ),
    click.option(
        "--decode",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="gpu decodes with nvJPEG, in the loader threaded.",
    ),
    dct_scaling_option,
    pixels_option,
    click.option(
        "--on-error",
        type=click.Choice(ON_ERROR),
        default="raise",
        show_default=True,
        help="What an image that cannot be decoded does: end the run with its place saved, or be left out and counted.",
    ),
)
MODEL = (
    model_option,
    click.option(
        "--init",
        type=LocalPath(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Begin with these weights: a checkpoint, or a state dict of torchvision or timm. A head of other classes "
        "is replaced by a fresh one.",
    ),
    image_size_option,
    stem_option,
    click.option(
        "--blurpool/--no-blurpool",
        default=False,
        show_default=True,
        help="Blur the input of strided convolutions, except that of the stem.",
    ),
    click.option(
        "--drop-path",
        type=SHARE,
        metavar="SHARE",
        show_default="that of the model, 0 for ResNets",
        help="Stochastic depth: probability that the last residual block is left out for a sample.",
    ),
)
RUN = (
    click.option("--epochs", type=AT_LEAST_1, default=10, show_default=True, metavar="N", help="Epochs to train."),
    batch_size_option("Images per step and rank."),
    click.option(
        "--accumulate",
        type=AT_LEAST_1,
        default=1,
        show_default=True,
        metavar="PARTS",
        help="Compute each batch in this many parts, to need less memory.",
    ),
)
MACHINE = (
    amp_option,
    click.option("--compile", is_flag=True, help="Train through torch.compile."),
    click.option(
        "--channels-last/--no-channels-last",
        default=True,
        show_default=True,
        help="Keep the channels of a pixel together in memory.",
    ),
    click.option("--tf32/--no-tf32", default=True, show_default=True, help="Let a GPU multiply float32 in TF32."),
    click.option(
        "--cudnn-benchmark/--no-cudnn-benchmark",
        default=True,
        show_default=True,
        help="Let cuDNN try its algorithms and keep the fastest.",
    ),
    seed_option,
    device_option,
    click.option("--save-epochs", type=AT_LEAST_1, metavar="N", help="Keep epoch-0001.pt and so on, every N epochs."),
    click.option(
        "--save-steps", type=AT_LEAST_1, metavar="N", help="Update last.pt every N steps, not only each epoch."
    ),
    click.option(
        "--resume",
        type=LocalPath(path_type=Path, exists=True, dir_okay=False),
        metavar="CKPT",
        help="Continue the run of this checkpoint with its settings; options given beside it replace them.",
    ),
)


def training_options(command: F) -> F:
    """Add every option of a training; their names are those of ``TrainConfig``, and ``records``."""
    for option in reversed((*DATA, *MODEL, *RUN, *AUGMENTATION, *OPTIMISATION, *MACHINE)):
        command = option(command)
    return command

"""Options that several commands share: one name, one type, one default and one meaning."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..prep import MANIFEST, usable_cpus
from ..prep.base.origins import is_url, without_credentials
from .streams import STDOUT, is_closed

if TYPE_CHECKING:
    from ..train import EvaluateConfig

F = TypeVar("F", bound=Callable[..., Any])

AT_LEAST_0, AT_LEAST_1 = click.IntRange(min=0), click.IntRange(min=1)
SECONDS = click.FloatRange(min=0, min_open=True)


class Share(click.ParamType[float]):
    """A number that may be written as a fraction: 0.025, or 1/40. Which values make sense is for its user to check."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return float(value)
        try:
            return float(Fraction(value)) if "/" in value else float(value)
        except (ValueError, ArithmeticError):
            self.fail(f"{value!r} is neither a number nor a fraction such as 1/40", param, ctx)


SHARE = Share()

# Copies of what feedline.train defines, because importing it loads torch, which help must not. A test compares them.
STEMS = ("auto", "imagenet", "small")
ON_ERROR = ("raise", "skip")
PRECISIONS = ("none", "bf16", "fp16")


class RootPath(click.Path):
    """The path of a root; of one behind a URL, that of its copy in the cache, whose manifest is fetched."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not is_url(value):
            return super().convert(value, param, ctx)
        from ..loaders.store.roots import given_root  # imports torch

        return given_root(value)


class PlaceOrUrl(click.Path):
    """A path of this machine, or a URL, whose text has no credentials."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not is_url(value):
            return super().convert(value, param, ctx)
        from ..prep.store.urls import place_of

        return place_of(value)


class LocalPath(click.Path):
    """A path of this machine, for what cannot read or write behind a URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_url(value):
            self.fail(
                f"{without_credentials(value)} is a URL, and this command reads and writes folders of this machine; "
                "copy the data with the tool of the store",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


class OutPath(LocalPath):
    """The path of a folder for results, which is not that of a data set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        out = super().convert(value, param, ctx)
        if (Path(out) / MANIFEST).is_file():
            self.fail(f"{out} is the folder of a data set; choose another --out", param, ctx)
        return out


def _limit_cache(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        from ..loaders.store.cache import CACHE_SIZE, parsed_size

        parsed_size(value)
        os.environ[CACHE_SIZE] = value  # for the processes that this one starts, too


def _needs_stdout(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value and is_closed(STDOUT):  # before hours of work, not after them
        raise click.UsageError("--json prints on stdout, which is closed; redirect stdout to a file or a pipe")
    return value


json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_needs_stdout, help="Print one JSON object on stdout."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
dct_scaling_option = click.option(
    "--dct-scaling",
    is_flag=True,
    help="Decode at 1/2 to 1/8 of the size if the crop allows it; changes pixels.",
)
pixels_option = click.option(
    "--pixels",
    type=click.Choice(["exact", "planar"]),
    default="exact",
    show_default=True,
    help="Order of threaded's arithmetic for train images: planar resizes before the colour conversion; faster, "
    "changes pixels.",
)
model_option = click.option(
    "--model",
    default="resnet18",
    show_default=True,
    metavar="NAME",
    help="Classification model of torchvision, or timm:NAME, with fresh weights.",
)
stem_option = click.option(
    "--stem",
    type=click.Choice(STEMS),
    default="auto",
    show_default=True,
    help="small: 3x3 with stride 1 and no max-pool, for small images, at 15 times the compute. "
    "auto: small up to --image-size 64, imagenet above.",
)
amp_option = click.option(
    "--amp",
    type=click.Choice(PRECISIONS),
    default="none",
    show_default=True,
    help="Compute convolutions in this precision.",
)
image_size_option = click.option(
    "--image-size",
    type=AT_LEAST_1,
    default=224,
    show_default=True,
    metavar="PX",
    help="Height and width of the images, in pixels.",
)
cache_size_option = click.option(
    "--cache-size",
    metavar="SIZE",
    is_eager=True,
    expose_value=False,
    callback=_limit_cache,
    show_default="half of the free disk",
    help="Most bytes of the shards that a root behind a URL keeps on the local disk, such as 200GB.",
)
device_option = click.option(
    "--device", metavar="NAME", show_default="cuda if available, else cpu", help="torch device to compute on."
)


def batch_size_option(help_text: str) -> Callable[[F], F]:
    """Add ``--batch-size N``, 64 by default."""
    return click.option("--batch-size", type=AT_LEAST_1, default=64, show_default=True, metavar="N", help=help_text)


def threads_option(help_text: str) -> Callable[[F], F]:
    """Add ``--workers N`` for threads that read and write files; the default is one per usable CPU."""
    return click.option(
        "--workers",
        type=AT_LEAST_0,
        default=usable_cpus,
        show_default="usable CPUs",
        metavar="N",
        help=help_text,
    )


loader_workers_option = click.option(
    "--workers", type=AT_LEAST_0, metavar="N", show_default="one per usable CPU", help="Workers of the loader."
)


def loaders_option(help_text: str, *, trainable: bool = False) -> Callable[[F], F]:
    """Add ``--loader NAME``, repeatable; the value is the tuple of names, each once.

    ``trainable`` rejects loaders that do not yield each sample exactly once per epoch.
    """

    def known(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:  # the next import loads torch
            return ()
        from ..loaders import LOADERS

        choices = [name for name, entry in LOADERS.items() if entry.covers_epoch or not trainable]
        for name in names:
            if name not in choices:
                purpose = " to train with" if trainable else ""
                raise click.BadParameter(f"there is no loader {name!r}{purpose}; choose one of: {', '.join(choices)}")
        return tuple(dict.fromkeys(names))

    return click.option(
        "--loader", "loaders", multiple=True, metavar="NAME", callback=known, help=f"{help_text}; repeatable."
    )


def worker_counts_option(help_text: str, default_text: str) -> Callable[[F], F]:
    """Add ``--workers N,N``; the value is a tuple of worker counts, empty by default."""

    def counts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
        return numbers(value, least=0, what="worker counts such as 0,1,2") if value else ()

    return click.option(
        "--workers", default="", callback=counts, metavar="N,N", show_default=default_text, help=help_text
    )


def numbers(text: str, *, least: int, what: str) -> tuple[int, ...]:
    """Return the numbers of a list such as 0,1,2, each once and in order; raise BadParameter for anything else."""
    words = text.split(",")
    if not all(word.isascii() and word.strip().isdecimal() and int(word) >= least for word in words):
        raise click.BadParameter(f"{text!r} is not a list of {what}")
    return tuple(sorted({int(word) for word in words}))


def evaluation_options(command: F) -> F:
    """Add the options that say how a checkpoint is evaluated; ``evaluate_config`` takes their values."""
    options = (
        click.option("--split", default="val", show_default=True, help="A labelled split of ROOT."),
        click.option(
            "--loader",
            metavar="NAME",
            show_default="the first that can read ROOT",
            help="Read ROOT with this loader; list them with: feedline loaders.",
        ),
        batch_size_option("Images per batch."),
        loader_workers_option,
        device_option,
        click.option(
            "--on-error",
            type=click.Choice(ON_ERROR),
            show_default="as the run, or raise",
            help="What an image that cannot be decoded does: end the command, or be left out and counted.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def evaluate_config(
    root: Path, *, split: str, loader: str | None, batch_size: int, workers: int | None, device: str | None, **more: Any
) -> "EvaluateConfig":
    """Return the EvaluateConfig of these values and ``more``, with the open choices made."""
    from ..train import EvaluateConfig, default_device, default_loader, default_workers

    loader = loader or default_loader(root)
    return EvaluateConfig(
        root=root,
        loader=loader,
        split=split,
        workers=default_workers(root, loader) if workers is None else workers,
        batch_size=batch_size,
        device=device or default_device(),
        **more,
    )

"""``feedline bench --train``: the training speed of a model on each set of devices, through each loader.

It shares its name and the options in ``SHARED`` with ``feedline bench``. An option that does not apply to the requested
measurement is wrong usage and never ignored.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from rich.table import Table

from ..prep import MeasurementError, to_json
from .console import echo_json, progress_bars, say, stderr_console
from .options import AT_LEAST_1, amp_option, model_option, stem_option

if TYPE_CHECKING:
    from ..benchmarks.bench.training_speed import SpeedRecord

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option("--train", is_flag=True, help="Measure training instead, on the CPU, one GPU and all GPUs."),
    model_option,
    stem_option,
    amp_option,
    click.option(
        "--steps",
        type=AT_LEAST_1,
        default=30,
        show_default=True,
        metavar="N",
        help="Timed steps of each row, with --train.",
    ),
    click.option(
        "--ranks", type=AT_LEAST_1, multiple=True, metavar="N", help="Train on N CPU ranks instead; repeatable."
    ),
)
OWN = {"model", "stem", "amp", "steps", "ranks"}
SHARED = {"train", "root", "loaders", "image_size", "batch_sizes", "out", "seed", "as_json"}


def or_train(bench: F) -> F:
    """Add ``--train`` and its options to the command ``bench``, which runs without ``--train``."""

    @wraps(bench)
    def either(**options: Any) -> Any:
        training = {name: options.pop(name) for name in OWN}
        if options.pop("train"):
            _refuse_given(lambda name: name not in OWN | SHARED, "does not apply to --train")
            return bench_train(**training, **{name: options[name] for name in SHARED - {"train"}})
        _refuse_given(lambda name: name in OWN, "needs --train")
        return bench(**options)

    command: Any = either
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def _refuse_given(refused: Callable[[str], bool], why: str) -> None:
    ctx = click.get_current_context()
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if refused(name) and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} {why}")


def bench_train(
    root: Path,
    out: Path,
    loaders: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    ranks: tuple[int, ...],
    steps: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure training speed; print the rows on stderr, and with ``as_json`` on stdout too."""
    from ..benchmarks.bench.training_speed import SpeedPlan, measure_speeds
    from ..benchmarks.measuring.record import TRAINING_SPEED
    from ..train import TrainConfig

    if len(batch_sizes) != 1:
        raise click.BadParameter("--train takes one --batch-size: the images of each rank")
    config = TrainConfig(root=root, out=out, batch_size=batch_sizes[0], **settings)
    plan = SpeedPlan(config=config, loaders=loaders, ranks=ranks, steps=steps)
    with progress_bars() as progress:
        record, failures = measure_speeds(plan, progress)
    if as_json:
        echo_json(_summary(record, failures))
    _show(record)
    say(f"The record is {out / TRAINING_SPEED}")
    if failures:
        raise MeasurementError(
            failures[0] if len(failures) == 1 else f"{failures[0]} ({len(failures) - 1} more failed)"
        )


def _summary(record: "SpeedRecord", failures: list[str]) -> dict[str, Any]:
    from ..benchmarks.bench.scaling import compare_speeds

    rows = compare_speeds(record.speeds)
    results = [{**to_json(row.speed), "of_ceiling": row.of_ceiling, "scaling": row.scaling} for row in rows]
    return {"model": record.config.model, "steps": record.steps, "results": results, "failures": failures}


def _show(record: "SpeedRecord") -> None:
    from ..benchmarks.bench.scaling import COLUMNS, cells, compare_speeds

    config = record.config
    table = Table(title=f"{config.model} at {config.image_size} px, {config.batch_size} images a rank", box=None)
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=number < 2)
    for row in compare_speeds(record.speeds):
        table.add_row(*cells(row))
    stderr_console().print(table)

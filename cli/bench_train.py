"""``feedline bench --train``: how fast a model trains on each set of devices, fed by each loader.

It shares the name, the root and the place of the results with ``feedline bench``, and nothing else: an option that says
nothing about what was asked for is wrong usage, never ignored.
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

if TYPE_CHECKING:
    from ..benchmarks.bench.training_speed import SpeedRecord

F = TypeVar("F", bound=Callable[..., Any])

MODELS = ["resnet18", "resnet34", "resnet50", "resnet101"]
STEMS, AMPS = ["auto", "imagenet", "small"], ["none", "bf16", "fp16"]
OPTIONS = (
    click.option("--train", is_flag=True, help="Measure training instead, on the CPU, one GPU and all GPUs. Also:"),
    click.option("--model", type=click.Choice(MODELS), default="resnet18", show_default=True),
    click.option("--stem", type=click.Choice(STEMS), default="auto", show_default=True),
    click.option("--amp", type=click.Choice(AMPS), default="none", show_default=True),
    click.option("--steps", type=click.IntRange(min=1), default=30, show_default=True, help="Timed steps of each row."),
    click.option("--ranks", type=click.IntRange(min=1), multiple=True, help="So many CPU ranks instead; repeatable."),
)
OWN = {"model", "stem", "amp", "steps", "ranks"}
SHARED = {"train", "root", "loaders", "image_size", "batch_sizes", "out", "seed", "as_json"}


def or_train(bench: F) -> F:
    """Add ``--train`` and its options to the command ``bench``, which runs where they are not given."""

    @wraps(bench)
    def either(**options: Any) -> Any:
        training = {name: options.pop(name) for name in OWN}
        if options.pop("train"):
            _refuse_given(lambda name: name not in OWN | SHARED, "says nothing about --train")
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
    """Measure, and show the rows on stderr, or as JSON on stdout too."""
    from ..benchmarks.bench.training_speed import SpeedPlan, measure_speeds
    from ..benchmarks.measuring.record import TRAINING_SPEED
    from ..loaders import LOADERS
    from ..train import TrainConfig

    if len(batch_sizes) != 1:
        raise click.BadParameter("--train takes one --batch-size, the images of each rank")
    for name in loaders:
        if name not in LOADERS:
            raise click.BadParameter(f"there is no loader {name!r}; choose one of: {', '.join(LOADERS)}")
    config = TrainConfig(root=root, out=out, batch_size=batch_sizes[0], **settings)
    plan = SpeedPlan(config=config, loaders=tuple(dict.fromkeys(loaders)), ranks=ranks, steps=steps)
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

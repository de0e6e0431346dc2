"""``feedline diagnose``: what limits the training speed on this machine, and what would change it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table as RichTable

from ..prep import TrainingError, to_json
from ..prep.base.origins import shown
from .console import echo_json, progress_bars, say, stderr_console
from .options import (
    AT_LEAST_1,
    SECONDS,
    RootPath,
    batch_size_option,
    cache_size_option,
    image_size_option,
    json_option,
    loaders_option,
    pixels_option,
    seed_option,
    worker_counts_option,
)

if TYPE_CHECKING:
    from ..benchmarks.diagnose.diagnose import Diagnosis
    from ..benchmarks.diagnose.verdict import Rate
    from ..benchmarks.measuring.model_step import ModelStep


@click.command("diagnose")
@cache_size_option
@click.argument("root", type=RootPath(path_type=Path))
@loaders_option("Consider this loader instead of all that are installed and can read ROOT", trainable=True)
@click.option("--model", metavar="NAME", show_default="resnet18", help="Train this model, on the GPU if there is one.")
@click.option("--step-ms", type=SECONDS, metavar="MS", help="Time of a batch in a model elsewhere, instead of --model.")
@click.option(
    "--gpu",
    metavar="NAME",
    help="Published rate of a ResNet-50 on this GPU, instead of --model: h100, a100, a100-tf32, v100.",
)
@worker_counts_option("Worker counts to measure.", "1,2,4 ... usable CPUs")
@batch_size_option("Images per batch.")
@image_size_option
@pixels_option
@click.option(
    "--seconds", type=SECONDS, default=1.5, show_default=True, metavar="S", help="Measuring time of each run."
)
@click.option("--repeats", type=AT_LEAST_1, default=3, show_default=True, metavar="N", help="Runs per configuration.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Directory for diagnosis.json.")
@seed_option
@json_option
def diagnose(
    root: Path,
    as_json: bool,
    loaders: tuple[str, ...],
    model: str | None,
    step_ms: float | None,
    gpu: str | None,
    out: Path | None,
    **plan: Any,
) -> None:
    """Report whether reading, decoding or the model limits training on ROOT.

    \b
    Example:
      feedline diagnose data
      feedline diagnose data --gpu h100
      feedline diagnose data --step-ms 26

    Recommends a loader and a worker count, and predicts the rate on other disks and with other encodings. --gpu
    predicts whether this machine can feed that GPU. --step-ms does so for a model that takes that time for a batch.
    """
    from ..benchmarks.diagnose.diagnose import diagnose as run, write_diagnosis
    from ..benchmarks.diagnose.diagnosis_runs import DiagnosisPlan
    from ..benchmarks.diagnose.hardware import GPUS

    if gpu is not None and gpu not in GPUS:
        raise click.BadParameter(f"there is no GPU {gpu!r} in the table; choose one of: {', '.join(GPUS)}")
    step, device = _step(model, step_ms, gpu, plan["batch_size"])
    with progress_bars() as progress:
        found = run(
            DiagnosisPlan(root=root, step=step, device=device, loaders=loaders, **plan),
            command=_command(root, loaders, {"model": model, "step_ms": step_ms, "gpu": gpu, "out": out, **plan}),
            gpu=GPUS.get(gpu or ""),
            progress=progress,
        )
    if out is not None:
        say(f"The diagnosis is in {write_diagnosis(out, found)}")
    if as_json:
        echo_json(_summary(found))
    _show(found)


def _step(model: str | None, step_ms: float | None, gpu: str | None, batch_size: int) -> "tuple[ModelStep, str]":
    """Return what stands for the model, and the device of its batches."""
    from ..benchmarks.diagnose.hardware import GPUS
    from ..benchmarks.measuring.model_step import ModelStep
    from ..train import default_device
    from ..train.models import check_model

    if sum(value is not None for value in (model, step_ms, gpu)) > 1:
        raise click.UsageError("--model, --step-ms and --gpu exclude each other; give one of them")
    if step_ms is not None:
        return ModelStep(seconds_per_image=step_ms / 1000 / batch_size), "cpu"
    if gpu is not None:
        return ModelStep(seconds_per_image=1 / GPUS[gpu].images_per_second), "cpu"
    try:
        check_model(model or "resnet18")
    except TrainingError as error:
        raise click.BadParameter(str(error)) from error
    return ModelStep(model=model or "resnet18"), default_device()


def _command(root: Path, loaders: tuple[str, ...], options: dict[str, Any]) -> tuple[str, ...]:
    """Return the command line that repeats the diagnosis, with the default of every option spelled out."""
    given = options | {"workers": ",".join(map(str, options["workers"])) or None}
    words = [word for name in loaders for word in ("--loader", name)]
    for name, value in given.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return ("feedline", "diagnose", shown(root), *words)


def _summary(found: "Diagnosis") -> dict[str, Any]:
    from ..benchmarks.diagnose.diagnose import advice

    answer: dict[str, Any] = to_json(found)
    for key in ("format", "schema", "runs", "loader", "workers"):
        del answer[key]
    rates = {name: answer.pop(name) for name in ("model", "warm", "cold", "together")}
    verdict = answer.pop("verdict")
    profile, raw = answer.pop("profile"), found.raw_pixels
    return {
        "verdict": verdict["name"],
        "sentence": verdict["sentence"],
        "recommended": {"loader": found.loader, "workers": found.workers},
        "measured": {
            **rates,
            "stall": verdict["stall"],
            "milliseconds": verdict["milliseconds"],
            "split": profile["as_is"]["parts"] | {"step": 1000 / found.model.images_per_second},
            "encode": profile["encode"],
            "bytes_per_image": found.profile.as_is.bytes_per_image,
            "curve": answer.pop("curve"),
        },
        "raw_pixels": None if raw is None else {**to_json(raw), "pays": raw.pays, "sentence": raw.sentence},
        "next": advice(found),
        **answer,
    }


def _show(found: "Diagnosis") -> None:
    """Print the verdict, the tables behind it and the next steps on stderr."""
    from ..benchmarks.diagnose.diagnose import advice

    say(found.verdict.sentence)
    say(found.epoch_sentence)
    gain = found.gain
    instead = f"; {gain.loader} with {_workers(gain.workers)}: {gain.before:,.0f}"
    if (gain.loader, gain.workers) == (found.loader, found.workers):
        instead = ""
    say(f"Recommended: {found.loader} with {_workers(found.workers)}, {gain.after:,.0f} images/s in training{instead}.")
    console = stderr_console()
    for table in (_runs_table(found), _split_table(found), _curve_table(found), _what_if_table(found)):
        console.print(table)
    for problem in found.problems:
        say(f"Note: {problem}")
    say(_turns(found))
    if (raw := found.raw_pixels) is not None:
        say(raw.sentence)
    if found.gpu is not None:
        say(f"The model: {found.gpu.model} at {found.gpu.images_per_second:,.0f} images/s ({found.gpu.source}).")
    for number, step in enumerate(advice(found), 1):
        say(f"{number}. {step}")


def _turns(found: "Diagnosis") -> str:
    turns = found.break_even
    cpus = "" if turns.cpus is None else f" at {turns.cpus:.1f} usable CPUs,"
    return (
        f"The verdict changes at a model of {turns.model_images_per_second:,.0f} images/s,{cpus} and at a disk of "
        f"{turns.disk_bytes_per_second / 1e6:,.1f} MB/s."
    )


def _runs_table(found: "Diagnosis") -> RichTable:
    table = _table("run", "images/s", "spread", "ms per image")
    runs = {
        "model alone": found.model,
        "loader alone, warm": found.warm,
        "loader alone, cold": found.cold,
        f"together, {found.state}": found.together,
    }
    for name, rate in runs.items():
        table.add_row(name, *_cells(rate))
    return table


def _cells(rate: "Rate | None") -> tuple[str, ...]:
    if rate is None:
        return ("unknown", "-", "-")
    return (f"{rate.images_per_second:,.0f}", f"{rate.spread:.1%}", f"{1000 / rate.images_per_second:.2f}")


def _split_table(found: "Diagnosis") -> RichTable:
    parts = found.profile.as_is.parts
    table = _table(f"{found.loader}, one thread", "ms per image", "share")
    for name, milliseconds in parts.items():
        table.add_row(name, f"{milliseconds:.3f}", f"{milliseconds / sum(parts.values()):.0%}")
    table.add_row("step of the model", f"{1000 / found.model.images_per_second:.3f}", "")
    return table


def _curve_table(found: "Diagnosis") -> RichTable:
    table = _table("loader alone, warm", "workers", "images/s", "spread", "")
    for point in found.curve:
        knee = "recommended" if (point.loader, point.workers) == (found.loader, found.workers) else ""
        rate = point.rate
        table.add_row(point.loader, str(point.workers), f"{rate.images_per_second:,.0f}", f"{rate.spread:.1%}", knee)
    return table


def _what_if_table(found: "Diagnosis") -> RichTable:
    encodings = list(dict.fromkeys(row.encode for row in found.what_if))
    table = _table(f"what if (training, {found.loader})", *encodings, f"ImageNet epoch, {encodings[0]}")
    for disk in dict.fromkeys(row.disk for row in found.what_if):
        rows = {row.encode: row for row in found.what_if if row.disk == disk}
        rates = [f"{rows[encode].images_per_second:,.0f}" for encode in encodings]
        table.add_row(disk, *rates, rows[encodings[0]].epoch_time)
    return table


def _table(first: str, *others: str) -> RichTable:
    table = RichTable(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count != 1 else ''}"

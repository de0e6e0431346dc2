"""``feedline diagnose``: what limits the training speed on this machine, and what would change it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..prep import TrainingError, to_json
from ..prep.base.origins import shown
from .console import echo_json, progress_bars, say, stderr_console
from .diagnosis.accelerators import accelerators_option, emulation_of, show_utilisation, utilisation_json
from .diagnosis.tables import curve_table, runs_table, split_table, what_if_table
from .options import (
    AT_LEAST_1,
    SECONDS,
    OutPath,
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
@accelerators_option
@worker_counts_option("Worker counts to measure.", "1,2,4 ... usable CPUs")
@batch_size_option("Images per batch. Emulated accelerators get batches of 400 if this is left out.")
@image_size_option
@pixels_option
@click.option(
    "--seconds", type=SECONDS, default=1.5, show_default=True, metavar="S", help="Measuring time of each run."
)
@click.option("--repeats", type=AT_LEAST_1, default=3, show_default=True, metavar="N", help="Runs per configuration.")
@click.option("--out", type=OutPath(path_type=Path, file_okay=False), help="Directory for diagnosis.json.")
@seed_option
@json_option
def diagnose(
    root: Path,
    as_json: bool,
    loaders: tuple[str, ...],
    model: str | None,
    step_ms: float | None,
    gpu: str | None,
    accelerators: int | None,
    out: Path | None,
    **plan: Any,
) -> None:
    """Report whether reading, decoding or the model limits training on ROOT.

    \b
    Example:
      feedline diagnose data
      feedline diagnose data --gpu h100
      feedline diagnose data --gpu h100 --accelerators 4
      feedline diagnose data --step-ms 26

    Recommends a loader and a worker count, and predicts the rate on other disks and with other encodings. --gpu
    predicts whether this machine can feed that GPU. --step-ms does so for a model that takes that time for a batch.
    --gpu h100 and a100 also emulate such GPUs, and search how many this machine keeps at 90 % utilisation.
    """
    from ..benchmarks.diagnose.diagnose import diagnose as run, write_diagnosis
    from ..benchmarks.diagnose.diagnosis_runs import DiagnosisPlan
    from ..benchmarks.diagnose.emulated import diagnose_with_accelerators
    from ..benchmarks.diagnose.hardware import GPUS

    if gpu is not None and gpu not in GPUS:
        raise click.BadParameter(f"there is no GPU {gpu!r} in the table; choose one of: {', '.join(GPUS)}")
    step, device = _step(model, step_ms, gpu, plan["batch_size"])
    emulation = emulation_of(gpu, accelerators)
    given = {"model": model, "step_ms": step_ms, "gpu": gpu, "accelerators": accelerators, "out": out, **plan}
    whole = DiagnosisPlan(root=root, step=step, device=device, loaders=loaders, **plan)
    about: dict[str, Any] = {"command": _command(root, loaders, given), "gpu": GPUS.get(gpu or "")}
    with progress_bars() as progress:
        if emulation is None:
            found = run(whole, **about, progress=progress)
        else:
            found = diagnose_with_accelerators(whole, emulation, **about, progress=progress)
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
    answer["utilisation"] = utilisation_json(found.utilisation)
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
    for table in (runs_table(found), split_table(found), curve_table(found), what_if_table(found)):
        console.print(table)
    for problem in found.problems:
        say(f"Note: {problem}")
    say(_turns(found))
    if (raw := found.raw_pixels) is not None:
        say(raw.sentence)
    if found.gpu is not None:
        say(f"The model: {found.gpu.model} at {found.gpu.images_per_second:,.0f} images/s ({found.gpu.source}).")
    show_utilisation(found)
    for number, step in enumerate(advice(found), 1):
        say(f"{number}. {step}")


def _turns(found: "Diagnosis") -> str:
    turns = found.break_even
    cpus = "" if turns.cpus is None else f" at {turns.cpus:.1f} usable CPUs,"
    return (
        f"The verdict changes at a model of {turns.model_images_per_second:,.0f} images/s,{cpus} and at a disk of "
        f"{turns.disk_bytes_per_second / 1e6:,.1f} MB/s."
    )


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count != 1 else ''}"

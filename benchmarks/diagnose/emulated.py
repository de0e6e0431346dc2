"""A diagnosis with emulated accelerators, which the recommended loader feeds."""

from dataclasses import replace

from ...prep import MeasurementError, Progress, silent
from ..machine.cache import files_read
from ..measuring.dataset import describe
from ..utilisation.accelerators import MINIMUM_AU
from ..utilisation.emulation import EmulationPlan, Supply, measure_utilisation, most_accelerators
from ..utilisation.processes import Emulator, run_side_by_side
from .diagnose import Diagnosis, diagnose
from .diagnosis_runs import DiagnosisPlan
from .hardware import Gpu


def diagnose_with_accelerators(
    plan: DiagnosisPlan,
    emulation: EmulationPlan,
    *,
    command: tuple[str, ...] = (),
    gpu: Gpu | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Measure ``plan``, emulate the accelerators, and return the diagnosis with their utilisation.

    Raises the errors of ``measure_rates``, and MeasurementError if the requested number of accelerators cannot be run.
    """
    if emulation.accelerators is not None:  # before minutes of work, not after them
        most_accelerators(plan.root, describe(plan.root, "train").samples, emulation)
    return add_utilisation(diagnose(plan, command=command, gpu=gpu, progress=progress), emulation, progress)


def add_utilisation(
    found: Diagnosis, emulation: EmulationPlan, progress: Progress = silent, run: Emulator = run_side_by_side
) -> Diagnosis:
    """Return the diagnosis with the utilisation of the accelerators of ``emulation``.

    If no number of them was requested and none can be run, the reason becomes one of the problems.
    """
    try:
        return replace(found, utilisation=measure_utilisation(emulation, _supply(found), progress, run))
    except MeasurementError as error:
        if emulation.accelerators is not None:
            raise
        return replace(found, problems=(*found.problems, f"no accelerator was emulated: {error}"))


def _supply(found: Diagnosis) -> Supply:
    """Return the recommended loader with what the diagnosis measured of it."""
    plan = found.plan
    cold = found.cold if found.state == "cold" else None
    return Supply(
        root=plan.root,
        loader=found.loader,
        workers=found.workers,
        image_size=plan.image_size,
        pixels=plan.pixels,
        seed=plan.seed,
        seconds=plan.seconds,
        repeats=plan.repeats,
        timeout=plan.timeout,
        samples=describe(plan.root, "train").samples,
        files=files_read(plan.root, "train", [found.loader]),
        state="warm" if cold is None else "cold",
        images_per_second=(cold or found.warm).images_per_second,
    )


def utilisation_advice(found: Diagnosis) -> list[str]:
    """Return what it takes to keep one accelerator more than now, as a sentence; empty without a utilisation.

    The CPUs are those of the measured CPU time per image, the bandwidth that of the mean image.
    """
    result = found.utilisation
    if result is None:
        return []
    number = result.headline.accelerators + (1 if result.headline.kept else 0)
    rate = MINIMUM_AU * number * result.accelerator.images_per_second
    points = [point for point in found.curve if (point.loader, point.workers) == (found.loader, found.workers)]
    cpu = points[0].cpu_seconds_per_image if points else None
    here = found.environment.machine.cpus
    cpus = "" if cpu is None else f"the time of {rate * cpu:,.1f} CPUs (usable here: {here}) and "
    disk = rate * found.profile.as_is.bytes_per_image / 1e6
    name = f"{result.accelerator.name}{'s' if number > 1 else ''}"
    return [f"{number} {name} at {MINIMUM_AU:.0%} take {rate:,.0f} images/s: {cpus}{disk:,.0f} MB/s of reading."]

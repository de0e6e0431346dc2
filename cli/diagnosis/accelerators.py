"""The emulated accelerators of ``feedline diagnose``: their option, what is emulated, and what is printed."""

from typing import TYPE_CHECKING, Any

import click

from ...prep import to_json
from ..console import say, stderr_console
from ..options import AT_LEAST_1
from .tables import table_of

if TYPE_CHECKING:
    from ...benchmarks.diagnose.diagnose import Diagnosis
    from ...benchmarks.utilisation.emulation import EmulationPlan
    from ...benchmarks.utilisation.utilisation import Utilisation

accelerators_option = click.option(
    "--accelerators",
    type=AT_LEAST_1,
    metavar="N",
    show_default="search for the most",
    help="Emulate so many accelerators of --gpu h100 or a100, and report their utilisation.",
)


def emulation_of(gpu: str | None, accelerators: int | None) -> "EmulationPlan | None":
    """Return what is emulated for the options of this command, None if nothing is.

    Raises UsageError for a number of accelerators without a GPU that has a published time of a step.
    """
    from ...benchmarks.utilisation.accelerators import ACCELERATORS, BATCH_SIZE
    from ...benchmarks.utilisation.emulation import EmulationPlan

    accelerator = ACCELERATORS.get(gpu or "")
    if accelerator is None:
        if accelerators is not None:
            known = " or ".join(f"--gpu {name}" for name in ACCELERATORS)
            given = "" if gpu is None else f", not for {gpu}"
            raise click.UsageError(
                f"--accelerators needs {known}: MLPerf Storage has the time of a step for these{given}"
            )
        return None
    context = click.get_current_context()
    by_default = context.get_parameter_source("batch_size") == click.core.ParameterSource.DEFAULT
    batch_size = BATCH_SIZE if by_default else context.params["batch_size"]
    return EmulationPlan(accelerator=accelerator, accelerators=accelerators, batch_size=batch_size)


def utilisation_json(found: "Utilisation | None") -> dict[str, Any] | None:
    """Return the utilisation as JSON, with what is computed from its fields and without the raw runs."""
    if found is None:
        return None
    answer: dict[str, Any] = to_json(found)
    del answer["runs"]
    headline = found.headline
    return {
        "sentences": found.sentences,
        "accelerators": headline.accelerators,
        "au": headline.au,
        **answer,
        "tested": [{**to_json(tested), "kept": tested.kept} for tested in found.tested],
        "fraction": found.fraction,
        "predicted_au": found.predicted,
    }


def show_utilisation(diagnosis: "Diagnosis") -> None:
    """Print the utilisation of the emulated accelerators, what would change it, and the rules of the standard."""
    from ...benchmarks.diagnose.emulated import utilisation_advice

    found = diagnosis.utilisation
    if found is None:
        return
    numbers = table_of(
        f"emulated {found.accelerator.name}", "workers", "AU", "lowest", "highest", "images/s", "runs", ""
    )
    for tested in found.tested:
        numbers.add_row(
            str(tested.accelerators),
            str(tested.workers),
            f"{tested.au:.1%}",
            f"{tested.lowest:.1%}",
            f"{tested.highest:.1%}",
            f"{tested.images_per_second:,.0f}",
            str(tested.runs),
            "kept" if tested.kept else "not kept",
        )
    rules = table_of("MLPerf Storage")
    for name in ("requires", "here"):
        rules.add_column(name)
    rules.add_column("met")
    for rule in found.rules:
        rules.add_row(rule.name, rule.requires, rule.here, "yes" if rule.met else "no")
    for table in (numbers, rules):
        stderr_console().print(table)
    for sentence in (*found.sentences, *utilisation_advice(diagnosis)):
        say(sentence)
    for problem in found.problems:
        say(f"Note: {problem}")

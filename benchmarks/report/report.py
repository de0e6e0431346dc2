"""One self-contained HTML page from records, without network access and without scripts.

The page is a pure function of its records. ``results`` decides its content, and ``report.html.j2`` its layout. Every
name in a record may come from a stranger, so the template escapes all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...prep import MeasurementError, OutputError, write_atomically
from ...prep.base.disks import reason_of
from ...prep.base.paths import GivenPath
from ...prep.base.shell import shell_word
from ..diagnose.diagnose import Diagnosis, advice
from ..machine.environment import Environment
from ..measuring.record import Record
from ..results.complaints import complaints
from ..results.ranking import CEILING, Pair, Ranking, ceiling_of, cold_and_warm, curves, tabulate
from ..results.spreadsheet import SPREADSHEET, write_spreadsheet
from .charts import Chart, accuracy_chart, loss_chart, throughput_chart
from .training import TrainingRun

if TYPE_CHECKING:
    from ..bench.training_speed import SpeedRecord


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table with its chart, complaints and comparisons."""

    table: Ranking
    chart: Chart | None
    complaints: tuple[str, ...]
    fastest: float
    """The highest rate that a training can use, images/s: the length of a full bar."""
    ceiling: float | None
    pairs: tuple[Pair, ...]
    """The configurations that were measured both cold and warm."""
    scaling: dict[str, float]
    """By a row's name: its rate over that with the fewest workers; only of rows with several worker counts."""


def render_report(
    records: Sequence[Record],
    run: TrainingRun | None = None,
    speed: "SpeedRecord | None" = None,
    diagnosis: Diagnosis | None = None,
) -> str:
    """Return the page for ``records``, with a training run, training speeds and a diagnosis if they are given.

    Raises MeasurementError if the records come from different machines.
    """
    from jinja2 import Environment as Templates, FileSystemLoader, StrictUndefined

    templates = Templates(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    latest = max(records, key=lambda record: record.date)
    return templates.get_template("report.html.j2").render(
        sections=[_section(table) for table in tabulate(records)],
        latest=latest,
        facts=_facts(latest.environment),
        commands=list(dict.fromkeys(_command_line(record) for record in records)),
        dates=sorted({record.date[:10] for record in records}),
        runs=len(records),
        run=run,
        charts=[accuracy_chart(run), loss_chart(run)] if run else [],
        speed=_speed(speed, latest) if speed else None,
        ceiling_name=CEILING,
        diagnosis=diagnosis,
        next_steps=advice(diagnosis) if diagnosis else [],
    )


def write_report(
    path: GivenPath,
    records: Sequence[Record],
    run: TrainingRun | None = None,
    speed: "SpeedRecord | None" = None,
    diagnosis: Diagnosis | None = None,
) -> None:
    """Write the page to ``path`` and the records to ``bench.csv`` in its folder; raise OutputError if that fails."""
    path, page = Path(path), render_report(records, run, speed, diagnosis)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error, path)}; choose another --out") from error
    write_spreadsheet(path.with_name(SPREADSHEET), records)


def _section(table: Ranking) -> Section:
    rates = [row.images_per_second for row in table.rows if row.loader != CEILING]
    return Section(
        table=table,
        chart=throughput_chart(table),
        complaints=tuple(complaints(table)),
        fastest=max(rates, default=0.0),
        ceiling=ceiling_of(table),
        pairs=tuple(cold_and_warm(table)),
        scaling={
            row.name: row.images_per_second / rows[0].images_per_second
            for rows in curves(table).values()
            for row in rows
            if len(rows) > 1
        },
    )


def _speed(record: "SpeedRecord", latest: Record) -> dict[str, Any]:
    from ..bench.scaling import COLUMNS, cells, compare_speeds  # here: it imports the trainer

    if record.environment.machine != latest.environment.machine:
        raise MeasurementError(
            "the training speed comes from another machine than the records; measure it again with: "
            "feedline bench ROOT --train --out DIR"
        )
    return {"config": record.config, "columns": COLUMNS, "rows": [cells(row) for row in compare_speeds(record.speeds)]}


def _facts(environment: Environment) -> list[tuple[str, str]]:
    """Return the names and values of the environment's facts; unknown ones have the value "unknown"."""
    machine = environment.machine
    facts = {
        "CPU": machine.cpu,
        "Usable CPUs": machine.cpus,
        "Memory": f"{machine.memory_gib} GiB",
        "GPU": f"{machine.gpu}, driver {environment.driver}" if machine.gpu else "none",
        "/dev/shm": None if environment.shm_bytes is None else f"{environment.shm_bytes / 2**30:.1f} GiB",
        "CPU governor": environment.governor,
        "Load before": None if environment.load_average is None else f"{environment.load_average:.2f}",
        "System": environment.platform,
        "Python": f"{environment.python}, workers start by {environment.start_method}",
        "Libraries": ", ".join(f"{name} {version}" for name, version in environment.libraries.items()),
    }
    return [(name, "unknown" if value is None else str(value)) for name, value in facts.items()]


def _command_line(record: Record) -> str:
    """Return the record's command, quoted for the shell of the system that it ran on."""
    windows = record.environment.machine.system.startswith("Windows")
    return " ".join(shell_word(word, windows=windows) for word in record.command)

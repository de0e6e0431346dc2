"""The record of one measuring run: one JSON file with everything that a table, a plot or a check needs.

    measure -> record -> everything else reads records

A record stores raw windows and no statistics. Statistics are computed when a report is made, so a better statistic
needs no new measurement. The configuration is the resolved LoaderSpec, defaults included. Every record has a schema
number. A record of an unknown, later schema is rejected by its number. Records of older schemas are read with None for
the fields that they lack.

Schema 1 was the first. Schema 2 added the requested state of the cache, the share of resident data before and after
the run, the bytes read, and the storage below the data.
"""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from ... import __version__
from ...loaders import LoaderSpec
from ...prep import FeedlineError, MeasurementError, OutputError, read_document, write_document
from ...prep.base.disks import reason_of
from ...prep.base.names import require_name
from ...prep.base.paths import GivenPath, given_paths
from ...prep.base.shell import shell_word
from ..machine.cache import AskedCache, CacheState
from ..machine.environment import Environment, Machine
from .dataset import MeasuredData
from .measure import Measurement

FORMAT = "feedline-bench"
DIAGNOSIS, TRAINING_SPEED = "diagnosis.json", "training-speed.json"
RECORDS = "benchmarks/records"
"""Where a checkout keeps its records."""
OTHER_DOCUMENTS = (DIAGNOSIS, TRAINING_SPEED)
"""Names of the other documents in a directory of records: ``feedline diagnose`` and ``bench --train`` write them."""
SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Code:
    """The version of feedline that measured."""

    feedline: str
    commit: str | None
    """The commit, if feedline runs from a git checkout."""
    dirty: bool | None
    """Whether the checkout differed from that commit."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measuring run of one loader, in a process of its own."""

    format: Literal["feedline-bench"] = FORMAT
    schema: Literal[1, 2] = SCHEMA
    date: str
    """When the run ended, ISO 8601, UTC."""
    command: tuple[str, ...]
    """The command that measures this again, with every default written out."""
    loader: str
    config: LoaderSpec
    repeat: int
    """Number of this run among the interleaved runs of its configuration, from 0."""
    seconds: float
    """The requested measuring time."""
    cache: CacheState
    """The state of the data just before the run, as checked; ``unknown`` if it could not be checked."""
    cache_asked: AskedCache | None = None
    """The requested state. A run with ``cold`` ended with its first epoch."""
    resident_before: float | None = None
    """Share of the loader's data, 0 to 1, that was in the page cache just before the run."""
    resident_after: float | None = None
    """The same share just after the run."""
    code: Code
    environment: Environment
    data: MeasuredData
    open_seconds: float
    """Time to open the loader: listing folders, reading indexes."""
    measurement: Measurement
    peak_rss_bytes: int | None
    """Largest sum of resident memory over all processes of the run; pages that they share count once for each."""


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The part that every schema has."""

    format: str
    schema: int


def read_record(path: Path) -> Record:
    """Return the record at ``path``; raise MeasurementError if it is not a record of a known schema."""
    try:
        return read_document(path, Record)
    except FeedlineError as error:
        schema = _schema_of(path)
        if schema is not None and not 1 <= schema <= SCHEMA:
            raise MeasurementError(
                f"{path} is a record of schema {schema}, and this feedline reads schemas 1 to {SCHEMA}; "
                f"measure again with: feedline bench ROOT --out DIR"
            ) from error
        raise MeasurementError(f"not a bench record: {error}") from error


def write_record(directory: Path, record: Record) -> Path:
    """Write ``record`` into ``directory``, under a name made from its date and configuration; return the path.

    Raises OutputError if the file cannot be written.
    """
    stamp = record.date.partition("+")[0].translate(dict.fromkeys(map(ord, "-:."), None))
    config = record.config
    parts = (stamp, record.loader, f"w{config.workers}", f"b{config.batch_size}", record.cache, f"r{record.repeat}")
    path = directory / require_name(f"{'-'.join(parts)}.json", "the record")
    try:
        write_document(path, record)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {reason_of(error, path)}; make room there and measure again"
        ) from error
    return path


def write_beside_records(path: Path, document: object) -> None:
    """Write a document of OTHER_DOCUMENTS, and its directory if it is missing. Raises OutputError if this fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_document(path, document)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error, path)}; choose another --out") from error


def read_records(places: GivenPath | Sequence[GivenPath]) -> list[Record]:
    """Return the records in files and directories, oldest first.

    In a directory every ``*.json`` except OTHER_DOCUMENTS must be a record. Raises MeasurementError if one is not, and
    if there are none.
    """
    places = [Path(place) for place in given_paths(places)]
    paths = [path for place in places for path in _files(place)]
    if not paths:
        raise MeasurementError(
            f"there are no bench records in {', '.join(map(str, places))}; "
            f"make some with: feedline bench ROOT --out DIR"
        )
    return sorted((read_record(path) for path in paths), key=lambda record: (record.date, record.repeat))


def require_one_machine(records: Iterable[Record]) -> Machine:
    """Return the machine that all ``records`` come from; raise MeasurementError if they come from several."""
    first, *others = [record.environment.machine for record in records]
    for other in others:
        for field in fields(Machine):
            one, two = getattr(first, field.name), getattr(other, field.name)
            if one != two:
                raise MeasurementError(
                    f"the records come from different machines ({field.name} {one} and {two}), which one table "
                    f"cannot compare; report them one by one: feedline report DIR --out report.html"
                )
    return first


def running_code() -> Code:
    """Return the version of feedline that runs, and its commit if it runs from a git checkout.

    New records do not count as changes: a measurement may write its own there.
    """
    checkout = Path(__file__).resolve().parents[2]
    commit = _git(checkout, "rev-parse", "HEAD") if (checkout / ".git").exists() else None
    changes = None if commit is None else _git(checkout, "status", "--porcelain", "--", ".", f":!{RECORDS}")
    return Code(
        feedline=__version__,
        commit=commit or None,
        dirty=None if changes is None else changes != "",
    )


def _files(place: Path) -> list[Path]:
    if not place.exists():
        raise MeasurementError(
            f"{place} does not exist; make records with: feedline bench ROOT --out {shell_word(place)}"
        )
    if not place.is_dir():
        return [] if place.name in OTHER_DOCUMENTS else [place]
    return sorted(path for path in place.glob("*.json") if path.name not in OTHER_DOCUMENTS)


def _schema_of(path: Path) -> int | None:
    """Return the schema number of a document that has the format of a bench record, else None."""
    try:
        header = read_document(path, _Header)
    except FeedlineError:
        return None
    return header.schema if header.format == FORMAT else None


def _git(checkout: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(checkout), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

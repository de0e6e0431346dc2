"""Result tables of README and docs, spliced in from records: python -m feedline.benchmarks.claims.readme [--check]

A number that is copied by hand is out of date after the next measurement. So only this program writes the text
between two markers:

    <!-- begin: loaders -->
    <!-- end: loaders -->

``--check`` changes nothing and fails if a text and the records differ. A test does the same.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from ...prep import FeedlineError, MeasurementError, write_atomically
from .markdown import TABLES

COMMAND = "python -m feedline.benchmarks.claims.readme"
MARK = re.compile(r"^<!-- (begin|end): ([\w-]+) -->$\n?", re.MULTILINE)


def documents(checkout: Path) -> list[Path]:
    """Return the texts of a checkout that may hold tables; raise MeasurementError if it has no README."""
    if not (checkout / "README.md").is_file():
        raise MeasurementError(
            f"{checkout} is not a checkout of feedline: it has no README.md; name one: {COMMAND} DIR"
        )
    return [checkout / "README.md", *sorted((checkout / "docs").glob("*.md"))]


def splice(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return ``text`` with the lines between each pair of markers replaced by their table.

    Raises MeasurementError for a marker without its partner, and for a name that is not in ``tables``.
    """
    marks = list(MARK.finditer(text))
    parts: list[str] = []
    place = 0
    for begin, end in zip(marks[::2], [*marks[1::2], None], strict=False):
        if end is None or begin.groups() != ("begin", end[2]) or end[1] != "end":
            raise MeasurementError(f"the marker {begin[0].strip()} has no partner; repair the document by hand")
        if begin[2] not in tables:
            raise MeasurementError(f"there is no table {begin[2]!r}; choose one of: {', '.join(tables)}")
        table = tables[begin[2]]()
        parts += [text[place : begin.end()], f"\n{table}\n\n" if table else ""]
        place = end.start()
    return "".join([*parts, text[place:]])


def stale(checkout: Path) -> dict[Path, str]:
    """Return the new text of each document whose tables differ from the records."""
    records = checkout / "benchmarks" / "records"
    tables = {name: _table(make, records) for name, make in TABLES.items()}
    texts = {path: path.read_text("utf-8") for path in documents(checkout)}
    renewed = {path: splice(text, tables) for path, text in texts.items()}
    return {path: text for path, text in renewed.items() if text != texts[path]}


def _table(make: Callable[[Path], str], records: Path) -> Callable[[], str]:
    return lambda: make(records)


@click.command()
@click.argument("checkout", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--check", is_flag=True, help="Change nothing; fail if a document and the records differ.")
def main(checkout: Path, check: bool) -> None:
    """Write the result tables in README.md and docs/*.md of a CHECKOUT from its records."""
    renewed = stale(checkout)
    names = ", ".join(path.relative_to(checkout).as_posix() for path in renewed)
    if check and renewed:
        raise MeasurementError(f"{names}: the tables differ from benchmarks/records; write them with: {COMMAND}")
    for path, text in renewed.items():
        write_atomically(path, text.encode())
    click.echo(f"written: {names}" if renewed else "every table agrees with the records", err=True)


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")

"""Which column of a list holds the file, which the label, and which the split.

The name of a column says it, or that the first values name images that the sources hold. What neither decides is not
guessed: the error shows the columns and the options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..base.errors import SourceError
from ..images.files import is_image_name
from ..sources.naming import SplitNames
from .column_names import FILES, HUGGING_FACE, LABELS, SPLITS, Lookup, plain_name
from .tables import Table

STRICT = frozenset(("split", "partition"))
"""These hold splits, whatever their values are; a "set" may be another thing."""
FIRST = 5  # rows whose values are looked up among the images
SHOWN = 20  # columns in a message


@dataclass(frozen=True)
class Roles:
    """What the columns of a list are."""

    file: str
    label: str
    split: str | None = None


def roles_of(table: Table, lookup: Lookup, *, file: str | None, label: str | None, splits: SplitNames) -> Roles:
    """Return the roles of a list's columns; ``file`` and ``label`` are the user's choices.

    Raises SourceError, which shows the columns and the options, for a column that is missing or not clear.
    """
    for chosen in (file, label):
        if chosen is not None and chosen not in table.columns:
            raise SourceError(f"{table.path} has no column {chosen!r}; it has: {listed_columns(table.columns)}")
    first = list(islice(table.rows(), FIRST))
    values = {name: [_text(row.values.get(name)) for row in first] for name in table.columns}
    split = next((name for word in SPLITS for name in table.columns if plain_name(name) == word), None)
    if split in (file, label):
        split = None
    if split and plain_name(split) not in STRICT and not _holds_splits(table, split, splits):
        split = None
    file = file or _file_column(table, values, lookup, {label, split})
    label = label or _label_column(table, {file, split})
    if file is None or label is None:
        what = " and ".join(text for text, found in (("the files", file), ("the labels", label)) if found is None)
        raise SourceError(
            f"{table.path} has the columns {listed_columns(table.columns)}; say which holds {what}: "
            f"--file-column {quoted(file or 'C')} --label-column {quoted(label or 'C')}"
        )
    if file == label:
        raise SourceError(f"{table.path} cannot have its files and its labels in one column, {file!r}; choose two")
    return Roles(file, label, split)


def _file_column(table: Table, values: dict[str, list[str]], lookup: Lookup, others: set[str | None]) -> str | None:
    columns = [name for name in table.columns if name not in others]
    named = [name for name in columns if plain_name(name) in FILES] if table.headed else []
    if len(named) == 1:
        return named[0]
    if huggingface := [name for name in named if plain_name(name) == HUGGING_FACE]:
        return huggingface[0]
    among = named or columns
    for fits in (lookup(frozenset(text for name in among for text in values[name])), None):
        held = [
            name
            for name in among
            if any((text in fits) if fits is not None else is_image_name(text) for text in values[name])
        ]
        if len(held) == 1:
            return held[0]
    return None


def _label_column(table: Table, others: set[str | None]) -> str | None:
    columns = [name for name in table.columns if name not in others]
    named = [name for name in columns if plain_name(name) in LABELS] if table.headed else []
    if len(named) == 1:
        return named[0]
    return columns[0] if len(columns) == 1 and not named else None


def _holds_splits(table: Table, column: str, splits: SplitNames) -> bool:
    """Whether some of the first values of a column are names of splits."""
    return any(splits.of(text) for row in islice(table.rows(), 1000) if (text := _text(row.values.get(column))))


def free_names(columns: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Return {column: the name under which it travels}: with "_" added to a name that is taken already."""
    names: dict[str, str] = {}
    for column in columns:
        name = column
        while name in taken or name in names.values() or (name != column and name in columns):
            name += "_"
        names[column] = name
    return names


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def listed_columns(columns: Sequence[str]) -> str:
    """Return the names of columns for a message."""
    more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return ", ".join(name[:80] for name in columns[:SHOWN]) + more


def quoted(text: str) -> str:
    """Return a value of an option, quoted if a shell needs it."""
    return f'"{text}"' if " " in text else text

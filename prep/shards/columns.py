"""The columns of a shard: read from its samples' members, and written to a file of lines next to its index.

    <shard>.jsonl    one line per sample, in shard order: {"__key__": key of the sample, name: value, ...}

The same values lie in each sample's ``.json``, where other readers find them, so the file is made again from the tar.
In that ``.json``, the columns come first, under their own names. The values that feedline adds (``class``, ``width``,
``height``, ``name``) follow, unless a column has that name. WebDataset calls the key ``__key__`` too; a column of
that name is left out.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from ..base.errors import DatasetError
from ..roots.lists import MAX_LINE, json_line

SUFFIX = ".jsonl"
KEY = "__key__"
START = b'{"__key__": "'  # of every line
ABOUT = ("class", "width", "height", "name")
OLD_ABOUT = ("wnid", *ABOUT[1:])  # before 0.2
MAX_COLUMNS = 1000  # names; a .json whose keys differ from sample to sample is no table


def columns_path(shard: Path) -> Path:
    """Return where the columns of a shard lie."""
    return shard.with_suffix(SUFFIX)


def column_line(key: str, columns: Mapping[str, Any]) -> bytes:
    """Return a sample's line."""
    return json_line({KEY: key, **{name: value for name, value in columns.items() if name != KEY}})


def json_member(columns: Mapping[str, Any], about: Mapping[str, Any]) -> bytes:
    """Return the contents of a sample's ``.json``: its columns, then feedline's own values that no column replaces."""
    return json.dumps({**columns, **{name: value for name, value in about.items() if name not in columns}}).encode()


def member_columns(members: Mapping[str, bytes], where: str) -> dict[str, Any]:
    """Return the columns that a sample's members hold. ``members`` is {extension in lower case: contents}.

    Each key of the ``.json`` is a column; a ``.json`` that is no object is the column ``json``. A ``.txt`` is the
    column ``txt``. Raises DatasetError, which begins with ``where``, for a ``.json`` that is damaged or has more than
    16 MiB.
    """
    found: dict[str, Any] = {}
    if "json" in members:
        value = _loaded(members["json"], where)
        found = cast(dict[str, Any], value) if isinstance(value, dict) else {"json": value}
    if "txt" in members:
        found.setdefault("txt", members["txt"].decode("utf-8", "replace"))
    found.pop(KEY, None)
    return found


def chosen_columns(found: Mapping[str, Any], names: Collection[str] | None) -> dict[str, Any]:
    """Return the columns with these names in the order in which they stand; None: all but feedline's own values."""
    if names is None:
        return _without_about(found)
    return {name: value for name, value in found.items() if name in names}


def _without_about(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a ``.json`` without those that feedline added at its end."""
    last = tuple(name for name in found if name != "txt")[-len(ABOUT) :]
    if last not in (ABOUT, OLD_ABOUT):
        return dict(found)
    return {name: value for name, value in found.items() if name not in last}


def _loaded(data: bytes, where: str) -> Any:
    if len(data) > MAX_LINE:
        raise DatasetError(f"{where} has a .json of {len(data)} bytes, more than {MAX_LINE}; write the shards again")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} has a .json that is damaged ({error}); write the shards again") from error

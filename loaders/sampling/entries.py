"""The samples that ``indices`` and ``classes`` of a spec choose, as sample indexes of its split."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import cast

import numpy as np

from ...prep import MANIFEST, SHARDS, ClassEntry, LoaderError, read_manifest, read_shard_manifest
from ..choice_fields import Numbers
from ..spec import LoaderSpec
from .draw_keys import I64


def class_entries(root: Path) -> tuple[ClassEntry, ...]:
    """Return the classes of a root by class index, of its class folders or else of its shards."""
    folders = (root / MANIFEST).is_file()
    return (read_manifest(root) if folders else read_shard_manifest(root / SHARDS)).classes


def entries_of(spec: LoaderSpec, count: int, labels: Callable[[], I64]) -> I64 | None:
    """Return the chosen sample indexes in the order without shuffling, or None for all.

    ``count`` is the number of samples of the split, and ``labels`` returns their class indexes. An index that is given
    several times is chosen several times. Raises LoaderError for an index or class that does not exist, and if nothing
    is chosen.
    """
    entries = None if spec.indices is None else _listed(cast(Numbers, spec.indices).array, count, spec)
    if spec.classes is None:
        return entries
    wanted = np.array(class_indexes(spec.root, cast(Sequence[str | int], spec.classes)), np.int64)
    found = labels()
    entries = np.arange(count, dtype=np.int64) if entries is None else entries
    entries = entries[np.isin(found[entries], wanted)]
    if not len(entries):
        within = "the indices have no sample" if spec.indices is not None else f"{spec.split} has no sample"
        raise LoaderError(f"{within} of the classes {_shown(spec.classes)}; choose others")
    return entries


def class_indexes(root: Path, classes: Sequence[str | int]) -> list[int]:
    """Return the class indexes of ids and indexes. Raises LoaderError for one that the root does not have."""
    entries = class_entries(root)
    index_of = {entry.id: index for index, entry in enumerate(entries)}
    found: list[int] = []
    for wanted in classes:
        if isinstance(wanted, int):
            if wanted >= len(entries):
                raise LoaderError(f"{root} has no class {wanted}; its class indexes are 0 to {len(entries) - 1}")
            found.append(wanted)
        elif wanted in index_of:
            found.append(index_of[wanted])
        else:
            raise LoaderError(f"{root} has no class {wanted!r}; {_nearest(wanted, entries)}")
    return found


def _listed(given: I64, count: int, spec: LoaderSpec) -> I64:
    if given.dtype == np.bool_:
        if len(given) != count:
            raise LoaderError(
                f"indices is a mask of {len(given)}, and {spec.split} of {spec.root} has {count} samples; "
                "give one True or False per sample"
            )
        return np.flatnonzero(given).astype(np.int64)
    if given.max() >= count:
        raise LoaderError(
            f"indices has {given.max()}, and {spec.split} of {spec.root} has {count} samples; "
            f"use indexes from 0 to {count - 1}"
        )
    return given


def _nearest(wanted: str, entries: Sequence[ClassEntry]) -> str:
    named = [entry.id for entry in entries if wanted.casefold() in (entry.name.casefold(), entry.id.casefold())]
    near = named or get_close_matches(wanted, [entry.id for entry in entries], n=3, cutoff=0.4)
    if wanted.isdecimal() and int(wanted) < len(entries) and not named:
        return f"class indexes are given as integers: {int(wanted)}"
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"choose from: {_shown([entry.id for entry in entries])}"


def _shown(values: object) -> str:
    parts = [repr(value) for value in cast(Sequence[object], values)]
    return ", ".join(parts[:5] + ["..."] * (len(parts) > 5))

"""The shards that lie in a directory and its folders, and the split that their names state.

A shard's own name comes first ("imagenet-train-000000.tar"), then the folders that it lies in ("val/00000.tar"). A
name that states no split is never taken for train: the user says which split it is with ``--split-from NAME=SPLIT``.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..base.documents import read_document
from ..base.errors import DatasetError
from ..base.manifest import MANIFEST, SHARDS, Manifest, ShardManifest
from ..base.names import MAX_DEPTH, is_plain_path
from ..base.progress import Notice
from ..base.shell import shell_word
from ..sources.naming import split_named

SHARD = ".tar"
# The word before the number, as feedline and most tools name shards: it counts more than a split's name elsewhere.
LAST_WORD = re.compile(r"(?:^|[^A-Za-z])([A-Za-z]+)[-_. ]?[0-9]*$")
NUMBER = re.compile(r"[-_. ]*[0-9]*(?:-of-[0-9]+)?$")


def find_shards(directory: Path, split_from: Mapping[str, str], notice: Notice) -> dict[str, tuple[str, ...]]:
    """Return {split: paths of its shards below ``directory``, sorted, with forward slashes}.

    ``split_from`` is {name: split}; see ``index_shards``. A folder that is a shard set of its own is left out, and
    reported to ``notice``. Raises DatasetError if there is no shard, for names that
    state no split or two, and for a name in ``split_from`` that does not occur.
    """
    _require_directory(directory)
    sets = _sets_in(directory)
    names = [path for path in shard_paths(directory) if path.partition("/")[0] not in sets]
    for name in sets:
        if not names:
            place = directory / name
            raise DatasetError(f"{place} is a shard set of its own; give that folder: {_index_only(place)}")
        notice(f"left out: {directory / name}, a shard set of its own")
    if not names:
        raise DatasetError(f"{directory} holds no shard (*{SHARD}); make some with: feedline shard SOURCE")
    return split_shards(names, directory, split_from, _index_only(directory))


def split_shards(
    names: Sequence[str], directory: Path, split_from: Mapping[str, str], command: str
) -> dict[str, tuple[str, ...]]:
    """Return {split: its shards} of the shards with these paths below ``directory``.

    ``command`` is the one to run again with ``--split-from``. Raises DatasetError for names that state no split or two,
    and for a name in ``split_from`` that does not occur.
    """
    top = directory.resolve().name
    unused = [name for name in split_from if not any(name in _names_of(path, top) for path in names)]
    if unused:
        known = sorted({_asked_name(path, top) for path in names})
        raise DatasetError(
            f"--split-from names {unused[0]!r}, but no shard or folder in {directory} is named so; "
            f"use one of: {', '.join(known)}"
        )
    splits = {path: _split_of(path, top, split_from, directory, command) for path in names}
    unknown = [path for path, split in splits.items() if split is None]
    if unknown:
        asked = sorted({_asked_name(path, top) for path in unknown})
        options = " ".join(f"--split-from {_quoted(name)}=SPLIT" for name in asked[:8])
        raise DatasetError(
            f"{directory / unknown[0]} states no split in its name or folder, like {len(unknown) - 1} other shards; "
            f"say which is train and which is val: {command} {options}"
        )
    found: dict[str, tuple[str, ...]] = {}
    for path, split in splits.items():
        if split is not None:
            found[split] = (*found.get(split, ()), path)
    return found


def shard_paths(directory: Path) -> list[str]:
    """Return the paths of all tars below ``directory``, sorted, with forward slashes; hidden ones are left out."""
    return sorted(path for path in paths_below(directory) if path.lower().endswith(SHARD))


def data_set_of(path: str) -> str:
    """Return the part of a shard's name before its split, such as "birds" of "birds-train-000000.tar"."""
    stem = NUMBER.sub("", _stem(path))
    match = LAST_WORD.search(stem)
    if match is None or split_named(match[1]) is None:
        return ""
    return stem[: match.start()]


def paths_below(directory: Path, below: str = "") -> Iterator[str]:
    """Yield the paths of all files below ``directory``, with forward slashes; hidden ones are left out.

    Raises DatasetError for a shard whose name not every system can hold.
    """
    with os.scandir(directory) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in found:
        path = below + entry.name
        if entry.is_dir() and path.count("/") < MAX_DEPTH - 1:
            yield from paths_below(Path(entry.path), path + "/")
        elif entry.is_file():
            if path.lower().endswith(SHARD) and not is_plain_path(path):
                raise DatasetError(f"{entry.path} has a name that not every system can hold; rename it and run again")
            yield path


def _require_directory(directory: Path) -> None:
    """Raise DatasetError for what is no folder of shards, with the folder to give instead if it is known."""
    if directory.is_file():
        raise DatasetError(f"{directory} is a file; give the folder of the shards: {_index_only(directory.parent)}")
    if not directory.is_dir():
        raise DatasetError(f"{directory} does not exist; check the path, or write shards with: feedline shard SOURCE")


def _sets_in(directory: Path) -> list[str]:
    """Return the folders that are shard sets of their own: the shards of a root, or with a manifest by feedline."""
    with os.scandir(directory) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir())
    return [
        name
        for name in folders
        if (name == SHARDS and any((directory / name).glob(f"*{SHARD}"))) or is_written_by_feedline(directory / name)
    ]


def is_written_by_feedline(place: Path) -> bool:
    """Return whether a folder has the manifest of shards that were written or classes that were named."""
    try:
        manifest = read_document(place / MANIFEST, ShardManifest)
    except DatasetError:
        return False
    return manifest.order != "sequential" or not all(entry.id.isdigit() for entry in manifest.classes)


def is_root(directory: Path) -> bool:
    """Return whether a folder has the manifest of a prepared root."""
    try:
        read_document(directory / MANIFEST, Manifest)
    except DatasetError:
        return False
    return True


def _split_of(path: str, top: str, split_from: Mapping[str, str], directory: Path, command: str) -> str | None:
    for name in _names_of(path, top):
        if name in split_from:
            return split_from[name]
    stem, folders = _stem(path), path.split("/")[-2::-1] if "/" in path else []
    last = LAST_WORD.search(NUMBER.sub("", stem))
    own = (split_named(last[1]) if last else None) or split_named(stem)
    outer = next((split for split in map(split_named, folders) if split), None)
    if own and outer and own != outer:
        raise DatasetError(
            f"{directory / path} is {own} by its name and {outer} by its folder; say which it is: "
            f"{command} --split-from {_quoted(folders[0])}=SPLIT"
        )
    return own or outer or (split_named(top) if top.isalpha() else None)  # not of "test_run_3", a name of something


def _names_of(path: str, top: str) -> list[str]:
    """Return the names by which ``--split-from`` can mean a shard, the closest first."""
    *folders, _ = path.split("/")
    return [name for name in (NUMBER.sub("", _stem(path)), *reversed(folders), top) if name]


def _asked_name(path: str, top: str) -> str:
    """Return the name by which the user is asked for the split: of the folder, or of shards without their number."""
    *folders, _ = path.split("/")
    return folders[-1] if folders else NUMBER.sub("", _stem(path)) or top


def _stem(path: str) -> str:
    return path.rpartition("/")[2][: -len(SHARD)]


def _index_only(place: Path) -> str:
    return f"feedline shard --index-only {shell_word(place)}"


def _quoted(name: str) -> str:
    return name if name.replace("-", "a").replace("_", "a").isalnum() else f'"{name}"'

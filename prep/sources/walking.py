"""Walking a folder of the user: every file below it once, and what is left out on the way, counted.

A folder may hold broken links, links that lead back up, folders of the file system that nobody may read, and what
feedline made of it. None of them may be taken for data, and none may be passed over without a word.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..base.errors import SourceError
from ..base.manifest import MANIFEST
from ..base.output import PARTIAL
from .naming import (
    place,
    split_named,
)
from .reading import Reading
from .strange import (
    broken_links,
)

MAX_DEPTH = 32  # folders below a source
# Folders that file systems and Windows keep for themselves.
NOT_OURS = frozenset(("lost+found", "$recycle.bin", "system volume information", "@eadir", "__macosx"))


def walk_folder(
    folder: Path, reading: Reading, left_out: "Counter[str] | None" = None
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield (path from the folder's own name on, entry) of the files below it.

    Hidden folders, shards and roots that are finished or in the making, and the folders of file systems are left out,
    and counted. The output, ``reading.skip``, is passed over. Raises SourceError for broken links, and for a folder
    that cannot be read.
    """
    left_out = Counter() if left_out is None else left_out
    waiting = [(_top_name(folder, reading), folder)]
    broken: list[Path] = []
    while waiting:
        name, place_ = waiting.pop()
        try:
            with os.scandir(place_) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise SourceError(
                f"cannot read the folder {place_}: {error.strerror}; allow it, or give other folders"
            ) from error
        made_here = any(entry.name in (MANIFEST, PARTIAL) for entry in entries)
        if place_ != folder and reading.skip and reading.skip.exists() and place_.samefile(reading.skip):
            continue
        if place_ != folder and made_here:
            left_out[f"{place_.name}/"] += 1
            continue
        for entry in entries:
            below = f"{name}/{entry.name}"
            if _is_folder(entry):
                if entry.name.startswith(".") or entry.name.lower() in NOT_OURS:
                    left_out[f"{entry.name}/"] += 1
                elif not (entry.is_symlink() and _leads_up(entry)):
                    if below.count("/") >= MAX_DEPTH:
                        raise SourceError(
                            f"{entry.path} lies more than {MAX_DEPTH} folders deep; give a folder below it"
                        )
                    waiting.append((below, Path(entry.path)))
            elif entry.is_symlink() and not Path(entry.path).exists():
                broken.append(Path(entry.path))
            elif entry.is_file():
                yield below, entry
            else:
                left_out["no regular file"] += 1
    if broken:
        raise broken_links(sorted(broken))


def _top_name(folder: Path, reading: Reading) -> str:
    """Return the name of a source, the first part of its files' paths: it may be the only one that says the split."""
    top = folder.resolve().name
    split = reading.splits.of_source(Path(top))
    try:
        is_known = place(f"{top}/n00000000/x.jpg", "", "train") is not None
    except SourceError:
        is_known = False
    if top in reading.splits.chosen or (is_known and split == split_named(top)):
        return top
    return split or "source"


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _leads_up(entry: "os.DirEntry[str]") -> bool:
    """Whether a link leads to a folder that holds it, so that following it would have no end."""
    target = os.path.realpath(entry.path)
    return Path(os.path.realpath(Path(entry.path).parent)).is_relative_to(target)

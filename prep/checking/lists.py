"""Checks of listed splits: what the lists say of each other and of the manifest, and which files they leave out.

The images themselves are checked as those of class folders. Here belongs what no single image shows: a list with
another number of images, an image that is listed twice or in two splits, and files in the root that no list names.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..base.errors import DatasetError
from ..base.lock import HOLDER, LOCK
from ..base.manifest import MANIFEST, SHARDS, Manifest
from ..base.output import PARTIAL
from ..roots.lists import list_path, read_list
from ..roots.samples import split_folder

OWN = frozenset((MANIFEST, SHARDS, PARTIAL, LOCK, HOLDER))  # what feedline writes into a root


@dataclass
class Lists:
    """What the lists of a root hold."""

    files: dict[str, list[tuple[str, int]]] = field(default_factory=dict[str, list[tuple[str, int]]])
    """{split: (path below the root, class index) of each image that can be checked}."""
    problems: list[str] = field(default_factory=list[str])
    named: dict[str, str] = field(default_factory=dict[str, str])
    """{path below the root: split}."""


def read_lists(root: Path, manifest: Manifest) -> Lists:
    """Read the lists of all splits that have one, and compare them with the manifest and with each other."""
    found, labels = Lists(), {entry.id: label for label, entry in enumerate(manifest.classes)}
    for split, held in manifest.splits.items():
        if not (held.listed or held.columns):
            continue
        path, counts = list_path(root, split), Counter[int]()
        files: list[tuple[str, int]] = []
        try:
            for number, image in enumerate(read_list(path), 1):
                name, label = image.file_name, labels.get(image.label)
                if name in found.named:
                    other = list_path(root, found.named[name]).name
                    found.problems.append(f"{path}, line {number}, names {name}, which {other} names before")
                elif label is None:
                    found.problems.append(f"{path}, line {number}, has the class {image.label}, none of the manifest")
                else:
                    found.named[name] = split
                    files.append((name, label))
                    counts[label] += 1
        except DatasetError as error:
            found.problems.append(str(error))
        else:
            found.problems += _miscounts(path, counts, manifest, split)
        if not held.listed:  # its folders are checked, and the list only holds the columns
            found.problems += [
                f"{path} names {name}, which is missing" for name, _ in files if not (root / name).exists()
            ]
        found.files[split] = files
    return found


def _miscounts(path: Path, counts: Counter[int], manifest: Manifest, split: str) -> Iterator[str]:
    for label, expected in enumerate(manifest.splits[split].per_class):
        if counts[label] != expected:
            name = manifest.classes[label].id
            yield f"{path} lists {counts[label]} images of {name}, the manifest says {expected}"


def unlisted(root: Path, manifest: Manifest, named: Mapping[str, str]) -> list[str]:
    """Return a note for each folder of the root with files that no list names, and that are no part of a split."""
    folders = {str(split_folder(root, name, held)) for name, held in manifest.splits.items() if not held.listed}
    own = OWN | {list_path(root, split).name for split in manifest.splits}
    notes: list[str] = []
    for place, below, files in os.walk(root):
        here = Path(place)
        at_root = here == root
        below[:] = sorted(
            name
            for name in below
            if str(here / name) not in folders and not name.startswith(".") and not (at_root and name in own)
        )
        prefix = "" if at_root else here.relative_to(root).as_posix() + "/"
        strangers = sorted(name for name in files if prefix + name not in named and not (at_root and name in own))
        if strangers:
            notes.append(
                f"{place} has {len(strangers)} files that no list names, such as {strangers[0]}; "
                f"every loader ignores them"
            )
    return notes

"""Other lists of the classes of validation images: compared with the bundled labels, never used instead.

A source may hold the devkit, Kaggle's LOC_val_solution.csv or valprep.sh in addition to the archives. If one of them
contradicts the bundled list for a single image, the error could not be noticed by a later step, so the command
stops. A list read with the wrong key (the devkit's id is not the sorted index) is found in the same way.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..archives.compressed import open_tar
from ..archives.mat import read_structs
from ..archives.tar import read_member
from ..base.errors import SourceError
from ..labels.imagenet import validation_labels

DEVKIT = re.compile(r"ILSVRC2012_devkit_t[0-9]+(?:\.tar)?(?:/.*)?")
META, TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"
# "ILSVRC2012_val_00000001,n01751748 111 ..." (Kaggle), "mv ILSVRC2012_val_00000001.JPEG n01751748/" (valprep.sh).
LABEL = re.compile(rb"(ILSVRC2012_val_[0-9]{8})(?:\.(?i:jpeg|jpg|png))?[ \t,]+(n[0-9]{8})")
TEXTS = (".csv", ".sh", ".txt")
MAX_TEXT = 16 * 1024 * 1024  # bytes; valprep.sh has 2.2 MB, Kaggle's list 3 MB


@dataclass(frozen=True)
class LabelList:
    """The labels in one source."""

    where: str
    labels: dict[str, str]
    """{file name: wnid}"""
    train_images: Mapping[str, int] = field(default_factory=dict[str, int])
    """Training images of each class, if the devkit states them."""


def check_labels(found: LabelList) -> None:
    """Raise SourceError for the first label that differs from the bundled one."""
    official = validation_labels()
    for name, wnid in found.labels.items():
        if official.get(name) != wnid:
            raise SourceError(
                f"{found.where} says {name} is {wnid}, the official list says "
                f"{official.get(name, 'that there is none')}; find out which was changed, or leave {found.where} out"
            )


def labels_in_file(path: Path) -> LabelList | None:
    """Return the labels in a text file, or None if it has none or is longer than any list."""
    return labels_in_text(path.read_bytes(), str(path)) if path.stat().st_size <= MAX_TEXT else None


def labels_in_text(data: bytes, where: str) -> LabelList | None:
    """Return the labels in a text, or None if it has none. Lines end with LF or CRLF."""
    found = LABEL.findall(data)
    return LabelList(where, {f"{name.decode()}.JPEG": wnid.decode() for name, wnid in found}) if found else None


def devkit_folder(meta: Path) -> LabelList:
    """Return the labels of an unpacked devkit; ``meta`` is its ``data/meta.mat``."""
    truth = meta.with_name(TRUTH)
    files = {path.name: path.read_bytes()[:MAX_TEXT] for path in (meta, truth) if path.is_file()}
    return _devkit(files, str(meta.parent))


def devkit_archive(path: Path) -> LabelList:
    """Return the labels of a devkit: a .tar.gz, or the .tar that some browsers make from it."""
    files: dict[str, bytes] = {}
    with open_tar(path) as (file, members):
        for member in members:
            name = member.name.rpartition("/")[2]
            if name in (META, TRUTH) and not member.is_directory and member.size <= MAX_TEXT:
                files[name] = read_member(file, member, str(path))
    return _devkit(files, str(path))


def _devkit(files: dict[str, bytes], where: str) -> LabelList:
    if set(files) != {META, TRUTH}:
        raise SourceError(f"{where} lacks {' and '.join({META, TRUTH} - set(files))}; download the devkit again")
    wnid_of: dict[int, str] = {}
    images: dict[str, int] = {}
    rows = read_structs(files[META], f"{META} in {where}")
    try:
        for row in rows:
            identifier, wnid, count = (row.get(key) for key in ("ILSVRC2012_ID", "WNID", "num_train_images"))
            if isinstance(identifier, float) and isinstance(wnid, str) and not row.get("num_children"):
                wnid_of[int(identifier)] = wnid  # rows with children are inner nodes, with ids beyond 1000
                images |= {wnid: int(count)} if isinstance(count, float) else {}
        truth = [wnid_of[int(line)] for line in files[TRUTH].split()]
    except (ValueError, KeyError, OverflowError) as error:
        raise SourceError(f"{TRUTH} in {where} does not fit its {META} ({error}); download the devkit again") from error
    return LabelList(where, {f"ILSVRC2012_val_{i:08d}.JPEG": wnid for i, wnid in enumerate(truth, 1)}, images)

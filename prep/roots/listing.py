"""The names and classes of a split's images without an object for each, for loaders of many millions of files.

A ``Listing`` holds a few arrays: the bytes of all names one behind the other, where each begins, the class indexes,
and the folders. A large split is listed once: see ``kept_listings``. The listing is kept in the user's cache folder and
mapped from there, so that all ranks and workers of a machine share one copy. Loaders write nothing into the data: it
may belong to somebody else, or be mounted read-only.
"""

import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..base.errors import DatasetError
from ..base.manifest import Manifest
from ..base.mapping import MappedFile
from ..images.files import image_names
from .samples import class_folder, is_listed, listed_files

HEADER = 512  # bytes of the file before the arrays
SECTIONS = ("names", "starts", "labels", "runs", "run_folders", "folders", "changed")


@dataclass(frozen=True, eq=False)
class Listing:
    """A split's images by sample index. Many threads can read at the same time, and it can be pickled."""

    root: Path
    labels: npt.NDArray[np.int64]
    """The class index of each image, int64 (images,)."""
    names: npt.NDArray[np.uint8]
    """The bytes of all file names, as the system spells them."""
    starts: npt.NDArray[Any]
    """Where each name begins in them and the last one ends, uint32 or uint64 (images + 1,)."""
    runs: npt.NDArray[np.int64]
    """The first sample index of each run of images in one folder, int64 (runs,)."""
    run_folders: npt.NDArray[np.int32]
    """The number of the folder of each run."""
    folders: npt.NDArray[np.uint8]
    """The paths of the folders below the root, as UTF-8 with escapes, joined by zero bytes."""
    changed: npt.NDArray[np.int64]
    """When each folder was changed last, in nanoseconds since 1970; -1 for a missing one."""
    file: Path | None = None
    """The file that it is mapped from."""
    identity: str = ""
    """What it was made from; see ``kept_listings``."""

    def __post_init__(self) -> None:
        # Of a few items for each folder: plain lists are found in faster than arrays.
        object.__setattr__(self, "_paths", [str(self.root / name) for name in self.folder_names()])
        object.__setattr__(self, "_firsts", self.runs.tolist())

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """Return the name of an image's file. Raises IndexError."""
        return os.fsdecode(self.names[self.starts.item(index) : self.starts.item(index + 1)].tobytes())

    def path(self, index: int) -> str:
        """Return the path of an image's file. Raises IndexError."""
        firsts: list[int] = self._firsts  # type: ignore[attr-defined] # pyright: ignore
        paths: list[str] = self._paths  # type: ignore[attr-defined] # pyright: ignore
        folder = self.run_folders.item(bisect_right(firsts, index) - 1)
        return os.path.join(paths[folder], self.name(index))  # noqa: PTH118 - one for each image of an epoch

    def folder_names(self) -> list[str]:
        """Return the folders below the root."""
        text = self.folders.tobytes().decode("utf-8", "surrogatepass")
        return text.split("\0") if text else []

    def digest(self) -> str:
        """Return what tells it from a listing of the same root at another time."""
        return sha256(self.identity.encode() + self.changed.tobytes()).hexdigest()

    def write(self, file: BinaryIO, identity: str) -> None:
        """Write the arrays behind a header that says where each lies."""
        file.write(bytes(HEADER))
        places: dict[str, tuple[int, int, str]] = {}
        for section in SECTIONS:
            array: npt.NDArray[Any] = getattr(self, section)
            file.write(bytes(-file.tell() % 8))
            places[section] = file.tell(), array.size, array.dtype.str
            file.write(array.data)
        header = json.dumps({"identity": identity, **places}).encode()
        file.seek(0)
        file.write(header.ljust(HEADER))

    def __reduce__(self) -> tuple[Callable[..., "Listing"], tuple[Any, ...]]:
        if self.file is None:
            arrays = self.labels, self.names, self.starts, self.runs, self.run_folders, self.folders, self.changed
            return Listing, (self.root, *arrays)
        return _mapped_again, (self.root, self.file, self.digest())


def map_listing(root: Path, file: Path) -> Listing:
    """Return a listing that was written. Raises OSError, and ValueError for another file."""
    mapped = MappedFile(file).data
    header = json.loads(mapped[:HEADER].tobytes())
    identity = str(header["identity"])
    arrays: dict[str, npt.NDArray[Any]] = {}
    for section in SECTIONS:
        start, count, kind = header[section]
        dtype = np.dtype(kind)
        if start + count * dtype.itemsize > len(mapped):
            raise ValueError(f"{file} is cut short")
        arrays[section] = mapped[start : start + count * dtype.itemsize].view(dtype)
    return Listing(root, **{name: arrays[name] for name in SECTIONS}, file=file, identity=identity)


def _mapped_again(root: Path, file: Path, digest: str) -> Listing:
    """Return the listing that another process has mapped."""
    try:
        found = map_listing(root, file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"cannot read {file}, a listing of {root}: {error}; open the loader again") from error
    if found.digest() != digest:
        raise DatasetError(f"{root} was listed again while the workers started; open the loader again")
    return found


def list_split(root: Path, manifest: Manifest, split: str) -> Listing:
    """Return the listing of a labelled split as it is on the disk. Raises what ``list_samples`` raises."""
    listed = is_listed(root, manifest, split)
    return listing_of(root, (_runs_of_list if listed else _runs_of_folders)(root, manifest, split))


@dataclass(frozen=True)
class Run:
    """Images that follow one another and lie in one folder."""

    folder: str
    """Below the root, with forward slashes."""
    label: int
    names: Sequence[str]
    changed: int


def _runs_of_folders(root: Path, manifest: Manifest, split: str) -> Iterator[Run]:
    for label, entry in enumerate(manifest.classes):
        folder = class_folder(root, split, manifest.splits[split], entry)
        changed = changed_ns(folder)  # before its names are read: a later change makes the listing old
        yield Run(folder.relative_to(root).as_posix(), label, image_names(folder), changed)


def _runs_of_list(root: Path, manifest: Manifest, split: str) -> Iterator[Run]:
    changed: dict[str, int] = {}
    held, names, last = ("", -1), list[str](), 0
    for _, path, label, _ in listed_files(root, manifest, split):
        folder, _, name = path.rpartition("/")
        if folder not in changed:
            changed[folder] = changed_ns(root / folder)
        if (folder, label) != held:
            if names:
                yield Run(held[0], held[1], names, last)
            held, names, last = (folder, label), [], changed[folder]
        names.append(name)
    if names:
        yield Run(held[0], held[1], names, last)


def changed_ns(folder: Path | str) -> int:
    """Return when a folder was changed last, in nanoseconds since 1970; -1 if it is missing."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - of 20,000 folders
    except OSError:
        return -1


def listing_of(root: Path, runs: Iterable[Run]) -> Listing:
    """Return a listing of runs."""
    names, lengths, labels, counts = bytearray(), list[npt.NDArray[np.uint16]](), list[int](), list[int]()
    folders, run_folders, changed = dict[str, int](), list[int](), list[int]()
    for run in runs:
        if run.folder not in folders:
            folders[run.folder] = len(folders)
            changed.append(run.changed)
        if not run.names:
            continue
        joined = os.fsencode("\0".join(run.names))
        ends = np.flatnonzero(np.frombuffer(joined + b"\0", np.uint8) == 0)
        lengths.append((np.diff(ends, prepend=-1) - 1).astype(np.uint16))  # a name has 255 characters at most
        names += joined.replace(b"\0", b"")
        labels.append(run.label)
        counts.append(len(run.names))
        run_folders.append(folders[run.folder])
    total = sum(counts)
    starts = np.zeros(total + 1, np.uint32 if len(names) < 2**32 else np.uint64)
    if total:
        np.cumsum(np.concatenate(lengths), out=starts[1:])
    return Listing(
        root,
        labels=np.repeat(np.array(labels, np.int64), counts),
        names=np.frombuffer(names, np.uint8),
        starts=starts,
        runs=np.cumsum([0, *counts[:-1]], dtype=np.int64)[: len(counts)],
        run_folders=np.array(run_folders, np.int32),
        folders=np.frombuffer("\0".join(folders).encode("utf-8", "surrogatepass"), np.uint8),
        changed=np.array(changed, np.int64),
    )

"""Where shards go: a folder of this machine, or a URL. Both continue an interrupted run, and get the manifest last.

A ``Folder`` is written in place, file by file under temporary names. What goes to a URL is in ``upload``.
"""

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...base.errors import DatasetError, OutputError
from ...base.lock import claimed
from ...base.manifest import MANIFEST, SHARDS, ShardManifest, read_shard_manifest
from ...base.output import (
    PARTIAL,
    OutputJob,
    finish_output,
    has_files_of_failed_sources,
    remove_partial,
    require_room,
    sources_may_be_repaired,
    start_output,
)
from ..columns import SUFFIX as COLUMNS
from ..found import is_root
from ..index import SUFFIX as INDEX
from ..sidecars import DALI, set_indexes, write_all
from .shard import ShardTask, Written, write_shard

OF_A_SHARD = {".tar", INDEX, COLUMNS, DALI}
"""The endings of the files that a shard has."""


class Writer(Protocol):
    """Writes one shard, in any process: it can be pickled."""

    def __call__(self, task: ShardTask, count: Callable[[int], None], stop: threading.Event) -> Written:
        """Write a shard and its indexes, unless a run before has done so. ``count`` receives its samples."""
        ...


class Destination(Protocol):
    """The place of a set of shards, which one run writes."""

    @property
    def name(self) -> object:
        """Its path or URL, for messages."""
        ...

    def claimed(self, job: OutputJob) -> AbstractContextManager[None]:
        """Keep other processes from writing there for a block, if the place can do that.

        If the block ends by an error of the sources, the same command may begin again with repaired ones in a folder.
        """
        ...

    def is_begun(self) -> bool:
        """Return whether there are unfinished files."""
        ...

    def manifest(self) -> ShardManifest | None:
        """Return the manifest of finished shards, None if there is none. Raises OutputError for something else."""
        ...

    def require_room(self, size: int, largest: int) -> None:
        """Raise OutputError if there is no room for ``size`` bytes, the largest shard of which has ``largest``."""
        ...

    def start(self, job: OutputJob) -> Path:
        """Start or continue a job, and return a folder of this machine for its unfinished files. Raises OutputError."""
        ...

    def writer(self) -> Writer:
        """Return what writes the shards of the job that was started."""
        ...

    def check(self, manifest: ShardManifest) -> None:
        """Raise OutputError unless every shard has the size that was written."""
        ...

    def finish(self, manifest: ShardManifest) -> None:
        """Write the indexes of the set, then the manifest, and remove the unfinished files."""
        ...

    def clean(self) -> None:
        """Remove the unfinished files of a run that was killed after it wrote the manifest."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, or one that all machines of a cluster share."""

    out: Path

    @property
    def name(self) -> Path:
        return self.out

    @contextmanager
    def claimed(self, job: OutputJob) -> Generator[None]:
        with claimed(self.out, "shard"), sources_may_be_repaired(self.out, job):
            yield

    def is_begun(self) -> bool:
        return (self.out / PARTIAL).exists()

    def manifest(self) -> ShardManifest | None:
        if not (self.out / MANIFEST).is_file():
            return None
        if is_root(self.out):
            raise OutputError(prepared_root(self.out, self.out / SHARDS))
        try:
            return read_shard_manifest(self.out)
        except DatasetError as error:
            raise OutputError(
                f"{self.out} holds something else ({error}); choose another directory with --out"
            ) from error

    def require_room(self, size: int, largest: int) -> None:
        require_room(self.out, size)

    def start(self, job: OutputJob) -> Path:
        return start_output(self.out, job)

    def writer(self) -> Writer:
        return FolderWriter(self.out)

    def check(self, manifest: ShardManifest) -> None:
        for split in manifest.splits.values():
            for shard in split.shards:
                path = self.out / shard.name
                if not path.is_file() or path.stat().st_size != shard.bytes:
                    raise OutputError(not_as_written(path, shard.bytes))

    def finish(self, manifest: ShardManifest) -> None:
        if has_files_of_failed_sources(self.out / PARTIAL):
            for name in shards_of_before([entry.name for entry in self.out.iterdir()], manifest):
                (self.out / name).unlink()
        write_all(set_indexes(self.out, manifest))
        finish_output(self.out, manifest)

    def clean(self) -> None:
        if (self.out / PARTIAL).exists():
            remove_partial(self.out)


@dataclass(frozen=True)
class FolderWriter:
    """Writes shards into a folder."""

    out: Path

    def __call__(self, task: ShardTask, count: Callable[[int], None], stop: threading.Event) -> Written:
        return write_shard(self.out, self.out / PARTIAL, task, count, stop)


def shards_of_before(names: Iterable[str], manifest: ShardManifest) -> list[str]:
    """Return the files of shards that ``manifest`` has not, among the names in a destination.

    They are of a run before the sources were repaired, if these now make fewer; a glob would find them. The destination
    held nothing else when that run began.
    """
    written = {Path(shard.name).stem for split in manifest.splits.values() for shard in split.shards}
    prefixes = {stem.rpartition("-")[0] for stem in written}
    found: list[str] = []
    for path in [Path(name) for name in names]:
        prefix, _, number = path.stem.rpartition("-")
        if path.suffix in OF_A_SHARD and path.stem not in written and prefix in prefixes:
            found += [path.name] if number.isdecimal() and len(number) == 6 else []
    return found


def prepared_root(place: object, better: object) -> str:
    """Return the message for a destination that is a prepared root."""
    return f"{place} is a prepared root; give another directory with --out, such as {better}"


def not_as_written(shard: object, size: int) -> str:
    """Return the message for a shard that another program has replaced."""
    return (
        f"{shard} is not the shard of {size} bytes that was written: something else writes there; "
        f"stop it and choose another directory with --out"
    )

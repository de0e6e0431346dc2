"""Shards that go to a URL: each is written on the local disk, uploaded with its indexes, and removed here.

    URL/.partial/job.json         what is written, as in a folder
    URL/.partial/<shard>.json     a shard that is uploaded: its size, sha256, and the store's mark of each object

The note of a shard follows its objects, and the manifest follows all shards. So an upload that was cut is never taken
for a finished one. A run that is continued keeps the shards whose objects have the size and the mark of the note; if
the store has no marks, it reads them and compares the sha256. No store can lock a URL: two runs of one job at the
same time write the same bytes, and a run of another job is refused.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from ...base.documents import from_json, json_bytes
from ...base.errors import OutputError
from ...base.lock import LOCK_FILES
from ...base.manifest import MANIFEST, SHARDS, ShardManifest
from ...base.output import JOB, PARTIAL, OutputJob, may_begin_again, noting_failed_sources, require_room
from ...limits.cpus import usable_cpus
from ...processes.temporary import temporary_folder
from ...store.objects import Objects, Stored
from ...store.urls import Url
from ..columns import columns_path
from ..index import index_path
from ..sidecars import dali_path, set_indexes
from .destination import Writer, not_as_written, prepared_root, shards_of_before
from .shard import ShardTask, Written, write_shard

PURPOSE = "shard"


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """The note of a shard whose upload is finished."""

    written: Written
    objects: dict[str, Stored]
    """{object: how the store described it} of the shard and its indexes."""


class Remote:
    """Shards behind a URL, as a ``Destination``."""

    def __init__(self, url: Url, scratch: Path, workers: int | None) -> None:
        """``scratch`` is a folder of this machine, for what one process copies before it writes."""
        self._url, self._scratch, self._workers = url, scratch, workers or usable_cpus()
        self._objects = objects_of(url)

    @property
    def name(self) -> Url:
        return self._url

    def claimed(self, job: OutputJob) -> AbstractContextManager[None]:
        return noting_failed_sources(job, self._job, self._write_job)

    def is_begun(self) -> bool:
        return PARTIAL in self._objects.names()

    def manifest(self) -> ShardManifest | None:
        data = self._objects.read_if_there(MANIFEST)
        if data is None:
            return None
        if b'"feedline-dataset"' in data[:200]:
            raise OutputError(prepared_root(self._url, self._url / SHARDS))
        try:
            return from_json(data, ShardManifest)
        except ValidationError as error:
            raise OutputError(
                f"{self._url / MANIFEST} is no manifest of shards; choose another URL with --out"
            ) from error

    def require_room(self, size: int, largest: int) -> None:
        require_room(self._scratch, min(size, largest * self._workers))

    def start(self, job: OutputJob) -> Path:
        before = self._job()
        if before is None:
            for name in self._objects.names():
                if name not in (PARTIAL, SHARDS, *LOCK_FILES):
                    raise OutputError(f"{self._url} holds something else ({name}); choose another URL with --out")
            self._write_job(job)
        elif may_begin_again(before, job):
            self._objects.remove(self._notes())  # other sources give other shards the same names
            self._write_job(replace(job, began_again=True))
        elif before != job:
            raise OutputError(
                f"{self._url} holds an unfinished {before.command} of other sources or settings; run that command "
                f"again to finish it, or choose another URL with --out"
            )
        return self._scratch

    def writer(self) -> Writer:
        return Uploader(self._url)

    def check(self, manifest: ShardManifest) -> None:
        sizes = self._objects.sizes()
        for split in manifest.splits.values():
            for shard in split.shards:
                if sizes.get(shard.name) != shard.bytes:
                    raise OutputError(not_as_written(self._url / shard.name, shard.bytes))

    def finish(self, manifest: ShardManifest) -> None:
        job = self._job()
        if job is not None and (job.sources_failed or job.began_again):
            self._objects.remove(shards_of_before(self._objects.names(), manifest))
        for path, data in set_indexes(Path(), manifest).items():
            self._objects.write(path.as_posix(), data)
        self._objects.write(MANIFEST, json_bytes(manifest, indent=1) + b"\n")
        self.clean()

    def clean(self) -> None:
        # The job goes last: as long as a note is there, the next run knows whose it is.
        self._objects.remove([*self._notes(), f"{PARTIAL}/{JOB}"])

    def _notes(self) -> list[str]:
        return [name for name in self._objects.sizes(PARTIAL) if not name.endswith(f"/{JOB}")]

    def _job(self) -> OutputJob | None:
        """Return the job whose unfinished files are there, None if there are none. Raises OutputError."""
        data = self._objects.read_if_there(f"{PARTIAL}/{JOB}")
        if data is None:
            return None
        try:
            return from_json(data, OutputJob)
        except ValidationError:
            raise OutputError(
                f"{self._url / PARTIAL / JOB} is no job of feedline; choose another URL with --out"
            ) from None

    def _write_job(self, job: OutputJob) -> None:
        self._objects.write(f"{PARTIAL}/{JOB}", json_bytes(job, indent=1) + b"\n")


@dataclass(frozen=True)
class Uploader:
    """Writes shards to a URL, through the folder for temporary files of the machine that it runs on."""

    url: Url

    def __call__(self, task: ShardTask, count: Callable[[int], None], stop: threading.Event) -> Written:
        objects, note = objects_of(self.url), f"{PARTIAL}/{task.name}.json"
        held = self._finished(objects, note, task)
        if held is not None:
            count(len(task.samples))
            return held
        with temporary_folder(PURPOSE) as folder:
            partial = folder / PARTIAL
            partial.mkdir()
            written = write_shard(folder, partial, task, count, stop)
            stored = {file.name: objects.put(file.name, file, stop) for file in _files(folder, task)}
        objects.write(note, json_bytes(Uploaded(written=written, objects=stored), indent=1) + b"\n")
        return written

    def _finished(self, objects: Objects, note: str, task: ShardTask) -> Written | None:
        data = objects.read_if_there(note)
        if data is None:
            return None
        try:
            found = from_json(data, Uploaded)
        except ValidationError:
            return None
        sums = {task.name: found.written.shard.sha256, **found.written.indexes}
        names = [file.name for file in _files(Path(), task)]
        whole = all(
            name in found.objects and name in sums and objects.holds(name, found.objects[name], sums[name])
            for name in names
        )
        return found.written if whole else None


@cache
def objects_of(url: Url) -> Objects:
    """Return the objects below a URL, with one set of connections for a process. Raises OutputError, StoreError."""
    return Objects(url)


def _files(folder: Path, task: ShardTask) -> list[Path]:
    """Return the files of a shard, the shard first."""
    shard = folder / task.name
    return [shard, index_path(shard), dali_path(shard), *([columns_path(shard)] if task.columns else [])]

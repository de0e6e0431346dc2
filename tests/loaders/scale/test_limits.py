"""Limits of the system that a loader reaches: the sentence of the doctor, and no process that waits for ever."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import LoaderError

LOAD = """
import sys
from pathlib import Path
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import FeedlineError
name, root, size = sys.argv[1:]
spec = LoaderSpec(root=Path(root), batch_size=32, image_size=int(size), workers=2)
try:
    with open_loader(name, spec) as loader:
        print(sum(len(batch.indexes) for batch in loader))
except FeedlineError as error:
    print(f"{type(error).__name__}: {error}")
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def load(*before: str, name: str, root: Path, size: int = 32, **environment: str) -> str:
    """Load an epoch in a fresh process, started through the command ``before``; return what it printed."""
    command = [*before, sys.executable, "-c", LOAD, name, str(root), str(size)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
    )
    return done.stdout or done.stderr


def test_threads_that_cannot_start_end_those_that_could(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would wait for them for ever."""
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("feedline"):
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(LoaderError, match=r"threaded cannot start 4 threads: .* use a smaller --workers"):
        open_loader("threaded", LoaderSpec(root=root, image_size=32, workers=4))
    assert len(started) == 2 and not any(thread.is_alive() for thread in started)


@linux_only
def test_workers_work_with_a_long_folder_for_temporary_files(root: Path, tmp_path: Path) -> None:
    """Batch systems have paths longer than a socket's may be."""
    place = tmp_path / ("long" * 30)
    place.mkdir()
    assert load(name="imagefolder", root=root, TMPDIR=str(place)) == "84\n"
    assert not list(place.glob("pymp-*"))


@linux_only
def test_shared_memory_that_is_too_small_is_named_with_the_way_out(root: Path) -> None:
    """The sizes, and the loader that does without."""
    if os.getuid() or shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("needs the right to mount")
    small = 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"'
    told = load("unshare", "-m", "sh", "-c", small, "sh", name="imagefolder", root=root, size=224)
    assert told.startswith("LoaderError: cannot receive batches from 2 workers: /dev/shm has 4 MB, which")
    assert "use --loader threaded, which does not use it, fewer --workers, a smaller --batch-size" in told


@linux_only
@pytest.mark.parametrize("files", [14, 18])
def test_shared_memory_without_room_is_named_and_nothing_waits(root: Path, files: int) -> None:
    """Each lock and each batch is a file there: too few to start the second worker, then to pass a whole batch."""
    if os.getuid() or shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("needs the right to mount")
    few = f'mount -t tmpfs -o nr_inodes={files} tmpfs /dev/shm && exec "$@"'
    told = load("unshare", "-m", "--propagation", "private", "sh", "-c", few, "sh", name="imagefolder", root=root)
    assert re.match(r"LoaderError: cannot (start|receive batches from) 2 workers: /dev/shm has", told), told


@pytest.fixture
def seven_tasks() -> Iterator[Path]:
    """Yield the file of a cgroup that may have seven threads and processes, to which a process adds itself."""
    for top in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        group = top / f"feedline-test-{uuid.uuid4().hex[:8]}"
        with suppress(OSError):
            group.mkdir()
            try:
                (group / "pids.max").write_text("7")
            except OSError:  # no such limit there
                group.rmdir()
                raise
            break
    else:
        pytest.skip("needs the right to make cgroups")
    yield group / "cgroup.procs"
    remove(group)


def remove(group: Path) -> None:
    """Remove a cgroup. Workers leave it a moment after the process that started them has ended."""
    deadline = time.monotonic() + 60
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_workers_that_can_start_no_thread_are_not_waited_for(root: Path, seven_tasks: Path) -> None:
    """A worker passes its batches from a thread. Without it, the loop would wait for the batch for ever."""
    told = load("sh", "-c", f'echo $$ > {seven_tasks} && exec "$@"', "sh", name="imagefolder", root=root)
    assert "may have 7 threads and processes" in told
    assert "so threads and worker processes cannot start; use a smaller --workers" in told


STARTING = """
import os, subprocess
from feedline.prep.limits.reached import limit_reached
held = []
try:
    while len(held) < 9:
        held.append(subprocess.Popen(["true"]))
except OSError as error:
    print(limit_reached(error))
for process in held:
    process.wait()
_, pipe = os.pipe()
os.set_blocking(pipe, False)
try:
    while True:
        os.write(pipe, bytes(65536))
except OSError as error:
    print(repr(error), limit_reached(error))
"""


def test_a_full_pipe_is_no_limit_on_processes(seven_tasks: Path) -> None:
    """The system gives both the same number and the same words."""
    line = f'echo $$ > {seven_tasks} && exec "$@"'
    done = subprocess.run(["sh", "-c", line, "sh", sys.executable, "-c", STARTING], capture_output=True, text=True)
    limit, pipe = done.stdout.splitlines()
    assert "may have 7 threads and processes" in limit, done.stderr
    assert pipe == "BlockingIOError(11, 'Resource temporarily unavailable') None"

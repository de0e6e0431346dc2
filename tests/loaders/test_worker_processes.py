"""Worker processes and what befalls them: signals to the whole group, a kill, a stop, memory that runs out."""

import errno
import logging
import multiprocessing.queues
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from feedline.loaders import Loader, open_loader
from feedline.loaders.support import worker_processes
from feedline.loaders.support.passing import pass_on_failures
from feedline.prep import WorkerLost
from feedline.prep.limits.memory import memory_now
from feedline.prep.processes.endings import how_it_ended

from ..processes import finished
from .contract import require_loader, spec_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

HERE = psutil.Process()

# A worker that never returns its batch; the process waits for it.
STUCK = """
import os, sys, time
from feedline.loaders import open_loader, LoaderSpec
from pathlib import Path

def hang(image, generator):
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    spec = LoaderSpec(root=Path(sys.argv[1]), image_size=32, batch_size=10, workers=1, sample_transform=hang)
    next(iter(open_loader("imagefolder", spec)))
"""

# The folder of sockets is that of the script, which runs on; the process of the loop is killed with its worker at work.
BELOW = """
import multiprocessing, os, sys, time
from multiprocessing import util
from pathlib import Path
from feedline.loaders import open_loader, LoaderSpec

def loop():
    spec = LoaderSpec(root=Path(sys.argv[1]), image_size=32, batch_size=10, workers=1)
    next(iter(open_loader("imagefolder", spec)))
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    folder = util.get_temp_dir()
    process = multiprocessing.get_context("fork").Process(target=loop)
    process.start()
    process.join()
    if process.exitcode != -9:
        sys.exit("the loop ended by itself")
    sys.stdin.read()
    print(os.path.isdir(folder))
"""

# A worker that has got no further than its start when the process of the loop is killed.
LATE = """
import multiprocessing, os, time
from feedline.loaders.support.worker_processes import beginning_of_workers

def work():
    begin, parent = beginning_of_workers(), multiprocessing.parent_process().pid
    while os.getppid() == parent:
        time.sleep(0.01)
    begin(0)
    time.sleep(600)

if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    print(process.pid, flush=True)
    os.kill(os.getpid(), 9)
"""

# Not one more file can be opened: not by torch for a tensor, and not to look at a worker or at the memory.
NO_FILES = """
import os, psutil, resource, sys
from contextlib import suppress
from pathlib import Path
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import LoaderError

if __name__ == "__main__":
    spec = LoaderSpec(root=Path(sys.argv[1]), image_size=32, batch_size=4, workers=2)
    with open_loader(sys.argv[2], spec) as loader:
        next(iter(loader))
        batches = iter(loader)
        for process in (*psutil.Process().children(), psutil.Process()):
            last = max(map(int, os.listdir(f"/proc/{process.pid}/fd")))
            process.rlimit(resource.RLIMIT_NOFILE, (last + 1, last + 100))
        with suppress(OSError):
            while True:
                os.open(os.devnull, os.O_RDONLY)
        try:
            list(batches)
        except LoaderError as error:
            print(error)
"""

# The worker takes more memory than the group of this process may use.
GREEDY = """
import sys
from pathlib import Path
import numpy as np
from feedline.loaders import open_loader, LoaderSpec

def take(image, generator):
    return np.ones(3 * 10**8)

if __name__ == "__main__":
    (Path(sys.argv[2]) / "cgroup.procs").write_text("0")
    spec = LoaderSpec(root=Path(sys.argv[1]), image_size=32, batch_size=10, workers=1, sample_transform=take)
    next(iter(open_loader("imagefolder", spec)))
"""


@pytest.fixture(params=["imagefolder", "webdataset"])
def name(request: pytest.FixtureRequest) -> str:
    """Every loader with worker processes."""
    return require_loader(request.param)


def workers_of(loader: Loader) -> list[psutil.Process]:
    """Return the workers of a loader that has yielded a batch."""
    return [child for child in HERE.children() if child.name() != "resource_tracker"][-loader.spec.workers :]


def test_signals_to_the_whole_group_leave_workers_alone(name: str, root: Path) -> None:
    """SLURM, timeout and a closed terminal signal every process; only the loop's own decides when to stop."""
    with closing(open_loader(name, spec_of(root))) as alone:
        expected = [batch.indexes.tolist() for batch in alone]
    with closing(open_loader(name, spec_of(root, workers=2))) as loader:
        batches = iter(loader)
        found = [next(batches).indexes.tolist()]
        workers = workers_of(loader)
        for worker in workers:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                worker.send_signal(number)
        found += [batch.indexes.tolist() for batch in batches]
        assert found == expected
        assert all(worker.is_running() for worker in workers)
    assert not any(worker.is_running() for worker in workers)


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("imagefolder", signal.SIGKILL, r"was killed by SIGKILL.* of memory.*; use fewer workers .*--loader threaded"),
        ("webdataset", signal.SIGSEGV, r"was ended by SIGSEGV, as a fault in a compiled library does; .*threaded"),
        ("imagefolder", signal.SIGBUS, r"was ended by SIGBUS.*shared memory was full: /dev/shm has .*--shm-size"),
    ],
)
def test_a_worker_that_died_is_named_with_the_probable_cause(
    name: str, number: signal.Signals, said: str, root: Path
) -> None:
    """Which worker, by what signal, the numbers and the way out; then the loader starts others at the same place."""
    with closing(open_loader(require_loader(name), spec_of(root, workers=2, batch_size=4))) as loader:
        batches = iter(loader)
        first = next(batches).indexes.tolist()
        place = loader.state_dict()
        victim = workers_of(loader)[0]
        victim.send_signal(number)
        rest: list[list[int]] = []
        with pytest.raises(WorkerLost, match=rf"worker 1 of 2 \(process {victim.pid}\) {said}") as caught:
            for batch in batches:
                rest.append(batch.indexes.tolist())
                place = loader.state_dict()
        assert caught.value.exit_code == -number
        assert not [child for child in HERE.children() if child.pid == victim.pid]
        loader.load_state_dict(place)
        rest += [batch.indexes.tolist() for batch in loader]
    assert sorted(index for batch in [first, *rest] for index in batch) == list(range(84))


@pytest.mark.skipif(sys.platform != "linux", reason="it counts the open files there")
def test_a_table_of_files_that_is_full_is_a_sentence_and_an_end(name: str, root: Path) -> None:
    """No worker is left for which the process would wait at its exit."""
    done = finished([sys.executable, "-c", NO_FILES, str(root), name])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "this process may open" in done.stdout


class Unsendable:
    """What no process can send, as if it may open no more files."""

    def __reduce__(self) -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("room", [0, 2])
def test_a_batch_that_cannot_be_passed_is_answered_in_its_turn(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not behind the batches after it: that of an epoch that was left would come into the next epoch."""
    name = "_on_queue_feeder_error"
    monkeypatch.setattr(multiprocessing.queues.Queue, name, getattr(multiprocessing.queues.Queue, name))
    pass_on_failures()
    passed = multiprocessing.Queue(room)
    for _ in range(3):
        passed.put((4, Unsendable()))
        passed.put((5, "batch"))
        (number, answer), following = passed.get(timeout=60), passed.get(timeout=60)
        assert (number, following) == (4, (5, "batch"))
        with pytest.raises(OSError, match="Too many open files"):
            answer.reraise()
    passed.close()
    passed.join_thread()


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory is a file there only")
def test_a_killed_worker_leaves_no_shared_memory(root: Path) -> None:
    """As torch leaves it if /dev/shm is full; that of other processes stays."""
    with closing(open_loader(require_loader("imagefolder"), spec_of(root, workers=1, batch_size=4))) as loader:
        batches = iter(loader)
        next(batches)
        (worker,) = workers_of(loader)
        files = [Path(f"/dev/shm/torch_{pid}_7_0") for pid in (worker.pid, os.getpid())]
        for file in files:
            file.touch()
        worker.kill()
        with pytest.raises(WorkerLost):
            list(batches)
        assert [file.exists() for file in files] == [False, True]
        files[1].unlink()


def test_a_worker_that_was_stopped_for_a_while_loses_nothing(name: str, root: Path) -> None:
    """SIGSTOP, and SIGCONT two seconds later: every batch comes, in its order."""
    with closing(open_loader(name, spec_of(root))) as alone:
        expected = [batch.indexes.tolist() for batch in alone]
    with closing(open_loader(name, spec_of(root, workers=2))) as loader:
        batches = iter(loader)
        found = [next(batches).indexes.tolist()]
        worker = workers_of(loader)[1]
        worker.suspend()
        timer = threading.Timer(1.5, worker.resume)
        timer.start()
        found += [batch.indexes.tolist() for batch in batches]
        timer.join()
    assert found == expected


def test_a_worker_that_stays_stopped_is_reported_and_then_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process and the command that continues it; with shorter limits than the 10 and 300 seconds."""
    for limit, seconds in (("LOOK_SECONDS", 0.1), ("REPORTED_SECONDS", 0.2), ("STOPPED_SECONDS", 0.5)):
        monkeypatch.setattr(worker_processes, limit, seconds)
    loader = open_loader("imagefolder", spec_of(root, workers=1, batch_size=4))
    batches = iter(loader)
    next(batches)
    (worker,) = workers_of(loader)
    worker.suspend()
    with (
        caplog.at_level(logging.WARNING, "feedline.loaders"),
        pytest.raises(WorkerLost, match=r"is stopped \(SIGSTOP\).* for 0.5 s, so it was ended; .*--loader threaded"),
    ):
        list(batches)
    assert [record.getMessage() for record in caplog.records] == [
        f"worker 1 of 1 (process {worker.pid}) is stopped (SIGSTOP), and its batch is waited for; "
        f"let it run with: kill -CONT {worker.pid}"
    ]
    loader.close()
    assert not worker.is_running()


def started(script: str, *words: str, folder: Path) -> subprocess.Popen[str]:
    path = folder / "loop.py"
    path.write_text(script)
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, str(path), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)


def test_a_worker_ends_with_a_killed_parent_even_if_it_hangs(root: Path, tmp_path: Path) -> None:
    """kill -9 of a script: its worker, in a transform that never returns, is gone within seconds, with its sockets."""
    process = started(STUCK, str(root), folder=tmp_path)
    assert process.stdout is not None
    worker = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()
    gone, _ = psutil.wait_procs([worker], timeout=10)
    assert gone or worker.status() == psutil.STATUS_ZOMBIE
    assert not list(tmp_path.glob("pymp-*"))
    process.communicate()


def test_a_worker_that_begins_after_its_parent_died_ends_too(tmp_path: Path) -> None:
    """As if memory ran out while the workers start; the process that it belongs to now never ends."""
    process = started(LATE, folder=tmp_path)
    assert process.stdout is not None
    worker = psutil.Process(int(process.stdout.readline()))
    process.wait()
    gone, _ = psutil.wait_procs([worker], timeout=30)
    assert gone or worker.status() == psutil.STATUS_ZOMBIE
    process.communicate()


def test_a_worker_leaves_the_folder_of_a_process_that_runs(root: Path) -> None:
    """The process of the loop was started by multiprocessing, and uses the sockets' folder of the script."""
    with tempfile.TemporaryDirectory() as place:  # a short path, which the sockets fit in
        process = started(BELOW, str(root), folder=Path(place))
        assert process.stdout is not None
        line = process.stdout.readline()
        workers = [psutil.Process(int(pid)) for pid in line.split()]
        gone, _ = psutil.wait_procs(workers, timeout=10)
        told, said = process.communicate("")
        assert len(workers) == 1 and (gone or workers[0].status() == psutil.STATUS_ZOMBIE), said
        assert told == "True\n", said
        assert not list(Path(place).glob("pymp-*"))


@pytest.fixture
def small_group() -> Iterator[Path]:
    """Return a cgroup that may use 600 MB."""
    for own, limit in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        top = Path("/sys/fs/cgroup") / own
        group = top / f"feedline-test-{os.getpid()}"
        if not (top / "cgroup.procs").is_file():
            continue
        try:
            group.mkdir()
            (group / limit).write_text(str(600 * 10**6))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        yield group
        for _ in range(50):
            if not (group / "cgroup.procs").read_text():
                break
            time.sleep(0.1)
        group.rmdir()
        return
    pytest.skip("a cgroup with a limit on memory needs root")


def test_a_worker_that_the_kernel_killed_for_memory_is_reported_as_that(
    small_group: Path, root: Path, tmp_path: Path
) -> None:
    """The kernel's counter shows it, and the sentence has the limit of the group and its use."""
    process = started(GREEDY, str(root), str(small_group), folder=tmp_path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    last = said.rstrip().splitlines()[-1]
    assert "WorkerLost: worker 1 of 1 (process " in last
    assert "was killed by SIGKILL, because memory ran out: this job may use 600 MB of memory" in last
    assert "has used up to 600 MB; use fewer workers (--workers)" in last


def test_a_kill_that_was_not_the_kernels_is_not_blamed_on_memory(tmp_path: Path) -> None:
    """By counters of made-up groups, of both versions: unchanged, raised, and missing."""
    for version, counter in (("memory", "memory.oom_control"), (".", "memory.events")):
        group = tmp_path / version / "job"
        group.mkdir(parents=True)
        own = tmp_path / "own"
        own.write_text("4:memory:/job\n" if version == "memory" else "0::/job\n")
        limit, use = ("limit_in_bytes", "max_usage_in_bytes") if version == "memory" else ("max", "peak")
        (group / f"memory.{limit}").write_text("1000000000\n")
        (group / f"memory.{use}").write_text("900000000\n")
        (group / counter).write_text("under_oom 0\noom_kill 3\n")
        before = memory_now(tmp_path, own)
        assert before.sentence == (
            "this job may use 1.0 GB of memory (the limit of its cgroup) and has used up to 900 MB"
        )
        assert memory_now(tmp_path, own).killed_since(before) is not True
        (group / counter).write_text("under_oom 0\noom_kill 4\n")
        assert memory_now(tmp_path, own).killed_since(before) is True
        (group / counter).unlink()
    assert "probably because memory ran out" in how_it_ended(-signal.SIGKILL, "use less")

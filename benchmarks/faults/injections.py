"""What each kind of fault does to a command, and how its cause is removed after it."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from .kinds import Fault, Kind, Place
from .sessions import members
from .tasks import TaskGroup

JUMPS = """
import random, time
_time = time.time
time.time = lambda: _time() + random.Random(int(_time() * 20)).choice((-86_400, 0, 86_400))
"""
STOP_SECONDS = (0.3, 2.0)


def make_fault(kind: Kind, place: Place, rng: random.Random) -> Fault:
    """Return a fault of this kind; the random numbers choose its process, file or limit."""
    makers: dict[Kind, Callable[[Place, random.Random], Fault]] = {
        "kill": _kill,
        "term": _term,
        "stop": _stop,
        "full disk": _full_disk,
        "read-only disk": _read_only,
        "memory limit": _memory,
        "file limit": _open_files,
        "process limit": _processes,
        "missing file": _missing,
        "cut file": _cut,
        "swapped file": _swapped,
        "clock": _clock,
    }
    return makers[kind](place, rng)


def _kill(place: Place, rng: random.Random) -> Fault:
    def disturb(session: int) -> None:
        _signal(_one_of(session, rng), signal.SIGKILL)

    return Fault("SIGKILL to one process", disturb=disturb)


def _term(place: Place, rng: random.Random) -> Fault:
    def disturb(session: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(session, signal.SIGTERM)

    return Fault("SIGTERM to the group", disturb=disturb)


def _stop(place: Place, rng: random.Random) -> Fault:
    seconds, whole = rng.uniform(*STOP_SECONDS), rng.random() < 0.5

    def disturb(session: int) -> None:
        found = members(session) if whole else _one_of(session, rng)
        _signal(found, signal.SIGSTOP)
        time.sleep(seconds)
        _signal(found, signal.SIGCONT)

    return Fault(f"SIGSTOP to {'all processes' if whole else 'one process'} for {seconds:.1f} s", disturb=disturb)


def _full_disk(place: Place, rng: random.Random) -> Fault:
    assert place.disk is not None
    size = max(16_384, int(rng.random() * place.expected_bytes))
    place.disk.resize(size)
    return Fault(f"a disk of {size / 1e6:.2f} MB", repair=lambda: place.disk.resize(2**30) if place.disk else None)


def _read_only(place: Place, rng: random.Random) -> Fault:
    disk = place.disk
    assert disk is not None

    def disturb(session: int) -> None:
        disk.set_writable(False)

    def repair() -> None:
        disk.set_writable(True)

    return Fault("the disk of the output becomes read-only", disturb=disturb, repair=repair)


def _memory(place: Place, rng: random.Random) -> Fault:
    import resource

    if place.at_start and rng.random() < 0.5:
        most = int(10 ** rng.uniform(8.3, 9.8))
        return Fault(f"RLIMIT_AS of {most / 1e9:.2f} GB", limits=((resource.RLIMIT_AS, most),))
    more = int(10 ** rng.uniform(5, 8))
    return Fault(
        f"RLIMIT_AS, {more / 1e6:.1f} MB above the use",
        disturb=_limiter(resource.RLIMIT_AS, lambda process: process.memory_info().vms + more),
    )


def _open_files(place: Place, rng: random.Random) -> Fault:
    import resource

    if place.at_start and rng.random() < 0.5:
        most = rng.randint(12, 64)
        return Fault(f"RLIMIT_NOFILE of {most}", limits=((resource.RLIMIT_NOFILE, most),))
    more = rng.randint(0, 6)
    return Fault(
        f"RLIMIT_NOFILE, {more} above the use",
        disturb=_limiter(resource.RLIMIT_NOFILE, lambda process: process.num_fds() + more),
    )


def _limiter(which: int, most_of: Callable[[psutil.Process], int]) -> Callable[[int], None]:
    """Return what limits every process of a session that runs already. Only Linux can."""

    def disturb(session: int) -> None:
        import resource

        for process in members(session):
            with suppress(psutil.Error, ProcessLookupError):
                most = most_of(process)
                resource.prlimit(process.pid, which, (most, most))

    return disturb


def _processes(place: Place, rng: random.Random) -> Fault:
    import resource

    more, group = rng.randint(0, 8), TaskGroup.make()
    if group is not None:
        return Fault(
            f"pids.max, {more} above the use",
            disturb=lambda session: group.limit(members(session), more),
            repair=group.close,
        )
    mine = sum(_threads(process) for process in psutil.process_iter())
    return Fault(f"RLIMIT_NPROC, {more} above the use", limits=((resource.RLIMIT_NPROC, mine + more),))


def _clock(place: Place, rng: random.Random) -> Fault:
    """The time of day jumps in the program and all its workers, which import this module at their start."""
    folder = place.out.parent / "clock"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(JUMPS)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return Fault("the time of day jumps by a day", environment={"PYTHONPATH": os.pathsep.join(paths)})


def _missing(place: Place, rng: random.Random) -> Fault:
    path = rng.choice(_files(place))
    away = place.data.parent / "away"

    def disturb(session: int) -> None:
        path.rename(away)

    def repair() -> None:
        away.rename(path)

    return Fault(f"{path.relative_to(place.data)} vanishes", disturb=disturb, repair=repair)


def _cut(place: Place, rng: random.Random) -> Fault:
    path = rng.choice(_files(place))
    data, status = path.read_bytes(), path.stat()
    size = rng.randrange(len(data))

    def disturb(session: int) -> None:
        os.truncate(path, size)

    def repair() -> None:
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    name = path.relative_to(place.data)
    return Fault(f"{name} is cut from {len(data)} to {size} bytes", disturb=disturb, repair=repair)


def _swapped(place: Place, rng: random.Random) -> Fault:
    # Two images of class folders are not exchanged: a root stores no checksum of each.
    archives = [path for path in _files(place, anywhere=True) if ".tar" in path.suffixes]
    one, other = rng.sample(archives, 2)

    def swap(session: int = 0) -> None:
        away = place.data.parent / "away"
        one.rename(away)
        other.rename(one)
        away.rename(other)

    return Fault(f"{one.name} and {other.name} change places", disturb=swap, repair=swap)


def _files(place: Place, anywhere: bool = False) -> list[Path]:
    patterns = ("**/*",) if anywhere else place.reads
    found = {path for pattern in patterns for path in place.data.glob(pattern)}
    return sorted(path for path in found if path.is_file() and path.stat().st_size > 0)


def _one_of(session: int, rng: random.Random) -> list[psutil.Process]:
    found = members(session)
    return [rng.choice(found)] if found else []


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _threads(process: psutil.Process) -> int:
    """Return the threads of a process of this user, which count towards its limit."""
    try:
        return process.num_threads() if process.uids().real == os.getuid() else 0
    except psutil.Error:
        return 0

"""The fault of each kind, and those that come from other processes: signals and a clock that jumps."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from .changed_files import cut, missing, swapped
from .disk_faults import full_disk, full_shared_memory, read_only
from .kinds import Fault, Kind, Place
from .limits import address_space, memory, open_files, processes
from .sessions import members

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
        "full disk": full_disk,
        "full /dev/shm": full_shared_memory,
        "read-only disk": read_only,
        "address space limit": address_space,
        "memory limit": memory,
        "file limit": open_files,
        "process limit": processes,
        "missing file": missing,
        "cut file": cut,
        "swapped file": swapped,
        "clock": _clock,
    }
    return makers[kind](place, rng)


def _kill(place: Place, rng: random.Random) -> Fault:
    return Fault(
        "SIGKILL to one process",
        disturb=lambda session: _signal(_one_of(session, rng), signal.SIGKILL),
        killed=lambda: True,
    )


def _term(place: Place, rng: random.Random) -> Fault:
    def disturb(session: int) -> bool:
        with suppress(ProcessLookupError):
            os.killpg(session, signal.SIGTERM)
            return True
        return False

    return Fault("SIGTERM to the group", disturb=disturb)


def _stop(place: Place, rng: random.Random) -> Fault:
    seconds, whole = rng.uniform(*STOP_SECONDS), rng.random() < 0.5

    def disturb(session: int) -> bool:
        found = members(session) if whole else _one_of(session, rng)
        stopped = _signal(found, signal.SIGSTOP)
        time.sleep(seconds)
        _signal(found, signal.SIGCONT)
        return stopped

    return Fault(f"SIGSTOP to {'all processes' if whole else 'one process'} for {seconds:.1f} s", disturb=disturb)


def _clock(place: Place, rng: random.Random) -> Fault:
    """The time of day jumps in the program and all its workers, which import this module at their start."""
    folder = place.out.parent / "clock"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(JUMPS)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return Fault("the time of day jumps by a day", environment={"PYTHONPATH": os.pathsep.join(paths)})


def _one_of(session: int, rng: random.Random) -> list[psutil.Process]:
    found = members(session)
    return [rng.choice(found)] if found else []


def _signal(found: Sequence[psutil.Process], number: signal.Signals) -> bool:
    """Send a signal to the processes; return whether one of them had not ended."""
    sent = 0
    for process in found:
        with suppress(psutil.Error):
            process.send_signal(number)
            sent += 1
    return sent > 0

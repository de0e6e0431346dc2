"""Limits on addresses, memory, open files and tasks: from the start, or at a moment just above what is in use."""

import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress

import psutil

from .control_groups import ControlGroup
from .kinds import Fault, Place, ended
from .sessions import members


def address_space(place: Place, rng: random.Random) -> Fault:
    """Return a limit on the addresses of each process (RLIMIT_AS)."""
    assert sys.platform == "linux"
    import resource

    if place.at_start and rng.random() < 0.5:
        most = int(10 ** rng.uniform(8.3, 9.8))
        return Fault(f"RLIMIT_AS of {most / 1e9:.2f} GB", limits=((resource.RLIMIT_AS, most),), felt=ended)
    more = int(10 ** rng.uniform(5, 8))
    disturb = _limiter(resource.RLIMIT_AS, lambda process: process.memory_info().vms + more)
    return Fault(f"RLIMIT_AS, {more / 1e6:.1f} MB above the use", disturb=disturb, felt=ended)


def memory(place: Place, rng: random.Random) -> Fault:
    """Return a limit on the memory that all processes take together from the fault's moment on."""
    group, more = ControlGroup.make("memory"), int(10 ** rng.uniform(5, 7.7))
    assert group is not None
    return Fault(
        f"{more / 1e6:.1f} MB more memory",
        disturb=lambda session: group.limit(members(session), more),
        felt=lambda done: group.was_reached(),
        killed=group.has_killed,
        repair=group.close,
    )


def open_files(place: Place, rng: random.Random) -> Fault:
    """Return a limit on the open files of each process (RLIMIT_NOFILE)."""
    assert sys.platform == "linux"
    import resource

    if place.at_start and rng.random() < 0.5:
        most = rng.randint(12, 48)
        return Fault(f"RLIMIT_NOFILE of {most}", limits=((resource.RLIMIT_NOFILE, most),), felt=ended)
    more = rng.randint(0, 6)
    disturb = _limiter(resource.RLIMIT_NOFILE, lambda process: process.num_fds() + more)
    return Fault(f"RLIMIT_NOFILE, {more} above the use", disturb=disturb, felt=ended)


def processes(place: Place, rng: random.Random) -> Fault:
    """Return a limit on the processes and threads of all processes together."""
    import resource

    more, group = rng.randint(0, 8), ControlGroup.make("pids")
    if group is not None:
        return Fault(
            f"pids.max, {more} above the use",
            disturb=lambda session: group.limit(members(session), more),
            felt=lambda done: group.was_reached(),
            repair=group.close,
        )
    mine = sum(_threads(process) for process in psutil.process_iter())
    limits = ((resource.RLIMIT_NPROC, mine + more),)
    return Fault(f"RLIMIT_NPROC, {more} above the use", limits=limits, felt=ended)


def _limiter(which: int, most_of: Callable[[psutil.Process], int]) -> Callable[[int], bool]:
    """Return what limits every process of a session that runs already. Only Linux can."""

    def disturb(session: int) -> bool:
        import resource

        limited = 0
        for process in members(session):
            with suppress(psutil.Error, ProcessLookupError):
                most = most_of(process)
                resource.prlimit(process.pid, which, (most, most))
                limited += 1
        return limited > 0

    return disturb


def _threads(process: psutil.Process) -> int:
    """Return the threads of a process of this user, which count towards its limit."""
    try:
        return process.num_threads() if process.uids().real == os.getuid() else 0
    except psutil.Error:
        return 0

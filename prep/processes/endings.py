"""What the end of another process means: which signal, what probably happened, the numbers, and the next step."""

import signal
import sys
from dataclasses import replace

from ..limits.memory import Memory, memory_now
from ..limits.shared_memory import shared_memory_is_full
from ..limits.tasks import NO_TASK, no_task_left, task_limits

FAULTS = ("SIGSEGV", "SIGILL", "SIGFPE", "SIGABRT")


def how_it_ended(code: int, way_out: str, before: Memory | None = None) -> str:
    """Return how a process ended, such as "was killed by SIGKILL, probably because memory ran out: ...; use ...".

    ``code`` is its exit code as ``multiprocessing`` and ``subprocess`` report it: the negative number of a signal.
    ``way_out`` is the next step if it needs less memory then, and ``before`` the memory when the process began, which
    shows whether the kernel has killed a process since.
    """
    if code == NO_TASK:
        return f"ended, because it could start no thread: {no_task_left(task_limits()).sentence}"
    if code >= 0 or sys.platform == "win32":
        return f"ended with exit code {code}; {way_out}"
    name = signal_name(-code)
    if name == "SIGKILL":
        return f"was killed by SIGKILL{_why_killed(before)}; {way_out}"
    if name == "SIGBUS":
        return f"was ended by SIGBUS (bus error), probably because shared memory was full: {shared_memory_is_full()}"
    memory = memory_now()
    if name == "SIGABRT" and memory.limits_addresses:
        short = replace(memory, addressed=None).sentence
        return f"was ended by SIGABRT, probably because memory ran out: {short}; raise that limit, or {way_out}"
    if name in FAULTS:
        return f"was ended by {name}, as a fault in a compiled library does; {way_out}"
    return f"was ended by {name}; {way_out}"


def signal_name(number: int) -> str:
    """Return the name of a signal, such as "SIGKILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _why_killed(before: Memory | None) -> str:
    now = memory_now()
    for_memory = None if before is None else now.killed_since(before)
    if for_memory is False:  # systemd-oomd and batch systems kill for memory too, and no counter shows it
        return f" of another program, such as kill or a batch system; {now.sentence}"
    return f", {'' if for_memory else 'probably '}because memory ran out: {now.sentence}"

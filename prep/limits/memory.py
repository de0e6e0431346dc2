"""The memory that this process may use: how much there is, and the sentences for when it runs out.

The system answers a lack of memory in two ways. An allocation fails, and the library that needed it raises one of
several errors. Or, since Linux grants more than there is, the kernel kills a process that has much, without a message.
Then only counters of the kernel tell the kill from another one.
"""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from .cgroups import MOUNT, OWN, group_folders, memory_limit
from .shortage import size_text

COUNTERS = ("memory.events", "memory.oom_control")
"""The files of a cgroup that count kills, in versions 2 and 1."""
VMSTAT = Path("/proc/vmstat")
STATUS, STATM = Path("/proc/self/status"), Path("/proc/self/statm")
FAILED_ALLOCATIONS = ("DefaultCPUAllocator", "std::bad_alloc", "out of memory", "Unable to allocate")
"""What torch (CPU), C++, CUDA and numpy write."""
FAILED_MAPPINGS = ("failed to map segment", "cannot map", "annot allocate memory", "shared object file 'libllvmlite")
"""What the loader of compiled libraries, and llvmlite, write where a library does not fit into the addresses.

Other reasons have the same words, such as a folder that forbids programs (noexec).
"""
NEAR = 64_000_000  # bytes; an allocation that fails leaves as much unused as it asked for


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of this process at one moment."""

    limit: int | None
    """Bytes that the cgroup may use, of which this process is one; None without a limit below the machine's memory."""
    used: int | None
    """Most bytes that the cgroup has used so far."""
    total: int
    """Bytes of the machine."""
    free: int
    """Bytes that are free on the machine."""
    address_space: int | None
    """Bytes that this process may address (``ulimit -v``); None if unlimited."""
    addressed: int | None
    """Most bytes that this process has addressed so far; None outside Linux."""
    kills: int | None
    """How many processes of the cgroup the kernel has killed because memory ran out; None if it is not counted."""
    kills_on_machine: int | None
    """The same of the machine."""

    @property
    def limits_addresses(self) -> bool:
        """Whether the limit on addresses is the smallest."""
        return self.address_space is not None and self.address_space < (self.limit or self.total)

    @property
    def sentence(self) -> str:
        """How much memory there is, and how much of it is in use."""
        if self.address_space is not None and self.limits_addresses:
            used = "" if self.addressed is None else f" and has used up to {size_text(self.addressed)}"
            return f"this process may have {size_text(self.address_space)} of memory (ulimit -v){used}"
        if self.limit is None:
            return f"this machine has {size_text(self.total)} of memory, of which {size_text(self.free)} are free"
        used = "" if self.used is None else f" and has used up to {size_text(self.used)}"
        return f"this job may use {size_text(self.limit)} of memory (the limit of its cgroup){used}"

    def killed_since(self, before: "Memory") -> bool | None:
        """Return whether the kernel has killed a process for memory since ``before``.

        True if one of this cgroup, None if one of another job or if it is not counted.
        """
        if self.kills is not None and before.kills is not None and self.kills > before.kills:
            return True
        counted = self.kills_on_machine is not None and before.kills_on_machine is not None
        return False if counted and self.kills_on_machine == before.kills_on_machine else None


def memory_now(mount: Path = MOUNT, own: Path = OWN) -> Memory:
    """Return the memory of this process now."""
    (total, free), grant = _of_the_machine(), memory_limit(mount, own)
    counters = [folder / name for folder in group_folders("memory", mount, own) for name in COUNTERS]
    limit = int(grant.limit) if grant is not None and grant.limit < total else None
    return Memory(
        limit=limit,
        used=None if limit is None or grant is None else _most_used(grant.folder) or grant.used,
        total=total,
        free=free,
        address_space=_address_space(),
        addressed=_addressed(),
        kills=_count(*counters),
        kills_on_machine=_count(VMSTAT),
    )


def _of_the_machine() -> tuple[int, int]:
    """Return the machine's bytes of memory, and those that are free."""
    try:
        found = psutil.virtual_memory()
        return found.total, found.available
    except OSError:  # this process may open no more files
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")


def failed_allocation(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of the machine or of a GPU."""
    if isinstance(error, MemoryError) or any(base.__name__ == "OutOfMemoryError" for base in type(error).__mro__):
        return True
    text = str(error)
    if isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is None):
        return _half_is_used() and any(words in text for words in FAILED_MAPPINGS)
    return isinstance(error, RuntimeError) and any(words in text for words in FAILED_ALLOCATIONS)


def allocation_failed_in(text: str) -> bool:
    """Return whether the last line of a Python process's stderr is an error that ``failed_allocation`` recognises."""
    name, _, reason = text.partition(":")
    if name == "MemoryError":
        return True
    limited = name in ("ImportError", "OSError") and _address_space() is not None
    return limited and any(words in reason for words in FAILED_MAPPINGS)


def memory_ran_out(error: BaseException, way_out: str, *, here: bool = True) -> str:
    """Return the sentence for an error that ``failed_allocation`` recognises; ``way_out`` is the next step.

    Without ``here``, another process raised it, which has the limits of this one.
    """
    reason = str(error).strip().partition("\n")[0]
    if "CUDA" in reason or "HIP" in reason:  # it has the numbers of the GPU
        return f"the memory of the GPU ran out ({reason.partition('. GPU')[0].rstrip('.')}); {way_out}"
    asked = str(error).partition("you tried to allocate ")[2].partition(" bytes")[0]
    what = f" for {size_text(int(asked))} more" if asked.isdecimal() else ""
    now = memory_now() if here else replace(memory_now(), addressed=None)
    raised = "raise that limit, or " if now.limits_addresses else ""
    return f"memory ran out{what}: {now.sentence}; {raised}{way_out}"


def _most_used(folder: Path) -> int | None:
    for name in ("memory.peak", "memory.max_usage_in_bytes"):
        try:
            return int((folder / name).read_text("ascii"))
        except (OSError, ValueError):
            continue
    return None


def _count(*paths: Path) -> int | None:
    """Return the number after ``oom_kill`` in the first of the files that has one."""
    for path in paths:
        try:
            rows = dict(line.split(" ", 1) for line in path.read_text("ascii").splitlines() if " " in line)
            return int(rows["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def addresses_are_used_up() -> bool:
    """Return whether a limit on addresses is so near that an allocation has probably failed.

    Some libraries have their own error for it, such as protobuf's EncodeError.
    """
    limit, used = _address_space(), _addressed()
    return limit is not None and used is not None and used > limit - NEAR


def require_addresses(room: int) -> None:
    """Raise MemoryError if a limit on addresses leaves this process less than ``room`` bytes."""
    limit = _address_space()
    if limit is None:
        return
    try:
        used = int(STATM.read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return
    if limit - used < room:
        raise MemoryError(f"{size_text(max(0, limit - used))} of addresses are left, and {size_text(room)} are needed")


def _half_is_used() -> bool:
    """Return whether a limit on addresses is so near that a large library may not fit."""
    limit, used = _address_space(), _addressed()
    return limit is not None and used is not None and used > limit / 2


def _addressed() -> int | None:
    try:
        rows = dict(line.split(":", 1) for line in STATUS.read_text("utf-8", "replace").splitlines() if ":" in line)
        return 1024 * int(rows["VmPeak"].split()[0])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _address_space() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft

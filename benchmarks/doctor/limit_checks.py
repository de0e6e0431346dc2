"""Checks of the limits that the system sets a process: shared memory, files, threads, sockets, names, the cache.

Every check is a pure function from facts to a finding. It returns None if its facts are unknown or do not exist on the
system. What follows from a limit, and what to do, is in ``prep.limits``: the command that reaches it says the same.
"""

from ...loaders.launch import unresolved
from ...loaders.support.index_rows import MOST_MAPPED
from ...prep.limits.files import FEW_FILES, more_files, too_few_files
from ...prep.limits.shared_memory import too_little_shared_memory
from ...prep.limits.shortage import Shortage, size_text
from ...prep.limits.sockets import LONGEST, folder_is_too_long
from ...prep.limits.tasks import no_task_left
from .finding import Finding, Level
from .machine_facts import MachineFacts

BATCH_BYTES = 256 * 3 * 224 * 224  # a large batch of uint8 images, as a worker passes it
PREFETCH = 2  # batches that each of DataLoader's workers keeps ready
MAPPED_ELSEWHERE = 4096  # mappings of a process with torch that are none of a shard
# A training, with a loader of one worker for each CPU: a worker process has up to 4 threads, and torch computes with
# one thread for each CPU. A process without workers has about 20 threads of libraries.
TASKS_PER_CPU, TASKS_ELSEWHERE = 6, 40


def shm(facts: MachineFacts) -> Finding | None:
    """Compare shared memory with the batches that DataLoader's workers pass through it."""
    size, workers = facts.environment.shm_bytes, facts.environment.machine.cpus
    if size is None:
        return None
    need = workers * PREFETCH * BATCH_BYTES
    if size >= need:
        return _ok("/dev/shm", f"{size_text(size)}, {workers} workers need {size_text(need)}")
    found = f"{size_text(size)}, but {workers} worker processes with batches of 256 need {size_text(need)}"
    return _finding("/dev/shm", "warning", too_little_shared_memory(found, need))


def open_files(facts: MachineFacts) -> Finding | None:
    """Check the limit on open files."""
    limit, hard = facts.open_files, facts.open_files_hard
    if limit is None:
        return None
    if limit >= FEW_FILES:
        shards = facts.place.shards
        mapped = f"; {shards:,} shards need none while they are mapped" if shards else ""
        return _ok("open files", f"{limit} per process{mapped}")
    shortage = too_few_files(limit, hard)
    return Finding(
        subject="open files",
        level="warning",
        found=shortage.found,
        consequence=shortage.consequence,
        mend=more_files(limit, hard),
    )


def mappings(facts: MachineFacts) -> Finding | None:
    """Compare the shards of the folder with Linux's limit on mappings."""
    limit, shards = facts.mappings, facts.place.shards
    if limit is None or shards is None:
        return None
    need = 2 * min(shards, MOST_MAPPED) + MAPPED_ELSEWHERE  # the shards and the indexes that stay mapped
    if need <= limit:
        return Finding(subject="mappings", level="ok", found=f"{limit:,} per process, {shards:,} shards need {need:,}")
    return Finding(
        subject="mappings",
        level="warning",
        found=f"{limit:,} per process, but {shards:,} shards need {need:,}",
        consequence="threaded, dali and cached cannot map all shards that they keep mapped",
        mend=f"sudo sysctl -w vm.max_map_count={2 * need}  (or shard with a larger --shard-size)",
    )


def tasks(facts: MachineFacts) -> Finding | None:
    """Compare the threads and processes that can still start with those of a training."""
    limit, cpus = facts.tasks, facts.environment.machine.cpus
    if limit is None:
        return None
    need = cpus * TASKS_PER_CPU + TASKS_ELSEWHERE
    if limit.left >= need:
        return _ok("tasks", f"{limit.left:,} more threads and processes can start")
    return _finding("tasks", "warning", no_task_left(limit))


def sockets(facts: MachineFacts) -> Finding | None:
    """Check the length of the path of the folder for temporary files."""
    place = facts.temporary
    if place is None or not folder_is_too_long(place):
        return None
    return Finding(
        subject="temporary",
        level="note",
        found=f"the folder for temporary files has a path of {len(place.encode())} bytes ({place})",
        consequence=f"a socket below it may have {LONGEST}; feedline puts the sockets of its workers into /tmp "
        "instead, and other programs fail",
        mend="export TMPDIR=/tmp",
    )


def host_name(facts: MachineFacts) -> Finding | None:
    """Check that the name of the machine has an address, at which torchrun connects ranks."""
    if facts.unresolved_name is None:
        return None
    found, _, mend = unresolved(facts.unresolved_name).rpartition("; ")
    return Finding(
        subject="host name",
        level="note",
        found=found,
        consequence="torchrun without --local-addr waits for minutes, and then fails",
        mend=mend,
    )


def cache(facts: MachineFacts) -> Finding | None:
    """Check that compiled code can be kept."""
    if facts.unwritable_cache is None:
        return None
    return Finding(
        subject="cache",
        level="warning",
        found=f"{facts.unwritable_cache} cannot be written",
        consequence="the fast decoder of threaded is not compiled, and every process compiles other code again",
        mend="export NUMBA_CACHE_DIR=FOLDER  (a folder that can be written)",
    )


def _ok(subject: str, found: str) -> Finding:
    return Finding(subject=subject, level="ok", found=found)


def _finding(subject: str, level: Level, shortage: Shortage) -> Finding:
    return Finding(
        subject=subject,
        level=level,
        found=shortage.found,
        consequence=shortage.consequence,
        mend=shortage.remedy,
    )

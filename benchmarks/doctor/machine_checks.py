"""Checks of the hardware and of the operating system's limits.

Every check is a pure function from facts to a finding. It returns None if its facts are unknown or do not exist on the
system.
"""

from ...loaders.support.encoded import MOST_MAPPED
from ...prep.base.shell import shell_word
from .finding import Finding
from .machine_facts import MachineFacts

BATCH_BYTES = 256 * 3 * 224 * 224  # a large batch of uint8 images, as a worker passes it
PREFETCH = 2  # batches that each of DataLoader's workers keeps ready
# torch's workers pass each tensor as an open file, and soon reach the default of macOS, 256.
FEW_FILES = 1024
IMAGENET_BYTES = 155 * 10**9  # class folders of train and val; shards take the same again
MAPPED_ELSEWHERE = 4096  # mappings of a process with torch that are none of a shard
LITTLE_SPACE, NO_SPACE = 10 * 10**9, 10**9
LITTLE_MEMORY_GIB = 4


def cpus(facts: MachineFacts) -> Finding:
    """Compare the usable CPUs with those of the machine."""
    cpus, quota = facts.environment.machine.cpus, facts.cpu_quota
    name = facts.environment.machine.cpu or "unknown CPU"
    limits = [f"a quota of {quota:g}"] if quota is not None and quota < (facts.affinity_cpus or cpus) else []
    if facts.affinity_cpus and facts.machine_cpus and facts.affinity_cpus < facts.machine_cpus:
        limits.append(f"an affinity of {facts.affinity_cpus}")
    if not limits:
        return Finding(subject="cpu", level="ok", found=f"{cpus} usable CPUs ({name})")
    found = f"{cpus} usable of {facts.machine_cpus} CPUs, by {' and '.join(limits)} ({name})"
    starved = quota is not None and quota < 1
    return Finding(
        subject="cpu",
        level="warning" if starved else "note",
        found=found,
        consequence="loader and model share less than one CPU in turns, so no measured rate is stable"
        if starved
        else "feedline starts workers for the usable CPUs; other programs may start one per CPU of the machine",
        mend="docker run --cpus=2 ... (Kubernetes: resources.limits.cpu; Slurm: --cpus-per-task)",
    )


def threads(facts: MachineFacts) -> Finding:
    """Compare the OpenMP threads with the usable CPUs."""
    threads, cpus = facts.torch.threads, facts.environment.machine.cpus
    found = f"torch computes with {threads} threads on {cpus} CPUs"
    if threads <= cpus:
        return Finding(subject="threads", level="ok", found=found)
    return Finding(
        subject="threads",
        level="warning",
        found=found,
        consequence="the threads wait for each other, and training on the CPU becomes several times slower",
        mend=f"{'set' if facts.windows else 'export'} OMP_NUM_THREADS={cpus}",
    )


def load(facts: MachineFacts) -> Finding | None:
    """Check the load of other work on the machine."""
    load, cpus = facts.environment.load_average, facts.machine_cpus
    if load is None or cpus is None or load < cpus / 2:
        return None
    return Finding(
        subject="load",
        level="note",
        found=f"{load:.1f} processes were runnable over the last minute, on {cpus} CPUs",
        consequence="other work uses the machine, so rates that are measured now are too low",
        mend="feedline bench ROOT --repeats 5 --out bench  (after the other work has ended)",
    )


def governor(facts: MachineFacts) -> Finding | None:
    """Check the CPU governor, which sets the clock."""
    governor = facts.environment.governor
    if governor is None:
        return None
    if governor != "powersave":
        return Finding(subject="clock", level="ok", found=f"governor {governor}")
    return Finding(
        subject="clock",
        level="note",
        found="governor powersave",
        consequence="the CPUs may raise their clock late, so that short measurements give low rates",
        mend="sudo cpupower frequency-set -g performance",
    )


def memory(facts: MachineFacts) -> Finding:
    """Check the granted memory."""
    size = facts.environment.machine.memory_gib
    if size >= LITTLE_MEMORY_GIB:
        return Finding(subject="memory", level="ok", found=f"{size} GiB")
    return Finding(
        subject="memory",
        level="warning",
        found=f"{size} GiB",
        consequence="each worker process of imagefolder and webdataset takes about half a GiB",
        mend="feedline train ROOT --loader threaded --batch-size 32 --out RUN",
    )


def shm(facts: MachineFacts) -> Finding | None:
    """Compare shared memory with the batches that DataLoader's workers pass through it."""
    size, workers = facts.environment.shm_bytes, facts.environment.machine.cpus
    if size is None:
        return None
    need = workers * PREFETCH * BATCH_BYTES
    if size >= need:
        return Finding(subject="/dev/shm", level="ok", found=f"{_size(size)}, {workers} workers need {_size(need)}")
    return Finding(
        subject="/dev/shm",
        level="warning",
        found=f"{_size(size)}, but {workers} worker processes with batches of 256 need {_size(need)}",
        consequence='workers of imagefolder and webdataset end with "bus error"; threaded does not use shared memory',
        mend=f"docker run --shm-size={_gib_up(need)}g ... (or sudo mount -o remount,size={_gib_up(need)}G /dev/shm)",
    )


def open_files(facts: MachineFacts) -> Finding | None:
    """Check the limit on open files."""
    limit, hard = facts.open_files, facts.open_files_hard
    if limit is None:
        return None
    if limit >= FEW_FILES:
        shards = facts.place.shards
        found = f"{limit} per process" + (f"; {shards:,} shards need none while they are mapped" if shards else "")
        return Finding(subject="open files", level="ok", found=found)
    target = FEW_FILES * 4 if hard is None else min(hard, FEW_FILES * 4)
    raised = f"ulimit -n {target}" if target > limit else "sudo prlimit --nofile=4096 --pid $$"
    return Finding(
        subject="open files",
        level="warning",
        found=f"{limit} per process",
        consequence='worker processes end with "too many open files"',
        mend=raised,
    )


def mappings(facts: MachineFacts) -> Finding | None:
    """Compare the shards of the folder with Linux's limit on mappings."""
    limit, shards = facts.mappings, facts.place.shards
    if limit is None or shards is None:
        return None
    need = shards + min(shards, MOST_MAPPED) + MAPPED_ELSEWHERE  # each index, and the shards that stay mapped
    if need <= limit:
        return Finding(subject="mappings", level="ok", found=f"{limit:,} per process, {shards:,} shards need {need:,}")
    return Finding(
        subject="mappings",
        level="warning",
        found=f"{limit:,} per process, but {shards:,} shards need {need:,}",
        consequence="threaded, dali and cached cannot open all indexes",
        mend=f"sudo sysctl -w vm.max_map_count={2 * need}  (or shard with a larger --shard-size)",
    )


def space(facts: MachineFacts) -> Finding | None:
    """Check the free space for a data set."""
    free, path = facts.place.free_bytes, facts.place.path
    if free is None:
        return None
    found = f"{_size(free)} free in {path}"
    mend = "feedline prep imagefolder FOLDER --out FOLDER_ON_ANOTHER_DISK"
    if free < NO_SPACE:
        consequence = "no data set, checkpoint or report can be written"
        return Finding(subject="space", level="problem", found=found, consequence=consequence, mend=mend)
    if free < LITTLE_SPACE:
        consequence = "the space is enough for Tiny-ImageNet and checkpoints, but not for ImageNet"
        return Finding(subject="space", level="warning", found=found, consequence=consequence, mend=mend)
    if free < IMAGENET_BYTES:
        consequence = f"ImageNet's class folders take {_size(IMAGENET_BYTES)}; you can write only shards instead"
        mend = "feedline shard ARCHIVES --out FOLDER"
        return Finding(subject="space", level="note", found=found, consequence=consequence, mend=mend)
    return Finding(subject="space", level="ok", found=found)


def storage(facts: MachineFacts) -> Finding | None:
    """Check the cost of single files on the storage of the data."""
    storage, filesystem, path = facts.place.storage, facts.place.filesystem, facts.place.path
    if storage is None and filesystem is None:
        return None
    kind = {"hdd": "a hard disk", "network": "a network file system", "memory": "memory", "virtual": "a virtual disk"}
    found = f"{path} is on {kind.get(storage or '', storage or 'a disk of unknown kind')} ({filesystem})"
    if storage not in ("hdd", "network"):
        return Finding(subject="storage", level="ok", found=found)
    return Finding(
        subject="storage",
        level="warning",
        found=found,
        consequence="each file costs a seek or a round trip, so class folders load slowly; shards do not",
        mend=f"feedline shard {shell_word(path)}",
    )


def shards(facts: MachineFacts) -> Finding | None:
    """Check that the shards in the folder are those of their manifest and of the class folders as they are now."""
    problem = facts.place.stale_shards
    if problem is None:
        return None
    found, _, mend = problem.rpartition("; ")
    return Finding(
        subject="shards",
        level="warning",
        found=found,
        consequence="the loaders reject these shards, because an index may mean another class or image in them",
        mend=mend,
    )


def _size(count: int) -> str:
    return f"{count / 10**9:,.1f} GB" if count >= 10**9 else f"{count / 10**6:,.0f} MB"


def _gib_up(count: int) -> int:
    return -(-count // 2**30)

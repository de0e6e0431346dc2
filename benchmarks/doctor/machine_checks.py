"""Checks of the hardware, the memory and the disk.

Every check is a pure function from facts to a finding. It returns None if its facts are unknown or do not exist on the
system.
"""

from ...prep.base.shell import shell_word
from ...prep.limits.shortage import size_text
from .finding import Finding
from .machine_facts import MachineFacts

IMAGENET_BYTES = 155 * 10**9  # class folders of train and val; shards take the same again
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


def space(facts: MachineFacts) -> Finding | None:
    """Check the free space for a data set."""
    free, path = facts.place.free_bytes, facts.place.path
    if free is None:
        return None
    found = f"{size_text(free)} free in {path}"
    mend = "feedline prep imagefolder FOLDER --out FOLDER_ON_ANOTHER_DISK"
    if free < NO_SPACE:
        consequence = "no data set, checkpoint or report can be written"
        return Finding(subject="space", level="problem", found=found, consequence=consequence, mend=mend)
    if free < LITTLE_SPACE:
        consequence = "the space is enough for Tiny-ImageNet and checkpoints, but not for ImageNet"
        return Finding(subject="space", level="warning", found=found, consequence=consequence, mend=mend)
    if free < IMAGENET_BYTES:
        consequence = f"ImageNet's class folders take {size_text(IMAGENET_BYTES)}; you can write only shards instead"
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

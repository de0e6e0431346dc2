"""This process among those that were started together, as torchrun's environment variables say.

torchrun sets RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, LOCAL_RANK and LOCAL_WORLD_SIZE. Clusters set some of them for
every process, for example MASTER_ADDR, or WORLD_SIZE=1. A world of one rank needs no other variable and no connection.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from ..prep import LoaderError

TORCHRUN = "torchrun --nproc-per-node={} -m feedline.train"
# (program, its variable for the number of tasks, its variable for this task's number)
LAUNCHERS = (
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("mpiexec", "PMI_SIZE", "PMI_RANK"),
)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The place of this process. The default is one process alone."""

    rank: int = 0
    size: int = 1
    local_rank: int | None = None
    """Its place among the ranks of this machine; None if the environment does not say it."""
    local_size: int = 1


def read_launch(environ: Mapping[str, str] = os.environ) -> Launch:
    """Return the place of this process. Raises LoaderError for variables that contradict each other or lack one."""
    size = _number(environ, "WORLD_SIZE", 1)
    local_rank = _number(environ, "LOCAL_RANK", 0) if "LOCAL_RANK" in environ and "WORLD_SIZE" in environ else None
    if size == 1:
        return Launch(local_rank=local_rank)
    if not environ.get("RANK"):
        raise _missing(["RANK"], size)
    rank = _number(environ, "RANK", 0)
    if rank >= size:
        raise LoaderError(f"RANK is {rank}, and WORLD_SIZE {size} has the ranks 0 to {size - 1}; {_advice(size)}")
    return Launch(rank=rank, size=size, local_rank=local_rank, local_size=_number(environ, "LOCAL_WORLD_SIZE", 1))


def is_first(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is rank 0, which prints; True for variables that ``read_launch`` rejects."""
    try:
        return read_launch(environ).rank == 0
    except LoaderError:
        return True


def world_size(environ: Mapping[str, str] = os.environ) -> int:
    """Return the number of ranks, for a command that is advised; 1 for variables that ``read_launch`` rejects."""
    try:
        return read_launch(environ).size
    except LoaderError:
        return 1


def training_program(environ: Mapping[str, str] = os.environ) -> str:
    """Return the program that starts a training with as many ranks as this process is one of."""
    size, local_size = world_size(environ), environ.get("LOCAL_WORLD_SIZE", "")
    if size == 1:
        return "feedline train"
    here = int(local_size) if local_size.isascii() and local_size.isdecimal() else size
    if here in (0, size):
        return TORCHRUN.format(size)
    nodes = f"torchrun --nnodes={-(-size // here)} --rdzv-backend=c10d --rdzv-endpoint=HOST:PORT"
    return TORCHRUN.format(here).replace("torchrun", nodes)


def torchrun_start(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return a text that only one torchrun gives to its ranks, also to those that it starts again; None without one.

    Its id alone does not do: without --rdzv-id or --standalone, every torchrun has the same. The time since the boot
    does not change when the clock is set.
    """
    if "TORCHELASTIC_RESTART_COUNT" not in environ:
        return None
    try:
        parent = psutil.Process(os.getppid())
        since_boot = parent.create_time() - psutil.boot_time()
    except (psutil.Error, OSError):
        return None
    return f"{environ.get('TORCHELASTIC_RUN_ID', '')} {parent.pid} {since_boot:.2f}"


def was_started_again(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether torchrun started this rank again, after one was lost."""
    return environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def check_master(size: int, environ: Mapping[str, str] = os.environ) -> None:
    """Raise LoaderError unless the address at which the ranks connect is given, and has a name that resolves."""
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
    if missing:
        raise _missing(missing, size)
    address = environ["MASTER_ADDR"]
    try:
        socket.getaddrinfo(address, None)
    except (OSError, UnicodeError) as error:
        raise LoaderError(unresolved(address)) from error


def unresolved(name: str) -> str:
    """Return what to do about the name of a machine that has no address."""
    return (
        f"the name {name!r} has no address here, so ranks cannot connect to it; for ranks on one machine use: "
        f"torchrun --local-addr 127.0.0.1 ..., or add the name to /etc/hosts"
    )


def own_name_is_unresolved() -> str | None:
    """Return the name of this machine if it has no address, else None. May take as long as DNS takes to answer."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return name
    return None


def alone_among_tasks(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return a sentence if another launcher started several tasks, of which each trains alone; else None."""
    if "WORLD_SIZE" in environ:
        return None
    for program, count, number in LAUNCHERS:
        tasks, task = environ.get(count, ""), environ.get(number, "")
        if tasks.isdecimal() and task.isdecimal() and int(tasks) > 1:
            return (
                f"this is task {task} of the {tasks} that {program} started, and it trains alone; to train together, "
                f"start one task on each machine, with: {TORCHRUN.format('GPUS')}"
            )
    return None


def _number(environ: Mapping[str, str], name: str, least: int) -> int:
    text = environ.get(name, "").strip() or str(least)
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise LoaderError(f"the environment variable {name} is {text!r}, which is no number of ranks; {_advice(1)}")
    return int(text)


def _missing(names: list[str], size: int) -> LoaderError:
    verb = "are" if len(names) > 1 else "is"
    return LoaderError(f"WORLD_SIZE is {size}, but {' and '.join(names)} {verb} not set; {_advice(size)}")


def _advice(size: int) -> str:
    count = size if size > 1 else "N"
    return f"start the ranks with: {TORCHRUN.format(count)} ..., or for one process run: unset WORLD_SIZE"

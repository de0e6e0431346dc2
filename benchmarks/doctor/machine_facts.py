"""The facts about a machine that ``feedline doctor`` checks: everything that makes loading slow or impossible.

The environment of a record describes what a number was measured on. These facts show what to change. As in the
environment, each fact has a collector of its own, which returns None if its source is missing. No collector guesses
or raises. The checks decide what the facts mean. They are pure functions, so that a Windows machine or an old driver
can be tested on any machine.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import PIL
import torch
from PIL import features

from ...loaders import LOADERS, loader_versions
from ...loaders.launch import own_name_is_unresolved
from ...loaders.pixels.fused.vectors.compiling import CACHE
from ...loaders.pixels.ready import is_kept
from ...prep import FeedlineError, LoaderUnavailable
from ...prep.base.manifest import SHARDS, is_shard_set, read_shard_manifest
from ...prep.limits.cpus import cgroup_quota
from ...prep.limits.files import max_mappings, open_file_limits
from ...prep.limits.tasks import TaskLimit, task_limits
from ...prep.shards.current import stale_shards
from ..machine.environment import Environment, capture
from ..machine.registry import registry_value
from ..machine.storage import Storage, filesystem_of, storage_of
from .data_facts import DataFacts, data_facts


@dataclass(frozen=True, kw_only=True)
class TorchBuild:
    """What torch was built for, and what it can use on this machine."""

    cuda: str | None
    """The CUDA version that it was built with, None for a CPU build."""
    sees_gpu: bool
    """Whether torch can use a GPU."""
    architectures: tuple[str, ...]
    """The GPU generations that it has code for, such as "sm_90"."""
    capabilities: tuple[tuple[int, int], ...]
    """Compute capability of each GPU that torch can use."""
    threads: int
    """OpenMP threads of one process."""


@dataclass(frozen=True, kw_only=True)
class DataFolder:
    """The folder of the data, or the current folder."""

    path: str
    free_bytes: int | None
    filesystem: str | None
    storage: Storage | None
    """The kind of a local disk, "virtual" for a virtual machine's disk, None if unknown."""
    stale_shards: str | None = None
    """Why the shards in the folder do not match its class folders, with the next command; None if they match."""
    shards: int | None = None
    """Shards of its largest split; None for a folder without any."""
    data: DataFacts | None = None
    """What some of its images say; None for a folder that is no root."""


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """The facts about one machine. None: unknown, or it does not exist on this system."""

    environment: Environment
    machine_cpus: int | None
    affinity_cpus: int | None
    """CPUs that this process may run on."""
    cpu_quota: float | None
    """CPU time that its cgroup grants, in CPUs."""
    torch: TorchBuild
    visible_devices: str | None
    """Value of CUDA_VISIBLE_DEVICES."""
    open_files: int | None
    """Files that a process may have open: the soft limit, which it can raise up to the hard limit."""
    open_files_hard: int | None
    """The hard limit on open files."""
    mappings: int | None
    """Files and other areas of memory that Linux lets a process map."""
    place: DataFolder
    pillow: str
    """Version, with "(SIMD)" if it is Pillow-SIMD."""
    pillow_reads_jpeg: bool
    libjpeg_turbo: str | None
    """Version of libjpeg-turbo in Pillow; None if Pillow uses another JPEG library."""
    missing_loaders: dict[str, str]
    """The command that installs each loader that is not ready, by name."""
    console: str
    """The encoding of stderr, to which messages are written."""
    long_paths: bool | None
    """Whether Windows allows all programs paths longer than 260 characters."""
    tasks: TaskLimit | None = None
    """The limit that leaves the fewest threads and processes."""
    temporary: str | None = None
    """The folder for temporary files."""
    unresolved_name: str | None = None
    """The name of this machine, if it has no address; else None."""
    unwritable_cache: str | None = None
    """The folder for compiled code, if it cannot be written; else None."""

    @property
    def windows(self) -> bool:
        """Whether the machine runs Windows."""
        return self.environment.machine.system.startswith("Windows")


def collect_facts(place: Path) -> MachineFacts:
    """Return the facts about this machine, and about the storage of the folder ``place``. Never raises."""
    environment = capture()
    soft, hard = open_file_limits()
    return MachineFacts(
        environment=environment,
        machine_cpus=os.cpu_count(),
        affinity_cpus=len(os.sched_getaffinity(0)) if sys.platform == "linux" else None,
        cpu_quota=cgroup_quota(),
        torch=_torch(),
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        open_files=soft,
        open_files_hard=hard,
        mappings=max_mappings(),
        place=_place(place.absolute()),
        pillow=f"{PIL.__version__}{' (SIMD)' if 'pillow-simd' in environment.libraries else ''}",
        pillow_reads_jpeg=features.check("jpg") is True,
        libjpeg_turbo=features.version("libjpeg_turbo"),
        missing_loaders=_missing_loaders(),
        console=sys.stderr.encoding or "ascii",
        long_paths=_long_paths(),
        tasks=task_limits(),
        temporary=_temporary(),
        unresolved_name=own_name_is_unresolved(),
        unwritable_cache=None if is_kept() else str(CACHE),
    )


def _temporary() -> str | None:
    try:
        return tempfile.gettempdir()
    except OSError:  # no folder of the usual ones can be written
        return None


def _torch() -> TorchBuild:
    sees_gpu = torch.cuda.is_available()
    gpus = range(torch.cuda.device_count() if sees_gpu else 0)
    return TorchBuild(
        cuda=torch.version.cuda,
        sees_gpu=sees_gpu,
        architectures=tuple(torch.cuda.get_arch_list()),
        capabilities=tuple(torch.cuda.get_device_capability(gpu) for gpu in gpus),
        threads=torch.get_num_threads(),
    )


def _place(path: Path) -> DataFolder:
    free: int | None = None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path).free
    stale: str | None = None
    with contextlib.suppress(FeedlineError, OSError):
        stale = stale_shards(path)
    return DataFolder(
        path=str(path),
        free_bytes=free,
        filesystem=filesystem_of(path),
        storage=storage_of(path),
        stale_shards=stale,
        shards=_shards(path),
        data=None if stale else data_facts(path),
    )


def _shards(path: Path) -> int | None:
    with contextlib.suppress(FeedlineError, OSError):
        if is_shard_set(path / SHARDS):
            splits = read_shard_manifest(path / SHARDS).splits.values()
            return max((len(split.shards) for split in splits), default=None)
    return None


def _missing_loaders() -> dict[str, str]:
    missing: dict[str, str] = {}
    for name, entry in LOADERS.items():
        try:
            loader_versions(name)
        except LoaderUnavailable:
            missing[name] = entry.install
    return missing


def _long_paths() -> bool | None:
    enabled = registry_value(r"SYSTEM\CurrentControlSet\Control\FileSystem", "LongPathsEnabled")
    return None if enabled is None else bool(enabled)

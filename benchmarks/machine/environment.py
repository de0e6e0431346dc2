"""The environment of a measurement: the machine, the software, and what else the machine was doing.

A throughput can only be interpreted together with its environment. Each fact has a collector of its own, which
returns None if its source is missing. No collector guesses or raises. ``Machine`` is the part that must be equal
before two records may be in one table; the rest explains differences between them.
"""

import contextlib
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import PIL
import psutil
from PIL import features

from ...prep import usable_cpus
from ...prep.limits.cgroups import memory_limit
from ...prep.limits.shared_memory import shared_memory
from .registry import registry_value

LIBRARIES = ("torch", "torchvision", "webdataset", "nvidia-dali-cuda130", "numpy", "numba", "simplejpeg", "pillow")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The hardware as this process is allowed to use it."""

    cpu: str | None
    cpus: int
    """Usable CPUs by affinity and cgroup quota, not the machine's count."""
    memory_gib: int
    """Memory granted, rounded to GiB because the kernel's own share changes a little from boot to boot."""
    gpu: str | None
    system: str
    """Operating system and architecture, such as "Linux x86_64"."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Everything about the machine and the software that can explain a number."""

    machine: Machine
    platform: str
    python: str
    start_method: str
    """How Python starts worker processes here: fork, forkserver or spawn."""
    driver: str | None
    shm_bytes: int | None
    """Size of /dev/shm, through which worker processes pass batches; None if the system has none."""
    governor: str | None
    load_average: float | None
    """Runnable processes over the last minute, taken before the first measurement."""
    libraries: dict[str, str]


def capture() -> Environment:
    """Return the environment of this process, unknown facts as None. Never raises."""
    gpu, driver = _gpu()
    return Environment(
        machine=Machine(
            cpu=_cpu(),
            cpus=usable_cpus(),
            memory_gib=round(granted_memory() / 2**30),
            gpu=gpu,
            system=f"{platform.system()} {platform.machine()}",
        ),
        platform=platform.platform(),
        python=platform.python_version(),
        start_method=multiprocessing.get_start_method(),
        driver=driver,
        shm_bytes=shared_memory(),
        governor=_text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        load_average=_load_average(),
        libraries=_libraries(),
    )


def granted_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or the least limit of its cgroups."""
    limit = memory_limit()
    total = psutil.virtual_memory().total
    return total if limit is None else min(total, int(limit.limit))


def free_memory() -> int:
    """Return the bytes of memory that are free now, at most what ``granted_memory`` returns."""
    return min(psutil.virtual_memory().available, granted_memory())


def _cpu() -> str | None:
    if sys.platform == "win32":
        # ``platform.processor`` does not return the marketing name on Windows.
        name = registry_value(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString")
        return str(name or "").strip() or platform.processor() or None
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _gpu() -> tuple[str | None, str | None]:
    """Return the GPUs' names and the driver's version, as nvidia-smi reports them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, None
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None, None
    rows = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
    names = [name.strip() for name, _, _ in rows]
    counted = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    return ", ".join(counted) or None, rows[0][2].strip() if rows else None


def _load_average() -> float | None:
    """Return the one-minute load; None on Windows, where psutil's emulation only starts counting at the first call."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _libraries() -> dict[str, str]:
    """Return the versions of the libraries that decode and load; "pillow-simd" instead of "pillow" if it is in use.

    Pillow-SIMD replaces Pillow under the same import name. If both are installed, the later one has overwritten the
    other's files, and the version in them shows which one it is. simplejpeg does not report its libjpeg-turbo.
    """
    found: dict[str, str] = {}
    for name in (*LIBRARIES, "pillow-simd"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    if {"pillow", "pillow-simd"} <= found.keys():
        del found["pillow" if found["pillow-simd"] == PIL.__version__ else "pillow-simd"]
    turbo = features.version_feature("libjpeg_turbo")
    return found if turbo is None else {**found, "libjpeg-turbo (Pillow's)": turbo}


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
